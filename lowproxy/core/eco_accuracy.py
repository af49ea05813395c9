"""The accuracy band of an estimate: where its inputs came from, less its defects.

The rule is deterministic: start from the provenance of the model's size, go one step
down for each defect, never up.
"""

from lowproxy.core.eco import BANDS, CarbonIntensity, ModelFacts
from lowproxy.core.usage import Usage

# A guessed size whose ends are further apart than this says little.
WIDE_RANGE = 3.0
# The measurements behind the methods stop well short of these.
LONG_PROMPT = 32_000
LONG_COMPLETION = 8_000

# Notes that a caller may pass and that move the band.
DEMO = "demo"  # not a model at all: gross
MEDIA = "media-input"  # images, audio or video in the request: one step down
MODELLED = "provider-modelled"  # the provider's figure is no meter's: one step down


def starting_band(facts: ModelFacts) -> str:
    """The band that the model's facts deserve."""
    if facts.source is None or _widest_ratio(facts) > WIDE_RANGE:
        return "gross"
    if facts.weight_bits is None or _widest_ratio(facts) > 1 or facts.encoder:
        return "medium"
    return "accurate"


def placed_band(facts: ModelFacts, grid: CarbonIntensity) -> str:
    """The band of a model at a place: a blend of countries costs a step."""
    return _down(starting_band(facts), int(grid.blended))


def measured_band(grid: CarbonIntensity) -> str:
    """The band of an answer whose provider measured it there."""
    return _down("accurate", int(grid.blended))


def band(start: str, usage: Usage, notes: tuple[str, ...] = ()) -> str:
    """The band of one request, from `placed_band` and what the request itself lacks."""
    if DEMO in notes:
        return "gross"
    steps = int(usage.counted) + (MEDIA in notes) + (MODELLED in notes)
    if usage.prompt > LONG_PROMPT or usage.completion > LONG_COMPLETION:
        steps += 1
    return _down(start, steps)


def _down(start: str, steps: int) -> str:
    return BANDS[min(BANDS.index(start) + steps, len(BANDS) - 1)]


def _widest_ratio(facts: ModelFacts) -> float:
    ranges = (facts.total_range_b, facts.active_range_b)
    return max(high / low if low else 1.0 for low, high in ranges)
