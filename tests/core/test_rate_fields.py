"""`x-ratelimit-*` as OpenAI writes them."""

import pytest

from lowproxy.core.headers import pairs
from lowproxy.core.limits import Limits
from lowproxy.core.rate_fields import rate_lines


def told(rates):
    """The fields by name."""
    return pairs(rate_lines(rates))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0001, "1ms"),
        (0.12, "120ms"),
        (1, "1s"),
        (8.64, "8.64s"),
        (8.0, "8s"),
        (8.05, "8.05s"),
        (8.5, "8.5s"),
        (59.5, "59.5s"),
        (60, "1m0s"),
        (360, "6m0s"),
    ],
)
def test_durations(seconds, text):
    """Their units, and never shorter than it is."""
    fields = dict(told((Limits(60_000), 60_000 - seconds * 1000, 0.0)))
    assert fields == {
        "x-ratelimit-limit-requests": "60000",
        "x-ratelimit-remaining-requests": str(int(max(0, 60_000 - seconds * 1000))),
        "x-ratelimit-reset-requests": text,
    }


def test_only_limits_that_the_key_has_are_told():
    """Nothing is said of what is not limited."""
    assert rate_lines((Limits(), 0, 0)) == ""
    fields = dict(told((Limits(None, 1000), 0, 400)))
    assert fields == {
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "400",
        "x-ratelimit-reset-tokens": "36s",
    }
