"""lr1: energy from weight bytes and active parameters, fitted on measured serving.

    e_out = C * W^P * A^Q     mWh per output token, GPU, at 64 requests at a time
    e_in  = 1.0e-3 * A        mWh per prompt token, GPU
    gpu   = e_out * completion + e_in * (prompt - cached) + 0.1 * e_in * cached
    it    = 1.6 * gpu
    energy = PUE * it

W is the weights in GB (billions of parameters times bytes per weight), A the active
parameters in billions. METHODOLOGY.md says where each number comes from.
"""

from typing import NamedTuple

import attrs

from lowproxy.core.eco import CarbonIntensity, EcoImpact, ModelFacts
from lowproxy.core.eco_accuracy import placed_band
from lowproxy.core.eco_affine import AffineCoefficients, Rate
from lowproxy.core.usage import Usage

# Fitted by benchmarks/eco/fit_lr1.py.
C_MWH = 0.003556
P_WEIGHT = 0.756
Q_ACTIVE = 0.135
RESIDUAL = 1.37  # geometric spread on models left out of the fit

# Energy per output token relative to 64 requests at a time.
BATCH_LOW, BATCH_HIGH = 0.56, 2.3

PREFILL_MWH = 1.0e-3  # per token and billion active parameters
CACHED_SHARE = 0.1
GPU_TO_IT = 1.6

PUE, PUE_LOW, PUE_HIGH = 1.2, 1.1, 1.4
LONG_FACTOR = 2.0

# Where the precision is not published.
BITS, BITS_LOW, BITS_HIGH = 8.0, 4.0, 16.0


class _Size(NamedTuple):
    weight_gb: float
    active_b: float


def output_mwh(weight_gb: float, active_b: float) -> float:
    """GPU energy in mWh per output token, all GPUs, at 64 requests at a time."""
    return float(C_MWH * weight_gb**P_WEIGHT * active_b**Q_ACTIVE)


@attrs.frozen
class Lr1:
    """The fit for published weights; for unpublished ones it uses their ranges."""

    version: str = "v1.0-2026-11"
    name: str = "lr1"

    def coefficients(
        self, facts: ModelFacts, grid: CarbonIntensity, pue: float | None
    ) -> AffineCoefficients:
        """What every request to this model at this place has in common."""
        size, small, large = _sizes(facts)
        ratios = (pue, pue, pue) if pue else (PUE, PUE_LOW, PUE_HIGH)
        gpu = _gpu_rate(size, 1.0, 1.0, facts.encoder)
        low = _gpu_rate(small, BATCH_LOW / RESIDUAL, 1 / RESIDUAL, facts.encoder)
        high = _gpu_rate(large, BATCH_HIGH * RESIDUAL, RESIDUAL, facts.encoder)
        return AffineCoefficients(
            version=self.version,
            model_ref=facts.name,
            grid=grid,
            pue=ratios[0],
            band=placed_band(facts, grid),
            central=_scaled(gpu, GPU_TO_IT * ratios[0]),
            low=_scaled(low, GPU_TO_IT * ratios[1]),
            high=_scaled(high, GPU_TO_IT * ratios[2]),
            gpu=gpu,
            long_factor=LONG_FACTOR,
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


def _sizes(facts: ModelFacts) -> tuple[_Size, _Size, _Size]:
    bits = facts.weight_bits
    middle, low, high = (bits, bits, bits) if bits else (BITS, BITS_LOW, BITS_HIGH)
    total_low, total_high = facts.total_range_b
    active_low, active_high = facts.active_range_b
    return (
        _Size(facts.total_params_b * middle / 8, facts.active_params_b),
        _Size(total_low * low / 8, active_low),
        _Size(total_high * high / 8, active_high),
    )


def _gpu_rate(size: _Size, out: float, prefill: float, encoder: bool) -> Rate:
    prompt = PREFILL_MWH * size.active_b * prefill / 1000
    completion = 0.0 if encoder else output_mwh(*size) * out / 1000
    return Rate(0.0, completion, prompt, prompt * CACHED_SHARE)


def _scaled(rate: Rate, factor: float) -> Rate:
    return Rate(*(value * factor for value in attrs.astuple(rate)))
