"""An estimate that is affine in the token counts: so are all the methods here.

A method works out these coefficients once per model and place; a request then costs a
few multiplications.
"""

import attrs

from lowproxy.core.eco import CarbonIntensity, EcoImpact
from lowproxy.core.eco_accuracy import band
from lowproxy.core.usage import Usage

# Longer answers than this cost more per token than the measured chats do (the cache of
# keys and values grows), by a factor that no published size predicts.
LONG_ANSWER = 2_000


@attrs.frozen
class Rate:
    """Facility energy: Wh per request and per token of each kind."""

    fixed: float
    completion: float
    prompt: float = 0.0
    cached: float = 0.0


@attrs.frozen
class AffineCoefficients:
    """Everything that the requests to one model at one place have in common."""

    version: str
    model_ref: str | None
    grid: CarbonIntensity
    pue: float
    band: int  # index into BANDS, before the request's own defects
    central: Rate
    low: Rate
    high: Rate
    gpu: Rate  # the accelerators' share of `central`, without overheads
    long_factor: float = 1.0  # on the upper bound, for answers past LONG_ANSWER
    embodied_g_fixed: float | None = None
    embodied_g_completion: float = 0.0
    water_ml_per_wh: float | None = None  # per Wh at the facility's meter
    notes: tuple[str, ...] = ()

    def impact(self, usage: Usage, notes: tuple[str, ...] = ()) -> EcoImpact:
        """The impact of one request with these token counts."""
        answer, cached = usage.completion, usage.cached
        fresh = usage.prompt - cached
        rate, grid = self.central, self.grid
        energy = rate.fixed + rate.completion * answer
        energy += rate.prompt * fresh + rate.cached * cached
        rate = self.low
        low = rate.fixed + rate.completion * answer
        low += rate.prompt * fresh + rate.cached * cached
        rate = self.high
        high = rate.fixed + rate.completion * answer
        high += rate.prompt * fresh + rate.cached * cached
        if answer > LONG_ANSWER:
            high *= self.long_factor
        rate = self.gpu
        gpu = rate.fixed + rate.completion * answer
        gpu += rate.prompt * fresh + rate.cached * cached
        embodied, water = self.embodied_g_fixed, self.water_ml_per_wh
        if embodied is not None:
            embodied += self.embodied_g_completion * answer
        return EcoImpact(
            energy,
            low,
            high,
            energy * grid.grams_per_kwh / 1000,
            low * grid.low / 1000,
            high * grid.high / 1000,
            band(self.band, usage, notes),
            self.version,
            usage,
            grid,
            "estimated",
            self.notes + notes if notes else self.notes,
            self.pue,
            "facility",
            self.model_ref,
            gpu,
            energy / self.pue,
            embodied,
            None if water is None else water * energy,
        )
