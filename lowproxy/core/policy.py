"""What the operator says about routing: whose word a pin takes, what a score weighs, what is too poor."""

from typing import NamedTuple, Self

import attrs

# How sure the place of an endpoint is, surest first.
PROVENANCES = ("contractual", "declared", "inferred", "unknown")


class Weights(NamedTuple):
    """What the three terms of a score weigh: the one that weighs most has 1."""

    carbon: float
    latency: float
    price: float


class Scale(NamedTuple):
    """What an order goes by: a name for it, the weights, and the term that weighs most.

    Who does not know that term sorts behind all who do. `sort` is a term that comes before the score:
    price, latency or throughput.
    """

    name: str
    weights: Weights
    leading: str
    sort: str | None = None

    @classmethod
    def of(cls, name: str, carbon: float, latency: float, price: float) -> Self:
        """From three numbers of any size, at least one of them more than 0."""
        most = max(carbon, latency, price)
        weights = Weights(carbon / most, latency / most, price / most)
        if latency > max(carbon, price):
            return cls(name, weights, "latency")
        return cls(name, weights, "carbon" if carbon >= price else "price")

    @property
    def shares(self) -> Weights:
        """The weights such that they are 1 together: exponents of a geometric mean."""
        total = sum(self.weights)
        return Weights(*(each / total for each in self.weights))


_LOW_CARBON = Scale.of("low_carbon", 0.7, 0.15, 0.15)
_STANDARD = Scale.of("standard", 0.1, 0.3, 0.6)
_CHEAP = Scale.of("cheap", 0.1, 0.1, 0.8)


@attrs.frozen
class Policy:
    """The gateway's own part of every decision; it comes with the pool.

    `low_carbon` and `standard` are for who prefers low carbon and who does not, `cheap` is for
    `lowrouter/auto-cheap`.
    """

    # Whose regions satisfy a pin; a request that is not pinned takes all of them.
    accept_provenance: frozenset[str] = frozenset({"contractual", "declared"})
    # What a pseudo-model may pick: a model of at least this index; None: any.
    min_quality: float | None = None
    low_carbon: Scale = _LOW_CARBON
    standard: Scale = _STANDARD
    cheap: Scale = _CHEAP
