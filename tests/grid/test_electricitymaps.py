"""Electricity Maps: what is asked, and the shapes that its versions answer with."""

import orjson
import pytest

from lowproxy.core.grid_reading import RejectedReadingError
from lowproxy.grid.electricitymaps import ElectricityMaps
from tests.grid_server import NOW, TOKEN, feed_config

URL = "https://api.electricitymaps.com"


def source(**options):
    """For France."""
    return ElectricityMaps(feed_config("electricitymaps", URL, **options))


def read(answer, **options):
    """The one reading in an answer."""
    made = source(**options)
    (reading,) = made.read(made.questions(NOW)[0], orjson.dumps(answer), NOW)
    return reading


def test_the_question():
    """The zone, the factor, no guess from our address; the token as a field."""
    (question,) = source().questions(NOW)
    assert question.where == f"{URL}/v4/carbon-intensity/latest"
    assert question.params == {
        "zone": "FR",
        "emissionFactorType": "lifecycle",
        "disableCallerLookup": "true",
    }
    assert question.fields == {"auth-token": TOKEN}
    assert TOKEN not in repr(question)


@pytest.mark.parametrize("name", ["data", "history", "forecast"])
def test_a_list(name):
    """Its newest row counts."""
    rows = [
        {"carbonIntensity": 40, "datetime": "2026-11-22T09:00:00.000Z"},
        {"carbonIntensity": 41, "datetime": "2026-11-22T10:00:00.000Z"},
        {"carbonIntensity": 39, "datetime": "2026-11-22T08:00:00.000Z"},
    ]
    reading = read({"zone": "FR", name: rows, "temporalGranularity": "hourly"})
    assert reading.grams_per_kwh == 41
    assert reading.estimated is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": "error", "message": "No data for FR"}, "no_data"),
        ({"zone": "FR", "data": []}, "no_data"),
        ({"zone": "FR"}, "garbage"),
        ({"carbonIntensity": 38, "datetime": "2026-11-22T10:00:00Z"}, "wrong_zone"),
        ({"zone": "FR", "carbonIntensity": 38}, "garbage"),
        ({"zone": "FR", "carbonIntensity": 38, "datetime": 1}, "garbage"),
        ({"zone": "FR", "emissionFactorType": "direct"}, "garbage"),
    ],
)
def test_what_is_no_reading(answer, reason):
    """Each by its reason."""
    with pytest.raises(RejectedReadingError) as caught:
        read(answer)
    assert caught.value.reason == reason


def test_direct_factors_are_not_taken_for_life_cycle_ones():
    """Nor the other way round."""
    answer = {
        "zone": "FR",
        "carbonIntensity": 21,
        "datetime": "2026-11-22T10:00:00.000Z",
        "emissionFactorType": "direct",
    }
    with pytest.raises(RejectedReadingError, match="wrong_factor"):
        read(answer)
    assert read(answer, factor="direct").grams_per_kwh == 21
