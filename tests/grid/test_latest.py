"""Live readings over the annual table."""

import attrs
import pytest

from lowproxy.core.eco import CarbonIntensity
from lowproxy.core.grid_reading import marginal_key
from lowproxy.grid.annual import AnnualGrid
from lowproxy.grid.latest import LatestGrid

ANNUAL = AnnualGrid.load()


def live(zone, grams=30.0, factor="lifecycle"):
    """A live reading."""
    at = "2026-11-22T10:00:00Z"
    return CarbonIntensity(
        zone, grams, grams, grams, "test", at, factor=factor, live=True
    )


def grid(*readings):
    """The table with these over it."""
    return LatestGrid(ANNUAL, {reading.zone: reading for reading in readings})


def test_without_live_readings():
    """The table, as it is."""
    assert grid().intensity("FR", "eu-west") == ANNUAL.intensity("FR", "eu-west")


def test_a_live_zone():
    """Its reading, with the year's water, which no source tells."""
    found = grid(live("FR")).intensity("FR", "eu-west")
    water = ANNUAL.intensity("FR", "eu-west").water_l_per_kwh
    assert water
    assert found == attrs.evolve(live("FR"), water_l_per_kwh=water)


@pytest.mark.parametrize(
    ("zone", "region"), [("IT-NO", "eu-south"), (None, "uk"), (None, "aws/eu-west-2")]
)
def test_what_the_table_counts_as_a_country(zone, region):
    """Has the country's live reading too."""
    readings = grid(live("IT"), live("GB"))
    assert readings.intensity(zone, region).live


@pytest.mark.parametrize(
    ("zone", "region"),
    [("US-CAL-CISO", "us-west"), ("DE", "eu-west"), (None, "eu-west"), (None, "x")],
)
def test_what_is_not_of_one_known_zone_stays_annual(zone, region):
    """A country's reading says nothing of a part that is known by itself, or of a blend."""
    readings = grid(live("FR"), live("US"), live("WOR"))
    assert not readings.intensity(zone, region).live


def test_direct_factors_are_not_compared():
    """They weigh an answer, and rank nothing."""
    readings = grid(live("FR", 20.0, "direct"), live("SE", 30.0))
    assert readings.intensity("FR", "").factor == "direct"
    assert readings.comparable("FR", "") == ANNUAL.intensity("FR", "")
    assert readings.comparable("SE", "") == readings.intensity("SE", "")


@pytest.mark.parametrize(("zone", "region"), [("FR", "eu-west"), (None, "uk")])
def test_a_marginal_reading_weighs_nothing(zone, region):
    """It is found where it is asked for by name, and nowhere else."""
    readings = {
        marginal_key(each): attrs.evolve(live(each, 700.0), kind="marginal")
        for each in ("FR", "GB")
    }
    grid = LatestGrid(ANNUAL, readings)
    assert grid.has_marginal
    annual = ANNUAL.intensity(zone, region)
    assert grid.intensity(zone, region) == annual
    assert grid.comparable(zone, region) == annual
    found = grid.marginal(zone, region)
    assert found is not None
    assert found.grams_per_kwh == 700.0
    assert grid.marginal("DE", "eu-west") is None
    assert grid.marginal(None, "eu-west") is None
    assert not LatestGrid(ANNUAL, {"FR": live("FR")}).has_marginal
