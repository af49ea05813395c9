"""Rates of energy per token, and the impact that they make of token counts."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.eco import CarbonIntensity, EcoImpact
from lowproxy.core.eco_rates import Bounds, Rate, TokenRates
from lowproxy.core.usage import Usage

GRID = CarbonIntensity("FR", 40.0, 30.0, 80.0, "test", "2025")
CENTRAL = Rate(0.01, 2e-4, 1e-5, 1e-6, 1e-9)
ENERGY = Bounds(CENTRAL, CENTRAL.scaled(0.5), CENTRAL.scaled(3))

counts = st.integers(0, 200_000)


@st.composite
def usages(draw):
    prompt = draw(counts)
    return Usage(prompt, draw(counts), draw(st.integers(0, prompt)))


def rates(**changes):
    fields: dict[str, Any] = {
        "version": "v9.9-2030-01",
        "model_ref": "acme/small",
        "grid": GRID,
        "pue": 1.2,
        "accuracy": "accurate",
        "energy": ENERGY,
        "gpu": ENERGY,
        "it": ENERGY,
    }
    return TokenRates(**fields | changes)


@given(usages())
def test_the_quick_form_equals_the_plain_one(usage):
    """What runs per request is the same sum that the rate itself writes out."""
    impact = rates().impact(usage)

    found = impact.energy_wh, impact.energy_wh_low, impact.energy_wh_high
    assert found == pytest.approx([rate.energy_wh(usage) for rate in ENERGY], rel=1e-12)
    assert rates().stages(usage)["energy_wh"] == pytest.approx(found, rel=1e-12)


@given(usages())
def test_bounds_enclose_and_nothing_is_negative(usage):
    """Low <= central <= high, for energy and carbon."""
    impact = rates().impact(usage)

    assert 0 <= impact.energy_wh_low <= impact.energy_wh <= impact.energy_wh_high
    assert 0 <= impact.carbon_g_low <= impact.carbon_g <= impact.carbon_g_high


@given(usages(), st.integers(1, 10_000))
def test_more_tokens_never_cost_less(usage, more):
    """One more token of any kind costs energy; a cached one costs less than a fresh."""
    small = rates().impact(usage).energy_wh
    longer = Usage(usage.prompt, usage.completion + more, usage.cached)
    fresh = Usage(usage.prompt + more, usage.completion, usage.cached)
    cached = Usage(usage.prompt + more, usage.completion, usage.cached + more)

    assert small < rates().impact(longer).energy_wh
    assert small < rates().impact(cached).energy_wh < rates().impact(fresh).energy_wh


def test_reasoning_tokens_are_in_the_completion():
    """They are output tokens already counted: never added twice."""
    with_it = rates().impact(Usage(10, 300, reasoning=200))

    assert with_it.energy_wh == rates().impact(Usage(10, 300)).energy_wh


def test_bounds_of_carbon_take_the_grid_along():
    """A blend's cleanest and dirtiest member are in the bounds of the grams."""
    impact = rates().impact(Usage(0, 1000))

    assert impact.carbon_g == pytest.approx(impact.energy_wh * 0.040)
    assert impact.carbon_g_low == pytest.approx(impact.energy_wh_low * 0.030)
    assert impact.carbon_g_high == pytest.approx(impact.energy_wh_high * 0.080)


def test_unknown_is_absent_not_zero():
    """Embodied carbon and water stay None where they were not worked out."""
    impact = rates().impact(Usage(0, 100))

    assert impact.embodied_g is None
    assert impact.water_ml is None


def test_embodied_and_water_are_affine():
    """Fixed parts and parts per token or per Wh add up."""
    known = rates(
        embodied_g_fixed=0.5,
        embodied_g_completion=0.01,
        water_ml_fixed=1.0,
        water_ml_per_wh=4.0,
    )
    impact = known.impact(Usage(0, 100))

    assert impact.embodied_g == pytest.approx(1.5)
    assert impact.water_ml == pytest.approx(1.0 + 4.0 * impact.energy_wh)


def test_every_field_of_an_impact_is_there():
    """It is filled in field by field: one that is added later is not forgotten here."""
    made = rates().impact(Usage(100, 20), ("demo",))
    for each in attrs.fields(EcoImpact):
        assert hasattr(made, each.name), each.name
    values = {each.name: getattr(made, each.name) for each in attrs.fields(EcoImpact)}
    assert values.pop("told") is None
    assert made == EcoImpact(**values)


def test_notes_of_model_and_request_add_up():
    """Both are in the impact, the model's first."""
    impact = rates(notes=("arch-not-released",)).impact(Usage(0, 1), ("partial",))

    assert impact.notes == ("arch-not-released", "partial")


def test_requests_share_what_they_rest_on():
    """One basis for all without defects, one for each set of notes; the same figures."""
    made = rates()
    usual, noted = made.impact(Usage(10, 20)), made.impact(Usage(10, 20), ("partial",))

    assert usual.basis is made.impact(Usage(500, 1)).basis
    assert noted.basis is made.impact(Usage(1, 1), ("partial",)).basis
    assert noted.basis is not usual.basis
    assert noted == usual.but(notes=(*usual.notes, "partial"))
    assert made.impact(Usage(10, 20, counted=True)).accuracy != usual.accuracy
