"""Europe: XML of generation by type, with points that repeat left out."""

import pytest

from lowproxy.core.grid_reading import RejectedReadingError, iso
from lowproxy.grid.entsoe import Entsoe
from tests.grid_server import NOW, TOKEN, feed_config, generation

FRANCE = "10YFR-RTE------C"
# What the platform says where it has nothing, with status 200.
NOTHING = """<?xml version="1.0" encoding="UTF-8"?><Acknowledgement_MarketDocument
xmlns="urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:7:0"><Reason>
<code>999</code><text>No matching data found</text></Reason>
</Acknowledgement_MarketDocument>"""
BOMB = '<!DOCTYPE a [<!ENTITY b "x">]><GL_MarketDocument>&b;</GL_MarketDocument>'


def read(text):
    """The reading in a document."""
    source = Entsoe(feed_config("entsoe"))
    (question,) = source.questions(NOW)
    (reading,) = source.read(question, text.encode(), NOW)
    return reading


def test_the_question():
    """The last hours of the bidding zone; the token is not printed."""
    (question,) = Entsoe(feed_config("entsoe")).questions(NOW)
    assert question.params["in_Domain"] == FRANCE
    assert question.params["periodStart"] == "202611220600"
    assert question.params["periodEnd"] == "202611221000"
    assert TOKEN not in repr(question)


def test_a_mix():
    """By hand; what storage gives is left out, waste is nobody's, the gap is filled."""
    at = NOW - 3600
    mix = [("B14", "60"), ("B04", "20"), ("B10", "500"), ("B17", "5"), ("B19", "20")]
    reading = read(generation(FRANCE, at, mix))
    assert reading.grams_per_kwh == pytest.approx((720 + 9800 + 220) / 100)
    # The period has three quarters of an hour, and one point.
    assert iso(reading.at) == iso(at + 1800)


def test_what_is_taken_out_of_the_grid_is_not_generation():
    """Pumps have a series of their own, with another domain."""
    text = generation(FRANCE, NOW - 3600, [("B14", "60"), ("B04", "60")])
    head, _, tail = text.rpartition("inBiddingZone_Domain.mRID")
    taken = head.rpartition("inBiddingZone_Domain.mRID")
    out = "outBiddingZone_Domain.mRID"
    assert read(taken[0] + out + taken[2] + out + tail).grams_per_kwh == 12


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (NOTHING, "no_data"),
        (BOMB, "garbage"),
        ("<html>Unauthorized</html>", "garbage"),
        ("<GL_MarketDocument/>", "no_data"),
        (generation("10YDE-------X", NOW, [("B14", "1")]), "wrong_zone"),
        (generation(FRANCE, NOW, [("B07", "9"), ("B14", "1")]), "unknown_fuels"),
        (generation(FRANCE, NOW, [("B14", "many")]), "garbage"),
        (generation(FRANCE, NOW, [("B14", "1")]).replace("PT15M", "PT1S"), "garbage"),
        (generation(FRANCE, NOW, [("B14", "1")]).replace("PT15M", "P1Y"), "garbage"),
        (generation(FRANCE, NOW, [("B14", "1")]).replace(">1</p", ">2</p"), "garbage"),
        (generation(FRANCE, NOW, [("B14", "1")] * 1700), "garbage"),
        ("<GL_MarketDocument>" + "<a/>" * 20_000 + "</GL_MarketDocument>", "garbage"),
        ("<GL_MarketDocument>", "garbage"),
        ("", "garbage"),
        ("<a>" * 20_000 + "</a>" * 20_000, "garbage"),
    ],
)
def test_what_is_no_reading(text, reason):
    """Each by its reason."""
    with pytest.raises(RejectedReadingError, match=reason):
        read(text)
