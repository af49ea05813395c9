"""What a reading must be to be believed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.grid_reading import (
    GridReading,
    RejectedReadingError,
    believable,
    iso,
    moment,
    number,
    parsed,
    rows,
    table,
)

NOW = 1_795_342_800.0  # 2026-11-22T10:20:00Z


def reason(function, *args):
    """Why something was refused; None where it was not."""
    try:
        function(*args)
    except RejectedReadingError as exc:
        return exc.reason
    return None


@given(st.floats(), st.floats())
def test_only_what_can_be_true_is_believed(grams, at):
    """Whatever the numbers: above 0, below 2000, neither old nor ahead; never NaN."""
    good = 0 < grams < 2000 and NOW - 7200 <= at <= NOW + 3600
    found = reason(believable, GridReading("FR", grams, at), NOW, 7200)
    assert (found is None) is good


@pytest.mark.parametrize(
    ("grams", "ahead_s", "expected"),
    [
        (38, 0, None),
        (0.001, 3600, None),
        (1999, -7200, None),
        (0, 0, "out_of_range"),
        (2000, 0, "out_of_range"),
        (-5, 0, "out_of_range"),
        (math.nan, 0, "out_of_range"),
        (38, 3601, "future"),
        (38, math.nan, "future"),
        (38, -7201, "stale"),
    ],
)
def test_limits(grams, ahead_s, expected):
    """Each by its reason."""
    reading = GridReading("FR", grams, NOW + ahead_s)
    assert reason(believable, reading, NOW, 7200) == expected


@pytest.mark.parametrize("value", [38, 38.0, "38", " 38 "])
def test_numbers(value):
    """Some sources spell them as strings."""
    assert number(value) == 38


@pytest.mark.parametrize(
    "value", [True, "x", "", "nan", "inf", "1e999", [], {}, 10**400]
)
def test_no_numbers(value):
    """Nor is a bool one."""
    assert reason(number, value) == "garbage"


def test_nothing():
    """Null is no data, and not garbage."""
    assert reason(number, None) == "no_data"
    assert reason(rows, []) == "no_data"


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T10:00Z",
        "2026-11-22T10:00:00.000Z",
        "2026-11-22T11:00:00+01:00",
        "2026-11-22T10",
        "2026-11-22T10:00:00",
    ],
)
def test_moments(text):
    """As the sources spell them; without an offset it is UTC."""
    assert iso(moment(text)) == "2026-11-22T10:00:00Z"


@pytest.mark.parametrize(
    "value", [None, 5, "", "soon", "0001-01-01T00:00:00+23:00", "9999-99-99"]
)
def test_no_moments(value):
    """Garbage, whatever it is."""
    assert reason(moment, value) in ("garbage", None)


@given(st.binary(max_size=60))
def test_any_bytes(body):
    """Are read or refused."""
    assert reason(parsed, body) in (None, "garbage")


@pytest.mark.parametrize("value", [None, 5, "x", [1]])
def test_shapes(value):
    """What is no object is no object."""
    assert reason(table, value) == "garbage"
    assert reason(rows, value) == "garbage"
