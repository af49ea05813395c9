"""What upstreams report of their energy: read, checked, brought to one boundary."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.eco import CarbonIntensity, ModelFacts, Reading
from lowproxy.core.eco_block import eco_fields
from lowproxy.core.eco_measured import (
    REJECTED,
    UNSTATED,
    measured,
    told_above,
    told_beside,
    told_in,
    unsized,
)
from lowproxy.core.eco_methods import DEFAULT
from lowproxy.core.usage import Usage

FRANCE = CarbonIntensity("FR", 41.44, 41.44, 41.44, "owid-ember", "2025")
FINLAND = CarbonIntensity("FI", 72.0, 72.0, 72.0, "owid-ember", "2025")
BLEND = CarbonIntensity("eu", 200.0, 40.0, 600.0, "owid-ember", "2025", blended=True)
FACTS = ModelFacts(70.6, 70.6, 16, "https://example.org", "acme/large")
USAGE = Usage(500, 300)
ESTIMATE = DEFAULT.estimate(FACTS, USAGE, FRANCE, 1.2)

NEURALWATT = {
    "energy_joules": 360.0,
    "energy_kwh": 0.0001,
    "avg_power_watts": 210.5,
    "duration_seconds": 1.71,
    "attribution_method": "prorated",
    "attribution_ratio": 0.3,
    "carbon_g_co2eq": 0.0072,
    "grid_id": "FI",
    "mcr": {"a": 1},
}
GREENPT = {
    "inferenceTime": {"total": 512, "unit": "ms"},
    "energy": {"total": 360_000, "unit": "Wms"},
    "emissions": {"total": 4100, "unit": "ugCO2e"},
    "version": "20250922",
}
MELIOUS = {
    "energy_kwh": 0.0002,
    "carbon_g_co2": 0.01,
    "water_liters": 0.001,
    "renewable_percent": 80,
    "pue": 1.2,
    "location": "FI",
}


def inside(answer: Any) -> Any:
    """What an answer tells, for tests that know what it is."""
    return told_in(answer)


def above(fields: Any) -> Any:
    """What a head tells."""
    return told_above(fields)


def reading(energy_wh: float = 0.2, boundary: str = "facility", **more: Any) -> Reading:
    """What somebody says that an answer took."""
    return Reading("somebody", energy_wh, boundary, **more)


# --- extractors -----------------------------------------------------------------------


def test_neuralwatt_counts_joules_of_the_gpu():
    """Joules first, kWh where there are none; the zone that the grid's id is."""
    found = inside({"id": "x", "choices": [], "energy": NEURALWATT})
    assert found == Reading("neuralwatt", 0.1, "gpu", 0.0072, "FI")
    assert inside({"energy": {"energy_kwh": 0.0001}}).energy_wh == pytest.approx(0.1)


@pytest.mark.parametrize(
    "comment",
    [
        b': energy {"energy_joules": 360.0}\n\n',
        b':energy {"energy_joules":360}\r\n\r\n',
        b': energy {"energy_joules": 360}\r\r',
        b': cost {"usd": 1}\n: energy {"energy_joules": 360}\n\n',
        b': energy {"energy_joules": 360.0}\ndata: [DONE]\n\n',
    ],
)
def test_neuralwatt_streams_tell_it_in_a_comment(comment):
    """Whatever the line ends are, and whatever else shares the event."""
    assert told_beside(comment) == Reading("neuralwatt", 0.1, "gpu")


@pytest.mark.parametrize(
    "comment",
    [
        b": heartbeat\n\n",
        b": energy\n\n",
        b': energy {"energy_joules": 36\n\n',
        b': energy {"energy_joules": "much"}\n\n',
        b": energy " + b'{"a":' * 100_000 + b"}\n\n",
        b': energetic {"energy_joules": 360}\n\n',
        b'data: {"text": ": energy {\\"energy_joules\\": 360}"}\n\n',
        b"",
    ],
)
def test_other_comments_say_nothing(comment):
    """Neither do those that are cut or nested beyond reason, nor a text about them."""
    assert told_beside(comment) is None


def test_greenpt_names_its_units():
    """Watt-milliseconds and micrograms; other units where it names them; else nothing."""
    found = inside({"impact": GREENPT})
    assert found.energy_wh == pytest.approx(0.1)
    assert found.carbon_g == pytest.approx(0.0041)
    assert (found.source, found.boundary) == ("greenpt", "unstated")
    joules = {"energy": {"total": 360, "unit": "J"}}
    assert inside({"impact": joules}).energy_wh == pytest.approx(0.1)
    for unit in ("BTU", None, 1, ["Wms"]):
        assert inside({"impact": {"energy": {"total": 1, "unit": unit}}}) is None


