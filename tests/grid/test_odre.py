"""France: RTE's own figure, and what its mix weighs."""

import orjson
import pytest

from lowproxy.core.grid_reading import RejectedReadingError, iso
from lowproxy.grid.odre import Odre
from tests.grid_server import NOW, feed_config

AT = "2026-11-22T10:15:00+00:00"
MIX = {
    **dict.fromkeys(("fioul", "charbon", "gaz", "bioenergies", "solaire"), 0),
    "nucleaire": 30000,
    "hydraulique": 10000,
    "eolien": 10000,
}


def asked(factor):
    """The source and its question."""
    source = Odre(feed_config("odre", factor=factor))
    return source, source.questions(NOW)[0]


def read(row, factor="lifecycle"):
    """The reading in an answer of one row."""
    source, question = asked(factor)
    body = orjson.dumps({"total_count": 9164, "results": [row]})
    (reading,) = source.read(question, body, NOW)
    return reading


def test_the_question():
    """Rows of hours to come exist, and are null."""
    _, question = asked("direct")
    assert question.params == {
        "select": "taux_co2,date_heure",
        "where": "taux_co2 is not null",
        "order_by": "date_heure desc",
        "limit": "1",
    }


def test_its_own_figure():
    """As it stands."""
    reading = read({"taux_co2": 21, "date_heure": AT}, "direct")
    assert reading.grams_per_kwh == 21
    assert iso(reading.at) == "2026-11-22T10:15:00Z"


def test_its_mix():
    """By hand: three parts of nuclear, one of water, one of wind."""
    reading = read({**MIX, "date_heure": AT})
    assert reading.grams_per_kwh == pytest.approx((3 * 12 + 24 + 11) / 5)


@pytest.mark.parametrize("missing", sorted(MIX))
def test_a_mix_with_a_hole(missing):
    """Without one fuel it would look cleaner or dirtier than it is."""
    with pytest.raises(RejectedReadingError, match="no_data"):
        read({**MIX, missing: None, "date_heure": AT})


def test_no_row():
    """An empty table is no reading."""
    source, question = asked("direct")
    with pytest.raises(RejectedReadingError, match="no_data"):
        source.read(question, b'{"total_count":0,"results":[]}', NOW)
