"""The default method: energy from the bytes that a GPU must move to write a token.

    moved  = touched / 64 + kv * (prompt + completion / 2)      GB per output token
    e_out  = BYTES * moved + ACTIVE * A + TOKEN                 mWh, GPU
    e_in   = PREFILL * A                                        mWh per prompt token, GPU
    gpu    = e_out * completion + e_in * (prompt - cached) + 0.1 * e_in * cached
    it     = 1.6 * gpu
    energy = PUE * it

`touched` is the part of the weights in GB that a step of 64 requests reads, `kv` the
keys and values per token of context in GB, A the active parameters in billions.
METHODOLOGY.md says where each number comes from and how wrong the result can be.
"""

import math
from typing import NamedTuple

import attrs

from lowproxy.core import eco_hardware as hardware
from lowproxy.core.eco import CarbonIntensity, EcoImpact, ModelFacts
from lowproxy.core.eco_accuracy import placed_band
from lowproxy.core.eco_rates import Bounds, Rate, TokenRates
from lowproxy.core.usage import Usage

# Fitted by benchmarks/eco/fit.py on 123 measured points, mWh.
BYTES_MWH = 0.0811  # per GB moved
KV_MWH = 0.0501  # per GB of keys and values
ACTIVE_MWH = 0.000741  # per billion active parameters
TOKEN_MWH = 0.0121  # per token
RESIDUAL = 1.4  # geometric spread on models left out of the fit

# Requests at a time: as measured best, on a busy server, on a quiet one.
BATCH, BATCH_BUSY, BATCH_QUIET = 64, 256, 16

# 2 FLOP per active parameter at 40 % of an H100's 989 TFLOP/s and 700 W.
PREFILL_MWH = 1.0e-3  # per token and billion active parameters
CACHED_SHARE = 0.1
GPU_TO_IT = 1.6
PUE, PUE_LOW, PUE_HIGH = 1.2, 1.05, 1.4

# Where the precision is not published.
BITS, BITS_LOW, BITS_HIGH = 8.0, 4.0, 16.0
# Keys and values where the layers are not published: kB at one billion active
# parameters, and the power that takes Llama 3.1 from 8B to 405B.
KV_KB, KV_POWER = 60.0, 0.36


class _Size(NamedTuple):
    total_b: float
    active_b: float
    bits: float


@attrs.frozen
class Roofline:
    """Moved bytes, fitted on measured serving; ranges for unpublished sizes."""

    version: str = "v1.0-2026-11"
    name: str = "roofline"

    def coefficients(
        self, facts: ModelFacts, grid: CarbonIntensity, pue: float | None
    ) -> TokenRates:
        """What every request to this model at this place has in common."""
        middle, small, large = _sizes(facts)
        pues = _pues(facts, pue)
        gpu = Bounds(
            _gpu_rate(facts, middle, BATCH),
            _gpu_rate(facts, small, BATCH_BUSY).scaled(1 / RESIDUAL),
            _gpu_rate(facts, large, BATCH_QUIET).scaled(RESIDUAL),
        )
        it = Bounds(*(rate.scaled(GPU_TO_IT) for rate in gpu))
        energy = [rate.scaled(factor) for rate, factor in zip(it, pues, strict=True)]
        fixed_g, token_g = _embodied(facts, middle)
        return TokenRates(
            version=self.version,
            model_ref=facts.name,
            grid=grid,
            pue=pues[0],
            accuracy=placed_band(facts, grid),
            energy=Bounds(*energy),
            gpu=gpu,
            it=it,
            embodied_g_fixed=fixed_g,
            embodied_g_completion=token_g,
            water_ml_per_wh=_water(facts, grid, pues[0]),
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


def touched_gb(
    total_b: float,
    active_b: float,
    bits: float,
    batch: float,
    experts: tuple[int, int] | None,
) -> float:
    """Weights in GB that one step of `batch` requests reads.

    All of a dense model. Of a mixture, what every token uses and the experts that at
    least one of the tokens is sent to, each token to `used` of `count` at random. Where
    the experts are not known each token picks its share of all the weights.
    """
    weight_gb = total_b * bits / 8
    if active_b >= total_b:
        return weight_gb
    used, count = experts or (active_b, total_b)
    share = used / count
    # total = common + routed, active = common + share * routed
    routed = min((total_b - active_b) / (1 - share), total_b)
    read = 1 - math.pow(1 - share, batch)
    return (total_b - routed + routed * read) * bits / 8


def kv_gb(facts: ModelFacts, active_b: float) -> float:
    """Keys and values in GB that a token of context holds."""
    if facts.kv_kb is not None:
        return facts.kv_kb / 1e6
    return KV_KB * math.pow(active_b, KV_POWER) / 1e6


def _gpu_rate(facts: ModelFacts, size: _Size, batch: int) -> Rate:
    prompt = PREFILL_MWH * size.active_b / 1000
    if facts.encoder:
        return Rate(prompt=prompt, cached=prompt * CACHED_SHARE)
    touched = touched_gb(*size, batch, facts.experts)
    token = BYTES_MWH * touched / batch + ACTIVE_MWH * size.active_b + TOKEN_MWH
    return Rate(
        completion=token / 1000,
        prompt=prompt,
        cached=prompt * CACHED_SHARE,
        context=KV_MWH * kv_gb(facts, size.active_b) / 1000,
    )


def _sizes(facts: ModelFacts) -> tuple[_Size, _Size, _Size]:
    bits = facts.weight_bits
    middle, low, high = (bits, bits, bits) if bits else (BITS, BITS_LOW, BITS_HIGH)
    total_low, total_high = facts.total_range_b
    active_low, active_high = facts.active_range_b
    return (
        _Size(facts.total_params_b, facts.active_params_b, middle),
        _Size(total_low, active_low, low),
        _Size(total_high, active_high, high),
    )


def _pues(facts: ModelFacts, pue: float | None) -> tuple[float, float, float]:
    """PUE with bounds: as declared, else the table's for the provider, else usual."""
    if pue is not None:
        return pue, pue, pue
    known = facts.deployment
    if known is None or known.pue_low is None or known.pue_high is None:
        return PUE, PUE_LOW, PUE_HIGH
    return (known.pue_low + known.pue_high) / 2, known.pue_low, known.pue_high


def _embodied(facts: ModelFacts, size: _Size) -> tuple[float, float]:
    """Grams per request and per output token of making the hardware."""
    known = facts.deployment
    per_s = hardware.embodied_g_per_s(hardware.gpu_count(size.total_b * size.bits / 8))
    token_s = hardware.token_s(size.active_b, known.tokens_per_s if known else None)
    first_s = (known.first_token_s if known else None) or 0.0
    return per_s * first_s, per_s * token_s


def _water(facts: ModelFacts, grid: CarbonIntensity, pue: float) -> float | None:
    """Millilitres per Wh at the meter: on site per IT energy, and of generation."""
    known = facts.deployment
    if known is None or known.wue_low is None or known.wue_high is None:
        return None
    if grid.water_l_per_kwh is None:
        return None
    return (known.wue_low + known.wue_high) / 2 / pue + grid.water_l_per_kwh
