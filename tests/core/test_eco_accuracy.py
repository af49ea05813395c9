"""The accuracy band: start from the provenance, one step down per defect."""

import attrs
import pytest

from lowproxy.core.eco import CarbonIntensity, ModelFacts
from lowproxy.core.eco_methods import METHODS
from lowproxy.core.usage import Usage

FRANCE = CarbonIntensity("FR", 41.4, 41.4, 41.4, "test", "2025")
BLEND = attrs.evolve(FRANCE, zone="eu-west", low=40, high=330, blended=True)
PUBLISHED = ModelFacts(70, 70, 16, source="https://example.org/card")
USAGE = Usage(100, 200)


def band(facts=PUBLISHED, usage=USAGE, grid=FRANCE, notes=()):
    bands = {
        method.estimate(facts, usage, grid, None, notes).accuracy
        for method in METHODS.values()
    }
    assert len(bands) == 1, "every method follows the one rule"
    return bands.pop()


def ranged(low, high):
    return ModelFacts(
        (low + high) / 2,
        (low + high) / 2,
        source="https://example.org",
        total_low_b=low,
        total_high_b=high,
        active_low_b=low,
        active_high_b=high,
    )


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (PUBLISHED, "accurate"),
        (attrs.evolve(PUBLISHED, weight_bits=None), "medium"),
        (attrs.evolve(PUBLISHED, source=None), "gross"),
        (attrs.evolve(PUBLISHED, encoder=True), "medium"),
        (ranged(10, 30), "medium"),
        (ranged(10, 31), "gross"),
    ],
)
def test_the_band_starts_with_the_size_of_the_model(facts, expected):
    """Published with precision, published without or a narrow range, a guess."""
    assert band(facts) == expected


@pytest.mark.parametrize(
    "defect",
    [
        {"grid": BLEND},
        {"usage": Usage(100, 200, counted=True)},
        {"usage": Usage(32_001, 200)},
        {"usage": Usage(100, 8_001)},
        {"notes": ("media-input",)},
    ],
)
def test_each_defect_costs_one_step(defect):
    """A blended grid, counted tokens, a very long text, pictures."""
    assert band(**defect) == "medium"


def test_defects_add_up_and_stop_at_gross():
    """Two steps make gross; there is nothing below."""
    counted = Usage(40_000, 9_000, counted=True)

    assert band(usage=Usage(1, 1, counted=True), grid=BLEND) == "gross"
    assert band(attrs.evolve(PUBLISHED, source=None), counted, BLEND) == "gross"


def test_a_demonstration_is_gross():
    """Whatever model it plays."""
    assert band(notes=("demo",)) == "gross"
