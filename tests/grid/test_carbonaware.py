"""A Carbon Aware SDK of the operator's own."""

import orjson
import pytest

from lowproxy.core.grid_reading import RejectedReadingError
from lowproxy.core.secret import Secret
from lowproxy.grid.carbonaware import CarbonAware
from tests.grid_server import NOW, TOKEN, feed_config


def read(rows):
    """The reading in an answer."""
    source = CarbonAware(feed_config("carbonaware"))
    (question,) = source.questions(NOW)
    (reading,) = source.read(question, orjson.dumps(rows), NOW)
    return reading


def test_the_question():
    """A location and the last two hours; a token only where there is one."""
    (question,) = CarbonAware(feed_config("carbonaware")).questions(NOW)
    assert question.params == {
        "location": "westeurope",
        "time": "2026-11-22T08:20:00Z",
        "toTime": "2026-11-22T10:20:00Z",
    }
    assert question.fields == {}
    made = CarbonAware(feed_config("carbonaware", token=Secret(TOKEN)))
    assert made.questions(NOW)[0].fields == {"Authorization": f"Bearer {TOKEN}"}


def test_the_newest_row_counts():
    """Whatever the order; offsets are read."""
    rows = [
        {"location": "westeurope", "time": "2026-11-22T11:05:00+01:00", "rating": 250},
        {"location": "westeurope", "time": "2026-11-22T10:00:00+00:00", "rating": 260},
    ]
    assert read(rows).grams_per_kwh == 250
    assert read(rows[::-1]).grams_per_kwh == 250


@pytest.mark.parametrize(
    ("rows", "reason"),
    [([], "no_data"), ({"title": "Bad"}, "garbage"), ([{"rating": 3}], "garbage")],
)
def test_what_is_no_reading(rows, reason):
    """Each by its reason."""
    with pytest.raises(RejectedReadingError, match=reason):
        read(rows)
