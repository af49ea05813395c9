"""A key's policy says the same wherever it is written."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.config.policy import api_key, read_policy, written
from lowproxy.config.rows import KeyRow
from lowproxy.core.limits import Limits

HASH = "sha256:" + "0" * 64
ROWS = st.builds(
    KeyRow,
    name=st.just("alice"),
    models=st.sampled_from([(), ("acme/*",), ("a/b", "c/*")]),
    providers=st.sampled_from([(), ("acme",)]),
    region=st.sampled_from([None, "eu", "eu-west"]),
    prefer_low_carbon=st.booleans(),
    expires_at=st.none()
    | st.datetimes(
        datetime.datetime(2026, 1, 1),
        datetime.datetime(2040, 1, 1),
        timezones=st.just(datetime.UTC),
    ),
    enabled=st.booleans(),
    requests_per_minute=st.none() | st.integers(1, 10**6),
    tokens_per_minute=st.none() | st.integers(1, 10**9),
    max_streams=st.none() | st.integers(1, 1000),
    daily_limit=st.none() | st.floats(0, 10**6),
    monthly_limit=st.none() | st.floats(0, 10**6),
    daily_carbon_g=st.none() | st.floats(0, 10**6),
)


@given(row=ROWS)
def test_what_is_written_is_read(row):
    """Through JSON's values, whatever it says."""
    assert read_policy("alice", written(row)) == (row, [])


def test_limits_become_whole_numbers():
    """Money in nano-units, carbon in micrograms; none of them is no count at all."""
    row = KeyRow("a", daily_limit=0.1, monthly_limit=20, daily_carbon_g=1.5)
    limits = api_key(row, HASH).limits
    assert limits == Limits(None, None, None, 100_000_000, 20_000_000_000, 1_500_000)
    assert api_key(KeyRow("a"), HASH).limits is None


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"daily_limit": -1}, "daily_limit: found -1, needs 0 or more"),
        ({"dayly_limit": 1}, "dayly_limit: no such option; did you mean daily_limit?"),
        ({"expires_at": "soon"}, "expires_at: found 'soon', needs a date and time"),
        ({"hash": HASH}, "hash: no option of a stored key's policy"),
        ({"models": "acme/*"}, "models: found 'acme/*', needs a list"),
    ],
)
def test_mistakes_are_named(fields, problem):
    """As in the configuration file, by the field alone."""
    row, [found] = read_policy("alice", fields)
    assert row is None
    assert found.startswith(problem)


def test_null_is_not_said():
    """As JSON has it where a field is cleared."""
    assert read_policy("alice", {"region": None, "daily_limit": None})[1] == []
