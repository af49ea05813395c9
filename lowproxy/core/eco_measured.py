"""Energy that an upstream reports itself: read it, check it, bring it to one boundary.

    energy = reported * 1.6 * PUE     where only the accelerators were measured
    energy = reported                 where the facility was, or nobody says

Without the factor whoever measures would look 1.7 to 2 times greener than whoever is
estimated. A reading that is not within a factor of 100 of the estimate is not believed.

BatchIn's headers are not read: their unit is ambiguous, and they are an estimate from
token counts, which we make ourselves.
"""

import json
import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

import attrs

from lowproxy.core.eco import BANDS, Basis, CarbonIntensity, EcoImpact, Reading
from lowproxy.core.eco_accuracy import MODELLED, band, measured_band
from lowproxy.core.eco_outcomes import UPSTREAM_CACHE, from_cache
from lowproxy.core.eco_roofline import GPU_TO_IT, PUE, PUE_HIGH, PUE_LOW
from lowproxy.core.usage import Usage

# A reading further from the estimate than this, either way, is a mistake or a lie.
GATE = 100.0
# The same where there is no estimate: Wh per token, a hundredth of what the smallest
# models take and a hundred times what the largest do.
TOKEN_WH_LOW, TOKEN_WH_HIGH = 1e-7, 1.0
# Attribution to one of many requests on a GPU, and the meter.
SPREAD = 0.2
# A guess of another gateway whose bounds are not told: what an estimate's are, about.
GUESS_LOW, GUESS_HIGH = 0.4, 3.5
# Grams per kWh that a grid can have; less is a contract, not a grid.
INTENSITIES = (1.0, 2000.0)

REJECTED = "measured-rejected"  # the upstream told a figure that cannot be
UNSTATED = "boundary-unstated"  # nobody says whether it is the GPU or the facility

_WH = {"Wms": 1 / 3.6e6, "J": 1 / 3600, "mWh": 1e-3, "Wh": 1.0, "kWh": 1000.0}
_GRAMS = {"ugCO2e": 1e-6, "mgCO2e": 1e-3, "gCO2e": 1.0, "kgCO2e": 1000.0}
_METHODS = ("measured", "measured_scaled", "estimated")
_COMMENT = re.compile(rb"(?:^|[\r\n]):[ \t]*energy[ \t]*(\{[^\r\n]*\})")
_MAX_NAME = 64  # of a zone or version that somebody else wrote


# --- extractors -----------------------------------------------------------------------


def _neuralwatt(energy: Mapping[str, Any]) -> Reading | None:
    """`energy`: NVML's joules, prorated by tokens.

    https://portal.neuralwatt.com/docs
    """
    wh = _times(_number(energy, "energy_joules"), 1 / 3600)
    if wh is None:
        wh = _times(_number(energy, "energy_kwh"), 1000)
    if wh is None:
        return None
    carbon, zone = _grams(_number(energy, "carbon_g_co2eq")), _name(energy, "grid_id")
    return Reading("neuralwatt", wh, "gpu", carbon, zone)


def _greenpt(impact: Mapping[str, Any]) -> Reading | None:
    """`impact`: watt-milliseconds and micrograms, each with its unit.

    https://docs.greenpt.ai/chat-completion
    """
    wh = _with_unit(impact.get("energy"), _WH)
    if wh is None:
        return None
    carbon = _grams(_with_unit(impact.get("emissions"), _GRAMS))
    notes = (MODELLED, UNSTATED)
    return Reading("greenpt", wh, "unstated", carbon, notes=notes)


def _melious(impact: Mapping[str, Any]) -> Reading | None:
    """`environment_impact`: kWh with cooling, from measured energy per token."""
    wh = _times(_number(impact, "energy_kwh"), 1000)
    if wh is None:
        return None
    carbon, zone = _grams(_number(impact, "carbon_g_co2")), _name(impact, "location")
    return Reading("melious", wh, "facility", carbon, zone, notes=(MODELLED,))