def test_melious_counts_the_facility():
    """In kWh, by a model of its own: one band down."""
    found = inside({"environment_impact": MELIOUS})
    assert (found.energy_wh, found.boundary, found.zone) == (0.2, "facility", "FI")
    assert found.notes == ("provider-modelled",)


def test_joules_in_a_header_field():
    """Cooling included; whoever says that it estimates is believed that, too."""
    assert above({"x-energy-joules": "360"}) == Reading(
        "x-energy-joules", 0.1, "facility"
    )
    guess = {"x-energy-joules": "360", "x-energy-method": "Estimated"}
    assert above(guess).notes == ("provider-modelled",)
    assert above({"x-energy-joules": "plenty"}) is None
    assert above({}) is None


def test_units_that_are_ambiguous_are_not_read():
    """`MWh` in a header may be anything, and it is an estimate."""
    assert above({"x-green-energy-mwh": "0.3", "x-green-carbon-mg": "1"}) is None


def test_another_gateway_says_what_it_knows():
    """Its method, bounds, band and version come along, where it tells them."""
    full = eco_fields(ESTIMATE, full=True)
    found = inside({"lowrouter": {"eco": full}})
    assert found.method == "estimated"
    assert found.zone == "FR"
    assert found.accuracy == "accurate"
    assert found.methodology_version == DEFAULT.version
    assert found.energy_wh_low == full["energy_wh_low"]
    short = inside({"lowrouter": {"eco": {"energy_wh": 0.2, "accuracy": "superb"}}})
    assert (short.method, short.accuracy, short.energy_wh_low) == (
        "estimated",
        "gross",
        None,
    )
    assert inside({"lowrouter": {"generation_id": "gen_1"}}) is None


def test_answers_without_a_figure_say_nothing():
    """Members of these names that are something else are something else."""
    odd: list[Any] = [None, 12, "low", [], {}, {"energy_joules": True}, {"eco": 1}]
    for value in odd:
        for name in ("energy", "impact", "environment_impact", "lowrouter"):
            assert inside({"choices": [], name: value}) is None
    assert inside({"choices": []}) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["energy", "eco", "energy_joules", "total", "unit"]), inner
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["energy", "impact", "lowrouter"]), json_values))
def test_nothing_that_is_told_breaks_anything(answer):
    """Whatever the shape: a reading or none, and an impact that is finite."""
    found = inside(answer)
    if found is not None:
        impact = measured(found, ESTIMATE)
        assert 0 < impact.energy_wh_low <= impact.energy_wh <= impact.energy_wh_high
        assert math.isfinite(impact.carbon_g_high)


def test_an_integer_beyond_any_double_is_refused():
    """JSON allows it."""
    found = inside({"energy": {"energy_joules": 10**400}})
    assert REJECTED in measured(found, ESTIMATE).notes


# --- from a reading to an impact ------------------------------------------------------


def test_a_measured_facility_is_taken_as_it_is():
    """Energy, carbon by our own grid, bounds of a fifth, the best band."""
    found = measured(reading(0.2, carbon_g=0.0, zone="FI"), ESTIMATE, FINLAND)
    assert found.energy_wh == 0.2
    assert (found.energy_wh_low, found.energy_wh_high) == pytest.approx((0.16, 0.24))
    assert found.carbon_g == pytest.approx(0.2 * 41.44 / 1000)
    assert found.grid == FRANCE  # as configured, whatever it says
    assert (found.method, found.accuracy, found.boundary) == (
        "measured",
        "accurate",
        "facility",
    )
    assert found.methodology_version == DEFAULT.version
    assert found.embodied_g == ESTIMATE.embodied_g


@pytest.mark.parametrize("pue", [None, 1.1])
def test_a_gpu_is_scaled_to_its_facility(pue):
    """1.6 for the server, then the PUE, assumed 1.2; what was said stays."""
    estimate = DEFAULT.estimate(FACTS, USAGE, FRANCE, pue)
    raw = Reading("neuralwatt", 0.1, "gpu", zone="FR")
    found = measured(raw, estimate)
    assert found.energy_wh == pytest.approx(0.1 * 1.6 * (pue or 1.2))
    assert found.method == "measured_scaled"
    assert found.pue == (pue or 1.2)
    assert found.energy_wh_low < 0.8 * found.energy_wh
    assert found.energy_wh_high > 1.2 * found.energy_wh
    assert eco_fields(found, full=True)["measured"] == {
        "source": "neuralwatt",
        "energy_wh": 0.1,
        "boundary": "gpu",
        "zone": "FR",
    }
    assert "measured" not in eco_fields(found)


def test_a_boundary_that_nobody_states_is_not_scaled():
    """But the upper bound allows for it, and the block says so."""
    found = measured(inside({"impact": GREENPT}), ESTIMATE)
    assert found.energy_wh == pytest.approx(0.1)
    assert found.energy_wh_high > 0.1 * 1.6 * 1.2
    assert found.boundary == "unstated"
    assert UNSTATED in found.notes
    assert found.accuracy == "medium"


