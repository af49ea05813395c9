"""Great Britain: the operator's own figure, and what its mix weighs."""

import orjson
import pytest

from lowproxy.core.grid_reading import RejectedReadingError, iso
from lowproxy.grid.uk import Uk
from tests.grid_server import NOW, feed_config

SPAN = {"from": "2026-11-22T10:00Z", "to": "2026-11-22T10:30Z"}


def read(answer, factor="direct"):
    """The one reading in an answer."""
    source = Uk(feed_config("uk", factor=factor))
    (question,) = source.questions(NOW)
    (reading,) = source.read(question, orjson.dumps(answer), NOW)
    return reading


@pytest.mark.parametrize(("actual", "grams"), [(139, 139), (None, 142)])
def test_its_own_figure(actual, grams):
    """The actual one; while the half-hour runs it is null, and the forecast counts."""
    told = {"forecast": 142, "actual": actual, "index": "moderate"}
    reading = read({"data": [{**SPAN, "intensity": told}]})
    assert reading.grams_per_kwh == grams
    assert reading.estimated is (actual is None)
    assert iso(reading.at) == "2026-11-22T10:00:00Z"


def test_its_mix():
    """By hand: (40*490 + 20*12 + 20*11) / 80; imports are made elsewhere."""
    mix = {"gas": 40, "nuclear": 20, "wind": 20, "imports": 40, "coal": 0}
    shares = [{"fuel": fuel, "perc": share} for fuel, share in mix.items()]
    reading = read({"data": {**SPAN, "generationmix": shares}}, "lifecycle")
    assert reading.grams_per_kwh == pytest.approx((19600 + 240 + 220) / 80)
    assert reading.estimated


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"data": []}, "no_data"),
        ({"error": {"code": "500", "message": "down"}}, "garbage"),
        ({"data": [{**SPAN, "intensity": {"actual": None}}]}, "no_data"),
        ({"data": [{"intensity": {"actual": 139}}]}, "garbage"),
    ],
)
def test_what_is_no_reading(answer, reason):
    """Each by its reason."""
    with pytest.raises(RejectedReadingError, match=reason):
        read(answer)
