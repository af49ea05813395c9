"""From rates to an impact: what every method does once per request.

A method works out rates per token once per model and place; a request then costs a few
multiplications. Rates are plain tuples, because this runs once per request.
"""

from typing import Any, NamedTuple

import attrs

from lowproxy.core.eco import CarbonIntensity, EcoImpact
from lowproxy.core.eco_accuracy import LONG_COMPLETION, LONG_PROMPT, band
from lowproxy.core.expected import Grams
from lowproxy.core.usage import Usage

_new = tuple.__new__


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
    # All of it as tuples: one attribute is read per request instead of twenty.
    _plan: tuple[Any, ...] = attrs.field(init=False, repr=False, eq=False)

    @_plan.default
    def _tuples(self) -> tuple[Any, ...]:
        grid = self.grid
        grams = grid.grams_per_kwh / 1000, grid.low / 1000, grid.high / 1000
        return (
            *(tuple(rate) for rate in self.energy),
            (*grams, grid, self.accuracy, self.notes),
            (
                self.version,
                self.pue,
                self.boundary,
                self.model_ref,
                self.embodied_g_fixed,
                self.embodied_g_completion,
                self.water_ml_fixed,
                self.water_ml_per_wh,
            ),
        )

    def impact(self, usage: Usage, notes: tuple[str, ...] = ()) -> EcoImpact:
        """The impact of one request with these token counts."""
        # Rate.energy_wh three times over, written out: this is on every request's path.
        central, lower, upper, place, rest = self._plan
        f, c, p, k, x = central
        lf, lc, lp, lk, lx = lower
        hf, hc, hp, hk, hx = upper
        grams, grams_low, grams_high, grid, accuracy, told = place
        version, pue, boundary, model_ref, made, made_each, water, water_each = rest
        answer, prompt, cached = usage.completion, usage.prompt, usage.cached
        context = answer * (prompt + answer / 2)
        fresh = prompt - cached
        energy = f + c * answer + p * fresh + k * cached + x * context
        low = lf + lc * answer + lp * fresh + lk * cached + lx * context
        high = hf + hc * answer + hp * fresh + hk * cached + hx * context
        if notes or usage.counted or answer > LONG_COMPLETION or prompt > LONG_PROMPT:
            accuracy = band(accuracy, usage, notes)
            told += notes
        # Not by EcoImpact's own __new__, which is a function more, of seventeen arguments.
        return _new(
            EcoImpact,
            (
                energy,
                low,
                high,
                energy * grams,
                low * grams_low,
                high * grams_high,
                accuracy,
                version,
                usage,
                grid,
                "estimated",
                told,
                pue,
                boundary,
                model_ref,
                None if made is None else made + made_each * answer,
                None if water_each is None else water + water_each * energy,
                None,
            ),
        )

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