@pytest.mark.parametrize(
    "energy_wh",
    [0.0, -1.0, -0.0, 1e6, 1e-9, math.nan, math.inf, -math.inf],
)
@pytest.mark.parametrize("boundary", ["gpu", "facility", "unstated"])
def test_a_figure_that_cannot_be_is_not_believed(energy_wh, boundary):
    """The estimate stands, and says that there was something else."""
    found = measured(reading(energy_wh, boundary), ESTIMATE)
    assert found == ESTIMATE.but(notes=(REJECTED,))
    assert "measured" not in eco_fields(found, full=True)


def test_the_gate_is_at_a_hundred():
    """Either way, of what would be told."""
    expected = ESTIMATE.energy_wh
    for factor, is_believed in ((99, 1), (101, 0), (1 / 99, 1), (1 / 101, 0)):
        found = measured(reading(expected * factor), ESTIMATE)
        assert (found.method == "measured") is bool(is_believed)


def test_a_model_of_unknown_size_can_be_measured():
    """Then there is nothing to compare with but what tokens can take at all."""
    blank = unsized(USAGE, FRANCE, None, DEFAULT.version)
    found = measured(reading(0.1, "gpu"), blank)
    assert found.energy_wh == pytest.approx(0.192)
    assert found.accuracy == "accurate"
    assert found.water_ml is None
    for energy_wh in (-1.0, 0.0, 1e6, 1e-9, math.nan):
        assert measured(reading(energy_wh), blank).energy_wh == 0
    nothing = unsized(Usage(0, 0), FRANCE, None, DEFAULT.version)
    assert REJECTED in measured(reading(0.0), nothing).notes


def test_the_zone_that_is_told_serves_where_none_is_configured():
    """Our own figure for it, else what its grams come to, else the blend."""
    estimate = DEFAULT.estimate(FACTS, USAGE, BLEND, None)
    named = measured(reading(zone="FI", carbon_g=0.01), estimate, FINLAND)
    assert named.grid == FINLAND
    assert named.accuracy == "accurate"
    unheard = measured(reading(zone="XX", carbon_g=0.01), estimate, BLEND)
    assert unheard.grid.zone == "XX"
    assert unheard.carbon_g == pytest.approx(0.01)
    assert eco_fields(unheard, full=True)["grid"] == {
        "zone": "XX",
        "intensity_g_per_kwh": 50.0,
        "source": "somebody",
        "live": False,
    }
    for grams in (0.0, 1e6, None):  # by contract, a lie, not said
        silent = measured(reading(carbon_g=grams), estimate)
        assert silent.grid == BLEND
        assert silent.accuracy == "medium"


def test_grams_that_cannot_be_are_not_kept():
    """Neither used nor shown."""
    for grams in (-1, math.nan, math.inf):
        body = {"energy_joules": 360, "carbon_g_co2eq": grams}
        assert inside({"energy": body}).carbon_g is None


def test_another_gateway_is_passed_through():
    """With its own method, band, bounds and grams, where they make sense."""
    theirs = DEFAULT.estimate(FACTS, USAGE, FINLAND, 1.1)
    told = inside({"lowrouter": {"eco": eco_fields(theirs, full=True)}})
    found = measured(told, ESTIMATE, FINLAND)
    assert found.method == "estimated"
    assert found.accuracy == "accurate"
    assert found.energy_wh == pytest.approx(theirs.energy_wh, rel=1e-5)
    assert found.energy_wh_low == pytest.approx(theirs.energy_wh_low, rel=1e-5)
    assert found.carbon_g == pytest.approx(theirs.carbon_g, rel=1e-5)
    assert found.grid.zone == "FI"
    short = inside({"lowrouter": {"eco": eco_fields(theirs)}})
    guessed = measured(short, ESTIMATE)
    assert guessed.energy_wh_high > 3 * guessed.energy_wh
    odd = inside({"lowrouter": {"eco": {"energy_wh": 0.2, "energy_wh_low": 9.0}}})
    assert measured(odd, ESTIMATE).energy_wh_low < 0.2


def test_what_the_request_lacks_costs_a_band_still():
    """Counted tokens and images, as for an estimate."""
    for usage, notes in (
        (Usage(500, 300, counted=True), ()),
        (USAGE, ("media-input",)),
    ):
        estimate = DEFAULT.estimate(FACTS, usage, FRANCE, 1.2, notes)
        assert measured(reading(), estimate).accuracy == "medium"


def test_water_follows_the_energy():
    """What half the energy takes is half the water."""
    estimate = ESTIMATE.but(water_ml=2.0)
    found = measured(reading(estimate.energy_wh / 2), estimate)
    assert found.water_ml == pytest.approx(1.0)
