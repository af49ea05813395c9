"""Energy and carbon of one request: the values, and the one interface a method has.

Methods are pure functions of (model facts, token counts, grid reading); they live in their own modules and
are chosen by version. Nothing here reads a file or a clock.
"""

from typing import Protocol

import attrs

from lowproxy.core.usage import Usage


@attrs.frozen
class ModelFacts:
    """What an estimate needs to know of a model."""

    total_params_b: float  # billions
    active_params_b: float  # billions; equal to total for a dense model
    weight_bits: float | None = None  # None: not published
    source: str | None = None  # where a reader can check the numbers; None: somebody's guess
    name: str | None = None  # the row of the eco tables that it came from


@attrs.frozen
class CarbonIntensity:
    """How dirty a zone's electricity is, at one moment or over one year."""

    zone: str
    grams_per_kwh: float
    low: float  # cleanest member of a blend; equal to grams_per_kwh for one zone
    high: float
    source: str
    at: str  # "2025" for an annual figure, else ISO 8601
    kind: str = "average"
    factor: str = "lifecycle"
    live: bool = False
    blended: bool = False  # the country is not known: costs a band of accuracy


@attrs.frozen
class EcoImpact:
    """What one request cost, with bounds. Usage only; embodied carbon is apart."""

    energy_wh: float
    energy_wh_low: float
    energy_wh_high: float
    carbon_g: float
    carbon_g_low: float
    carbon_g_high: float
    accuracy: str  # accurate | medium | gross: how good the inputs are
    methodology_version: str
    tokens: Usage
    grid: CarbonIntensity
    method: str = "estimated"
    notes: tuple[str, ...] = ()

    @property
    def carbon_per_1k_tokens_g(self) -> float:
        """Grams per thousand prompt and completion tokens together."""
        return self.carbon_g / self.tokens.total * 1000 if self.tokens.total else 0.0


class Method(Protocol):
    """One versioned way to estimate."""

    version: str

    def estimate(
        self, facts: ModelFacts, usage: Usage, grid: CarbonIntensity, pue: float | None
    ) -> EcoImpact:
        """The impact of `usage` tokens on that model at that place."""
