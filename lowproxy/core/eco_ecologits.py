"""EcoLogits' method as its package computes it, version 0.11.

    energy = PUE * (gpus * gpu_wh + server_wh)
    gpu_wh = (ALPHA * e^(BETA * 64) * A + GAMMA) * completion          per GPU
    server_wh = 1.2 kW * gpus / 8 / 64 * (first token + completion * s per token)

The weights are taken to be 16 bit; prompts cost nothing; where a model's size or its
provider's PUE is a range, the two ends are computed and the middle is reported. Source:
https://ecologits.ai/latest/methodology/llm_inference/, equal to the library to 1e-9.
"""

import math

import attrs

from lowproxy.core import eco_hardware as hardware
from lowproxy.core.eco import CarbonIntensity, Deployment, EcoImpact, ModelFacts
from lowproxy.core.eco_accuracy import placed_band
from lowproxy.core.eco_rates import Bounds, Rate, TokenRates
from lowproxy.core.usage import Usage

ALPHA = 1.1665273170451914e-06  # Wh per output token and billion active parameters
BETA = -0.011205921025579175  # per request at a time
GAMMA = 4.052928146734005e-05  # Wh per output token
WEIGHT_BYTES = 2

# What EcoLogits assumes of a provider that it does not know (its Hugging Face row).
UNKNOWN = Deployment(pue_low=1.09, pue_high=1.14, wue_low=0.13, wue_high=0.99)


@attrs.frozen
class Ecologits:
    """The present formula of EcoLogits; its data are in `models_ecologits.json`."""

    version: str = "v0.11-2026-10"
    name: str = "ecologits"

    def coefficients(
        self, facts: ModelFacts, grid: CarbonIntensity, pue: float | None
    ) -> TokenRates:
        """What every request to this model at this place has in common."""
        known = facts.deployment or UNKNOWN
        pues = _ends(pue, known.pue_low, known.pue_high)
        total, active = facts.total_range_b, facts.active_range_b
        ends = [_End(total[i], active[i], known) for i in (0, 1)]
        gpu = [end.gpu_rate() for end in ends]
        it = [end.it_rate() for end in ends]
        energy = _bounds([rate.scaled(p) for rate, p in zip(it, pues, strict=True)])
        water_fixed, water = _water(known, grid, it, energy.central, pues)
        return TokenRates(
            version=self.version,
            model_ref=facts.name,
            grid=grid,
            pue=sum(pues) / 2,
            accuracy=placed_band(facts, grid),
            energy=energy,
            gpu=_bounds(gpu),
            it=_bounds(it),
            embodied_g_fixed=sum(end.embodied_fixed_g for end in ends) / 2,
            embodied_g_completion=sum(end.embodied_token_g for end in ends) / 2,
            water_ml_fixed=water_fixed,
            water_ml_per_wh=water,
            notes=facts.notes,
        )

    def estimate(
        self,
        facts: ModelFacts,
        usage: Usage,
        grid: CarbonIntensity,
        pue: float | None,
        notes: tuple[str, ...] = (),
    ) -> EcoImpact:
        """The impact of `usage` tokens on that model at that place."""
        return self.coefficients(facts, grid, pue).impact(usage, notes)


@attrs.frozen
class _End:
    """One end of a model's range of sizes."""

    total_b: float
    active_b: float
    known: Deployment

    @property
    def gpus(self) -> int:
        return hardware.gpu_count(self.total_b * WEIGHT_BYTES)

    @property
    def token_s(self) -> float:
        return hardware.token_s(self.active_b, self.known.tokens_per_s)

    def gpu_rate(self) -> Rate:
        per_b = ALPHA * math.exp(BETA * hardware.BATCH)
        return Rate(completion=self.gpus * (per_b * self.active_b + GAMMA))

    def it_rate(self) -> Rate:
        server = hardware.server_wh_per_s(self.gpus)
        return Rate(
            fixed=server * (self.known.first_token_s or 0.0),
            completion=self.gpu_rate().completion + server * self.token_s,
        )

    @property
    def embodied_fixed_g(self) -> float:
        per_s = hardware.embodied_g_per_s(self.gpus)
        return per_s * (self.known.first_token_s or 0.0)

    @property
    def embodied_token_g(self) -> float:
        return hardware.embodied_g_per_s(self.gpus) * self.token_s


def _bounds(ends: list[Rate]) -> Bounds:
    low, high = ends
    middle = Rate(*((a + b) / 2 for a, b in zip(low, high, strict=True)))
    return Bounds(middle, low, high)


def _ends(
    declared: float | None, low: float | None, high: float | None
) -> tuple[float, float]:
    if declared is not None:
        return declared, declared
    if low is None or high is None:
        raise ValueError("a deployment without PUE: take UNKNOWN instead")
    return low, high


def _water(
    known: Deployment,
    grid: CarbonIntensity,
    it: list[Rate],
    energy: Rate,
    pues: tuple[float, float],
) -> tuple[float, float | None]:
    """Millilitres per request and per Wh at the meter, for the middle of the ends.

    On site by IT energy, of generation by energy at the meter. Both ends are affine in
    the answer's tokens as the energy is, so two numbers are exact.
    """
    low, high, generation = known.wue_low, known.wue_high, grid.water_l_per_kwh
    if low is None or high is None or generation is None:
        return 0.0, None
    per_it = [low + pues[0] * generation, high + pues[1] * generation]
    ends = [rate.scaled(w) for rate, w in zip(it, per_it, strict=True)]
    fixed, token = (ends[0][i] / 2 + ends[1][i] / 2 for i in (0, 1))
    per_wh = token / energy.completion
    return fixed - per_wh * energy.fixed, per_wh
