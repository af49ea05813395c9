"""Buckets and windows."""

from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.meters import Bucket, Window


@given(
    limit=st.integers(1, 1000),
    steps=st.lists(st.tuples(st.floats(0, 100), st.floats(-50, 50)), max_size=30),
)
def test_a_bucket_is_never_more_than_full(limit, steps):
    """Whatever is taken, given back and waited for."""
    bucket, now = Bucket(), 1e9
    for wait, amount in steps:
        now += wait
        assert bucket.level(limit, now) <= limit
        bucket.left -= amount
    assert bucket.level(limit, now) <= limit


def test_a_bucket_fills_in_a_minute():
    """Evenly, and a clock set back fills nothing."""
    bucket = Bucket()
    assert bucket.level(60, 100.0) == 60
    bucket.left = 0
    assert bucket.level(60, 130.0) == 30
    assert bucket.level(60, 100.0) == 30
    assert bucket.level(60, 160.0) == 60


def test_a_window_begins_at_zero():
    """A later one; an earlier one is none."""
    window = Window()
    window.begin(5)
    window.load(5, 3, 4)
    window.begin(4)
    assert (window.spent, window.reserved) == (3, 4)
    window.begin(6)
    assert (window.spent, window.reserved) == (0, 0)


def test_what_costs_nothing_passes_a_limit_that_is_used_up():
    """And does not while something is left, nor where there is no limit."""
    window = Window()
    assert not window.passes(0, 0)
    window.spend(5)
    assert window.passes(5, 0)
    assert not window.passes(6, 0)
    assert not window.passes(None, 10**9)
