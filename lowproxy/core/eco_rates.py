"""From rates to an impact: what every method does once per request.

A method works out rates per token once per model and place; a request then costs a few
multiplications.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import attrs

from lowproxy.core.eco import Basis, CarbonIntensity, EcoImpact
from lowproxy.core.eco_accuracy import LONG_COMPLETION, LONG_PROMPT, band
from lowproxy.core.expected import Grams
from lowproxy.core.usage import Usage

_new: Callable[[type[EcoImpact]], EcoImpact] = EcoImpact.__new__


class Rate(NamedTuple):
    """Energy in Wh, per request and per token of each kind."""

    fixed: float = 0.0
    completion: float = 0.0
    prompt: float = 0.0
    cached: float = 0.0
    context: float = 0.0  # per output token and token of context that it looks back on

    def scaled(self, factor: float) -> "Rate":
        """The same rate times a factor."""
        return Rate(*(value * factor for value in self))

    def energy_wh(self, usage: Usage) -> float:
        """Wh of one request.

        An output token looks back on the prompt and, on average, on half the answer.
        """
        answer, prompt, cached = usage.completion, usage.prompt, usage.cached
        per_token = self.completion + self.context * (prompt + answer / 2)
        read = self.prompt * (prompt - cached) + self.cached * cached
        return self.fixed + per_token * answer + read


class Bounds(NamedTuple):
    """A rate with the rates of its lower and upper bound."""

    central: Rate
    low: Rate
    high: Rate


@attrs.frozen
class TokenRates:
    """Everything that the requests to one model at one place have in common."""

    version: str
    model_ref: str | None
    grid: CarbonIntensity
    pue: float | None  # None: the method has no facility in it
    accuracy: str  # before the request's own defects
    energy: Bounds  # at the boundary
    gpu: Bounds  # the accelerators alone
    it: Bounds  # with their servers, before cooling
    boundary: str = "facility"
    embodied_g_fixed: float | None = None
    embodied_g_completion: float = 0.0
    water_ml_fixed: float = 0.0
    water_ml_per_wh: float | None = None  # per Wh at the boundary; None: unknown
    notes: tuple[str, ...] = ()
    # The impact of one request with these token counts.
    impact: "Estimator" = attrs.field(init=False, repr=False, eq=False)

    @impact.default
    def _impact(self) -> "Estimator":
        return _estimator(self)

    def grams(self) -> Grams:
        """Grams per request and token, central, nothing cached: for routing."""
        fixed, completion, prompt, _, context = self.energy.central
        each = self.grid.grams_per_kwh / 1000
        return Grams(
            fixed * each, prompt * each, completion * each, context * each, each
        )

    def stages(self, usage: Usage) -> dict[str, tuple[float, float, float]]:
        """Wh of one request by stage, central, low and high."""
        stages = {"gpu_wh": self.gpu, "it_wh": self.it, "energy_wh": self.energy}
        return {
            name: (
                bounds.central.energy_wh(usage),
                bounds.low.energy_wh(usage),
                bounds.high.energy_wh(usage),
            )
            for name, bounds in stages.items()
        }


class Estimator(Protocol):
    """Rates worked into a function."""

    def __call__(self, usage: Usage, notes: tuple[str, ...] = ()) -> EcoImpact:
        """The impact of one request with these token counts; `notes` are its own."""


def _estimator(rates: TokenRates) -> Estimator:
    """A function of the token counts alone: it runs once per request, and looks nothing up."""
    (f, c, p, k, x), (lf, lc, lp, lk, lx), (hf, hc, hp, hk, hx) = rates.energy
    grid, accuracy, told = rates.grid, rates.accuracy, rates.notes
    grams = grid.grams_per_kwh / 1000
    grams_low, grams_high = grid.low / 1000, grid.high / 1000
    fixed, each = rates.embodied_g_fixed, rates.embodied_g_completion
    water, water_each = rates.water_ml_fixed, rates.water_ml_per_wh
    usual = _basis(rates, accuracy, told)
    # By accuracy and notes, of which there are a handful.
    others: dict[tuple[str, tuple[str, ...]], Basis] = {}

    def impact(usage: Usage, notes: tuple[str, ...] = ()) -> EcoImpact:
        # Rate.energy_wh three times over, written out.
        prompt, answer, cached, _, counted = usage
        context = answer * (prompt + answer / 2)
        fresh = prompt - cached
        energy = f + c * answer + p * fresh + k * cached + x * context
        low = lf + lc * answer + lp * fresh + lk * cached + lx * context
        high = hf + hc * answer + hp * fresh + hk * cached + hx * context
        basis = usual
        if notes or counted or answer > LONG_COMPLETION or prompt > LONG_PROMPT:
            said = (band(accuracy, usage, notes), told + notes)
            basis = others.get(said) or others.setdefault(said, _basis(rates, *said))
        # Field by field: calling the class costs as much again.
        made = _new(EcoImpact)
        made.energy_wh, made.energy_wh_low, made.energy_wh_high = energy, low, high
        made.carbon_g = energy * grams
        made.carbon_g_low = low * grams_low
        made.carbon_g_high = high * grams_high
        made.tokens = usage
        made.basis = basis
        made.embodied_g = None if fixed is None else fixed + each * answer
        made.water_ml = None if water_each is None else water + water_each * energy
        made.told = None
        return made

    return impact


def _basis(rates: TokenRates, accuracy: str, notes: tuple[str, ...]) -> Basis:
    return Basis(
        accuracy,
        rates.version,
        rates.grid,
        notes=notes,
        pue=rates.pue,
        boundary=rates.boundary,
        model_ref=rates.model_ref,
    )