def _lowrouter(about: Mapping[str, Any]) -> Reading | None:
    """`lowrouter.eco` of another gateway like this one, short or full."""
    eco = about.get("eco")
    if not isinstance(eco, Mapping):
        return None
    wh, grid, accuracy = _number(eco, "energy_wh"), eco.get("grid"), eco.get("accuracy")
    method = eco.get("method")
    if wh is None:
        return None
    return Reading(
        "lowrouter",
        wh,
        "unstated" if eco.get("boundary") == "unstated" else "facility",
        _grams(_number(eco, "carbon_g")),
        _name(grid, "zone") if isinstance(grid, Mapping) else None,
        method if method in _METHODS else "estimated",
        energy_wh_low=_number(eco, "energy_wh_low"),
        energy_wh_high=_number(eco, "energy_wh_high"),
        accuracy=accuracy if accuracy in BANDS else "gross",
        methodology_version=_name(eco, "methodology_version"),
    )


# By the member of an answer, or of a stream's final chunk, that holds the figures.
EXTRACTORS: Mapping[str, Callable[[Mapping[str, Any]], Reading | None]] = {
    "energy": _neuralwatt,
    "impact": _greenpt,
    "environment_impact": _melious,
    "lowrouter": _lowrouter,
}


def told_in(answer: Mapping[str, Any]) -> Reading | None:
    """What a parsed answer or chunk says of its energy; None where it says nothing."""
    # `EXTRACTORS` name by name: this is asked of every answer and of every final chunk.
    if not (
        "energy" in answer
        or "impact" in answer
        or "environment_impact" in answer
        or "lowrouter" in answer
    ):
        return None
    for name, extract in EXTRACTORS.items():
        part = answer.get(name)
        if isinstance(part, Mapping) and (reading := extract(part)) is not None:
            return reading
    return None


def told_beside(event: bytes) -> Reading | None:
    """What the comments of a stream say: `: energy {"energy_joules": 12.5, ...}`."""
    match = _COMMENT.search(event) if b"energy" in event else None
    if match is None:
        return None
    try:
        # Not our own reader: NaN has to be seen to be refused.
        energy = json.loads(match[1])
    except (ValueError, RecursionError):
        return None
    return _neuralwatt(energy) if isinstance(energy, dict) else None


def told_above(fields: Mapping[str, str]) -> Reading | None:
    """What header fields say: `X-Energy-Joules`, cooling included; or that a cache answered.

    Of the caches: developers.cloudflare.com/ai-gateway/features/caching,
    docs.helicone.ai/features/advanced-usage/caching, and Portkey's (HIT, SEMANTIC HIT).
    """
    if not (
        "x-energy-joules" in fields
        or "cf-aig-cache-status" in fields
        or "helicone-cache" in fields
        or "x-portkey-cache-status" in fields
    ):
        return None
    get = fields.get
    said = (
        get("cf-aig-cache-status")
        or get("helicone-cache")
        or get("x-portkey-cache-status")
    )
    if said and said.upper().endswith("HIT"):
        return Reading(UPSTREAM_CACHE, 0.0, "facility", method="estimated")
    joules = get("x-energy-joules")
    if joules is None:
        return None
    try:
        wh = float(joules) / 3600
    except ValueError:
        return None
    is_guess = "estimat" in (fields.get("x-energy-method") or "").lower()
    notes = (MODELLED,) if is_guess else ()
    return Reading("x-energy-joules", wh, "facility", notes=notes)


# --- from a reading to an impact ------------------------------------------------------


def unsized(
    usage: Usage,
    grid: CarbonIntensity,
    pue: float | None,
    version: str,
    notes: tuple[str, ...] = (),
) -> EcoImpact:
    """What is known of an answer before its reading, where its model's size is not."""
    none = (0.0,) * 6
    return EcoImpact(*none, usage, Basis("gross", version, grid, notes=notes, pue=pue))


