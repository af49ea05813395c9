"""A trace that is kept short is read as it was."""

import orjson
import pytest

from lowproxy.core.routing import decide
from lowproxy.core.routing_trace import trace
from lowproxy.core.trace_kept import (
    kept_attempts,
    kept_decision,
    places_of,
    read_trace,
)
from lowproxy.core.upstreams import Pool
from tests.core.test_routing_trace import CHEAP, CLEAN, FAR, KEY, POOL, ask, place


def kept(told):
    """What the books have of it, through JSON."""
    places = places_of(told)
    both = kept_decision(told, places) | kept_attempts(told, places)
    return orjson.loads(orjson.dumps(both))


@pytest.mark.parametrize(
    ("wishes", "more"),
    [
        ({}, {}),
        ({"region": "eu"}, {}),
        ({"fallback": False}, {}),
        ({"only": ("clean",)}, {"latencies": {CLEAN.id: 0.25}}),
        ({}, {"resting": frozenset({CLEAN.id}), "carbon_price": 0.1}),
        ({"max_carbon_g": 5.0}, {"latencies": {FAR.id: 0.1, CHEAP.id: 0.3}}),
    ],
)
def test_it_is_read_as_it_was(wishes, more):
    """Candidates with all terms, the choice, the attempts, in their order; rejections by rule."""
    decision = decide(ask(**wishes), KEY, POOL, **more)
    attempts = [(CLEAN.id, "timeout", 1.0), ("gone/x", "ok", 0.2)]
    told = orjson.loads(orjson.dumps(trace(decision, attempts, CLEAN.id)))

    again = read_trace(kept(told))

    key = orjson.dumps
    assert sorted(again.pop("rejected"), key=key) == sorted(
        told.pop("rejected"), key=key
    )
    assert again == told


def test_it_takes_a_third_of_the_room():
    """Twenty candidates, and fifty who may not serve."""
    there = tuple(place(f"p{i}", 1.0 + i / 7, 2.0 - i / 11) for i in range(20))
    others = tuple(place(f"q{i}", 1.0, 1.0, "us-east") for i in range(50))
    pool = Pool({"m": (*there, *others)})
    told = trace(decide(ask(region="eu"), KEY, pool), [(there[0].id, "ok", 0.1)])

    assert len(orjson.dumps(kept(told))) * 3 < len(orjson.dumps(told))


def test_what_was_kept_whole_is_read_whole():
    """By an earlier version, or where nothing was decided."""
    told = trace(decide(ask(), KEY, POOL), [(CLEAN.id, "ok", 0.1)])

    assert read_trace(told) == told
    assert read_trace({}) == {}
