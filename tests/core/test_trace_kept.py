"""A trace that is kept short is read as it was."""

import orjson
import pytest

from lowproxy.core.routing import decide
from lowproxy.core.routing_trace import trace
from lowproxy.core.trace_kept import (
    MOST_CANDIDATES,
    MOST_REJECTED,
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


def many(there, others):
    """A trace of so many candidates, and of so many that may not serve."""
    places = [place(f"p{i}", 1.0 + i / 7, 2.0 - i / 71) for i in range(there)]
    places += [place(f"q{i}", 1.0, 1.0, "us-east") for i in range(others)]
    decision = decide(ask(region="eu"), KEY, Pool({"m": tuple(places)}))
    last = decision.candidates[-1].id
    return trace(decision, [(last, "ok", 0.1)], last)


def test_it_takes_a_third_of_the_room():
    """Where nothing is left out."""
    told = many(MOST_CANDIDATES, MOST_REJECTED)

    assert len(orjson.dumps(kept(told))) * 3 < len(orjson.dumps(told))
    assert "left_out" not in kept(told)


def test_of_a_large_pool_the_best_are_kept():
    """What is left out is counted, and who answered is named whoever it was."""
    told = many(60, 70)
    assert told["left_out"] == 10 + 20

    again = read_trace(kept(told))

    assert again["candidates"] == told["candidates"][:MOST_CANDIDATES]
    assert again["rejected"] == told["rejected"][:MOST_REJECTED]
    assert again["left_out"] == 60 + 70 - MOST_CANDIDATES - MOST_REJECTED
    for name in ("choice", "default", "attempts", "answered", "saved_g"):
        assert again[name] == told[name]
    assert len(orjson.dumps(kept(told))) < 2048


def test_what_was_kept_whole_is_read_whole():
    """By an earlier version, or where nothing was decided."""
    told = trace(decide(ask(), KEY, POOL), [(CLEAN.id, "ok", 0.1)])

    assert read_trace(told) == told
    assert read_trace({}) == {}
