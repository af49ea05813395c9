"""A year's average carbon intensity, by zone and by region."""

from importlib.resources import files

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.grid.annual import AnnualGrid

GRID = AnnualGrid.load()


@pytest.mark.parametrize(
    ("zone", "grams"),
    [("FR", 41.44), ("SE", 35.26), ("DE", 329.65), ("GB", 217.41), ("US", 384.4)],
)
def test_a_country_is_what_the_table_says(zone, grams):
    """Life cycle, average, of a named source and year; nothing blended."""
    reading = GRID.intensity(zone, "eu-west")

    assert reading.zone == zone
    assert reading.grams_per_kwh == pytest.approx(grams, abs=0.01)
    assert (reading.kind, reading.factor) == ("average", "lifecycle")
    assert (reading.source, reading.at) == ("owid-ember", "2025")
    assert not reading.live
    assert not reading.blended


def test_a_part_of_a_country_goes_before_its_country():
    """Where a figure is known that may stand beside the country's."""
    california = GRID.intensity("US-CAL-CISO", "us-west")
    quebec = GRID.intensity("CA-QC", "ca-central")

    assert california.zone == "US-CAL-CISO"
    assert california.grams_per_kwh < GRID.intensity("US", "us").grams_per_kwh
    assert california.estimated
    assert quebec.grams_per_kwh < 30


@pytest.mark.parametrize(
    ("zone", "country"),
    [("SE-SE3", "SE"), ("IT-NO", "IT"), ("US-MIDW-MISO", "US"), ("AU-NSW", "AU")],
)
def test_an_unknown_part_is_its_country(zone, country):
    """The block names the zone that the number is of."""
    reading = GRID.intensity(zone, "anywhere")

    assert reading.zone == country
    assert not reading.blended


def test_a_country_with_very_different_parts_says_so():
    """The bounds of the United States are those of its grids."""
    reading = GRID.intensity("US-MIDW-MISO", "us-central")

    assert reading.low < 150
    assert reading.high > 650


def test_the_country_wins_over_the_region():
    """eu-west does not blend once the country is known."""
    assert GRID.intensity("FR", "eu-west").grams_per_kwh == pytest.approx(41.44)


def test_a_region_without_a_country_is_a_blend():
    """Weighted by inhabitants, with its cleanest and dirtiest member as bounds."""
    reading = GRID.intensity(None, "eu-west")

    assert reading.blended
    assert reading.zone == "eu-west"
    assert reading.grams_per_kwh == pytest.approx(207, abs=0.5)
    assert reading.low == pytest.approx(41.44)
    assert reading.high == pytest.approx(329.65)
    assert reading.water_l_per_kwh is not None


def test_a_region_of_one_country_is_no_blend():
    """uk is Great Britain; us-east is only assumed to be PJM."""
    assert not GRID.intensity(None, "uk").blended
    assert GRID.intensity(None, "us-east").blended
    assert GRID.zone_of("uk") == "GB"
    assert GRID.zone_of("us-east") is None
    assert GRID.zone_of("eu-west") is None


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("aws/eu-west-3", "FR"),
        ("eu-west-3", "FR"),
        ("swedencentral", "SE-SE3"),
        ("europe-west9", "FR"),
        ("gcp/us-central1", "US-CENT-SWPP"),
        ("scaleway/fr-par", "FR"),
    ],
)
def test_a_cloud_region_is_one_zone(name, zone):
    """With or without the cloud's name."""
    assert GRID.zone_of(name) == zone
    assert not GRID.intensity(None, name).blended


@pytest.mark.parametrize(("zone", "region"), [("XX", "x"), (None, "mars"), ("", "")])
def test_the_unknown_is_the_world_with_wide_bounds(zone, region):
    """And it is marked as a blend, which costs a band."""
    reading = GRID.intensity(zone, region)

    assert reading.zone == "WOR"
    assert reading.blended
    assert reading.low < 50
    assert reading.grams_per_kwh == pytest.approx(458, abs=1)
    assert reading.high > 700


@given(st.none() | st.text(max_size=20), st.text(max_size=20))
def test_nothing_is_an_error(zone, region):
    """Whatever a configuration names."""
    reading = GRID.intensity(zone, region)

    assert 0 < reading.low <= reading.grams_per_kwh <= reading.high


def test_every_shipped_name_leads_to_a_figure():
    """All members of regions and all clouds' zones have at least their country."""
    for region in GRID.regions.values():
        for zone in region.members:
            assert zone == "WOR" or not GRID.intensity(zone, "x").blended
    for zone in GRID.clouds.values():
        assert not GRID.intensity(zone, "x").blended


@pytest.mark.parametrize(
    "name", ["grid_annual.json", "grid_zones.json", "regions.json"]
)
def test_every_file_names_its_source_and_licence(name):
    """With a page that a reader can open."""
    data = orjson.loads((files("lowproxy") / "data" / name).read_bytes())

    assert data["license"]
    assert "https://" in data["source"]
