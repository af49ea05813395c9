"""The newest waits, and their median."""

from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.waits import KEPT, RECENT_S, Waits

STEPS = st.lists(
    st.tuples(st.floats(0, RECENT_S / 2), st.floats(0, 1e6)), max_size=3 * KEPT
)


@given(STEPS)
def test_the_median_of_the_newest_of_five_minutes(steps):
    """Whatever came before does not count."""
    waits, now, noted = Waits(), 1000.0, []
    for step, seconds in steps:
        now += step
        waits.append((now, seconds))
        noted.append((now, seconds))

    recent = [seconds for at, seconds in noted[-KEPT:] if now - at < RECENT_S]
    assert waits.median_s(now) == (median(recent) if recent else None)


@pytest.mark.parametrize(("later", "expected"), [(299, 2.0), (300, None)])
def test_what_is_old_is_forgotten(later, expected):
    """Five minutes after the last wait nothing is known any more."""
    waits = Waits()
    waits.append((0.0, 2.0))

    assert waits.median_s(later) == expected
