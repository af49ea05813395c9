"""The United States: the newest complete hour of a balancing authority."""

import orjson
import pytest

from lowproxy.core.grid_reading import RejectedReadingError, iso
from lowproxy.grid.eia import Eia
from tests.grid_server import NOW, TOKEN, feed_config


def rows(period, **mix):
    """Rows of one hour."""
    return [
        {"period": period, "respondent": "PJM", "fueltype": fuel, "value": value}
        for fuel, value in mix.items()
    ]


def read(data):
    """The reading in an answer."""
    source = Eia(feed_config("eia"))
    (question,) = source.questions(NOW)
    body = orjson.dumps({"response": {"total": "9", "data": data}, "request": {}})
    (reading,) = source.read(question, body, NOW)
    return reading


def test_the_question():
    """One authority, in UTC, newest first; the key is not printed."""
    (question,) = Eia(feed_config("eia")).questions(NOW)
    assert question.params["facets[respondent][]"] == "PJM"
    assert question.params["frequency"] == "hourly"
    assert question.params["api_key"] == TOKEN
    assert TOKEN not in repr(question)


def test_an_hour_that_is_not_complete_waits():
    """The newest hour has one fuel of three: the one before counts."""
    data = rows("2026-11-22T09", NG=100) + rows("2026-11-22T08", NG=1, NUC=2, WND=1)
    reading = read(data)
    assert iso(reading.at) == "2026-11-22T08:00:00Z"
    assert reading.grams_per_kwh == pytest.approx((490 + 24 + 11) / 4)


def test_numbers_as_strings_and_below_zero():
    """A solar park takes a little at night; batteries made nothing; null is not reported."""
    mix = {"NG": "100", "SUN": "-3", "BAT": 50, "PS": -20, "NUC": "100", "OTH": None}
    assert read(rows("2026-11-22T09", **mix)).grams_per_kwh == pytest.approx(251)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ([], "no_data"),
        (rows("2026-11-22T09", NG=None), "no_data"),
        (rows("2026-11-22T09", NG=50, OTH=50), "unknown_fuels"),
        (rows("2026-11-22T09", NG=-50), "no_data"),
        (rows("yesterday", NG=50), "garbage"),
        ([{"respondent": "CISO"}], "wrong_zone"),
    ],
)
def test_what_is_no_reading(data, reason):
    """Each by its reason."""
    with pytest.raises(RejectedReadingError, match=reason):
        read(data)
