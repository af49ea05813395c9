"""Impacts of answers that did not go the straight way.

Cut short, tried in vain, or given by a cache in front of the provider: each says in its
notes why it is not the ordinary case.
"""

from collections.abc import Iterable

from lowproxy.core.eco import Coefficients, EcoImpact
from lowproxy.core.usage import Usage

PARTIAL = "partial"  # the tokens seen until the caller or the upstream went away
UPSTREAM_CACHE = "upstream-cache"  # an answer of before: no model ran for this request


def partial(
    coefficients: Coefficients, usage: Usage, notes: tuple[str, ...] = ()
) -> EcoImpact:
    """The impact of what had been written when a stream ended early."""
    return coefficients.impact(usage, (*notes, PARTIAL))


def from_cache(impact: EcoImpact) -> EcoImpact:
    """The same answer given once more: what it took was told when it was made."""
    return impact.but(
        energy_wh=0.0,
        energy_wh_low=0.0,
        energy_wh_high=0.0,
        carbon_g=0.0,
        carbon_g_low=0.0,
        carbon_g_high=0.0,
        embodied_g=None if impact.embodied_g is None else 0.0,
        water_ml=None if impact.water_ml is None else 0.0,
        notes=(*impact.notes, UPSTREAM_CACHE),
    )


def wasted(attempts: Iterable[EcoImpact | None]) -> tuple[float, float]:
    """Wh and grams of failed attempts, as far as their upstreams reported tokens."""
    known = [impact for impact in attempts if impact is not None]
    return sum(i.energy_wh for i in known), sum(i.carbon_g for i in known)