def measured(
    reading: Reading, estimate: EcoImpact, there: CarbonIntensity | None = None
) -> EcoImpact:
    """The impact by the reading, or the estimate with a note where that cannot be.

    `estimate` may be `unsized`. `there` is the grid that the reading names, where it is
    known: used only if the configuration does not name one.
    """
    if reading.source == UPSTREAM_CACHE:
        return from_cache(estimate)
    factor, low, high = _scale(reading, estimate.pue)
    energy = reading.energy_wh * factor
    if not _believable(energy, estimate):
        return estimate.but(notes=(*estimate.notes, REJECTED))
    energy_low, energy_high = _bounds(reading, energy, low, high)
    grid = _grid(reading, estimate.grid, there)
    notes = (*estimate.notes, *reading.notes)
    accuracy = reading.accuracy or band(measured_band(grid), estimate.tokens, notes)
    water = estimate.water_ml
    if water is not None:
        water *= energy / estimate.energy_wh
    return estimate.but(
        energy_wh=energy,
        energy_wh_low=energy_low,
        energy_wh_high=energy_high,
        carbon_g=energy * grid.grams_per_kwh / 1000,
        carbon_g_low=energy_low * grid.low / 1000,
        carbon_g_high=energy_high * grid.high / 1000,
        accuracy=accuracy,
        methodology_version=reading.methodology_version or estimate.methodology_version,
        grid=grid,
        method="measured_scaled" if factor != 1 else reading.method,
        notes=notes,
        pue=estimate.pue or (PUE if factor != 1 else None),
        boundary="unstated" if reading.boundary == "unstated" else "facility",
        water_ml=water,
        reading=reading,
    )


def _scale(reading: Reading, pue: float | None) -> tuple[float, float, float]:
    """What brings a reading to the facility, and how far off that may be, down and up."""
    low, high = 1 - SPREAD, 1 + SPREAD
    if reading.boundary == "gpu":  # the factor is no measurement
        return GPU_TO_IT * (pue or PUE), low * PUE_LOW / PUE, high * PUE_HIGH / PUE
    if reading.boundary == "unstated":  # it may be the GPU alone
        return 1.0, low, high * GPU_TO_IT * (pue or PUE)
    return 1.0, low, high


def _bounds(
    reading: Reading, energy: float, low: float, high: float
) -> tuple[float, float]:
    if reading.method == "estimated":
        low, high = GUESS_LOW, GUESS_HIGH
    told_low, told_high = reading.energy_wh_low, reading.energy_wh_high
    if told_low is None or told_high is None:
        return energy * low, energy * high
    if 0 < told_low <= energy <= told_high < energy * GATE:
        return told_low, told_high
    return energy * low, energy * high


def _believable(energy: float, estimate: EcoImpact) -> bool:
    """NaN compares as false, so it is none."""
    expected, tokens = estimate.energy_wh, estimate.tokens.total
    if expected > 0:
        return expected / GATE <= energy <= expected * GATE
    return TOKEN_WH_LOW * tokens <= energy <= TOKEN_WH_HIGH * tokens and energy > 0


def _grid(
    reading: Reading, ours: CarbonIntensity, there: CarbonIntensity | None
) -> CarbonIntensity:
    """Our own reading of the zone, so that one rule holds for all; theirs where we have none.

    A provider's grams may be by contract, or marginal. Another gateway's are by our rule.
    """
    is_gateway = reading.source == "lowrouter"
    if not is_gateway and not ours.blended:
        return ours
    if there is not None and not there.blended and not is_gateway:
        return there
    carbon = reading.carbon_g
    grams = 0.0 if carbon is None else carbon / reading.energy_wh * 1000
    if not INTENSITIES[0] <= grams <= INTENSITIES[1]:
        return ours if there is None else there
    return attrs.evolve(
        ours,
        zone=reading.zone or ours.zone,
        grams_per_kwh=grams,
        low=grams,
        high=grams,
        source=reading.source,
        at="",
        kind="",
        factor="",
        live=False,
        blended=reading.zone is None,
        estimated=None,
    )


# --- what others wrote ----------------------------------------------------------------


def _number(obj: Mapping[str, Any], key: str) -> float | None:
    value = obj.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer beyond any double
        return float("inf")


def _grams(value: float | None) -> float | None:
    """None, too, where it cannot be."""
    return value if value is not None and isfinite(value) and value >= 0 else None


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _with_unit(obj: object, units: Mapping[str, float]) -> float | None:
    """`{"total": 120000, "unit": "Wms"}`; None where the unit is not known."""
    if not isinstance(obj, Mapping):
        return None
    unit = obj.get("unit")
    factor = units.get(unit) if isinstance(unit, str) else None
    return None if factor is None else _times(_number(obj, "total"), factor)


def _name(obj: Mapping[str, Any], key: str) -> str | None:
    value = obj.get(key)
    return value if isinstance(value, str) and 0 < len(value) <= _MAX_NAME else None
