"""What the page is told: names and numbers that agree with the books."""

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest

from lowproxy.server.snapshot import (
    SHOWN,
    percentiles,
    saved,
    saved_by,
    saved_wh_by,
    snapshot,
    trace_lines,
)
from tests.fakes import Answer
from tests.gateway import KEY, MODEL, Place, ask, asking, provider_key
from tests.test_metrics import RECORD


def taken(gateway, reason=None):
    """The snapshot of now."""
    return json.loads(snapshot(gateway.parts, reason, time.time()))


async def test_it_agrees_with_the_books(serve, upstream):
    """Counts, tokens and grams are sums of the records."""
    upstream.script = [Answer.of({"error": {"message": "x"}}, status=500)]
    gateway = await serve(upstream)
    for stream in (False, True, True):
        await gateway.chat(asking(usage=True) if stream else ask())
    records = [await gateway.books.record(n) for n in (1, 2, 3)]
    seen = taken(gateway)
    weighed = [r.impact for r in records if r.impact]
    assert seen["totals"]["requests"] == 3
    assert seen["totals"]["failed"] == 1
    assert seen["totals"]["g"] == pytest.approx(sum(i.carbon_g for i in weighed))
    (provider,) = seen["providers"]
    assert (provider["id"], provider["requests"], provider["failed"]) == ("p1", 3, 1)
    assert provider["tokens"] == 24
    assert provider["gap_ms"][0] > 0
    assert [r["id"] for r in seen["requests"]] == [
        r.generation_id for r in reversed(records)
    ]
    assert seen["requests"][-1]["code"] == "upstream_status"
    assert seen["requests"][-1]["attempts"] == [
        [f"p1-eu-west/{MODEL}", "upstream_status"]
    ]


async def test_places_and_grids(serve, upstream):
    """Each endpoint with its region, and how sure that is; each zone with its reading."""
    gateway = await serve(upstream)
    seen = taken(gateway, "draining")
    assert seen["not_ready"] == "draining"
    (place,) = seen["upstreams"]
    assert place["id"] == "p1-eu-west"
    assert place["zone"] == "FR"
    assert place["models"] == 1
    assert place["troubled"] == []
    (zone,) = seen["grid"]
    assert zone["zone"] == "FR"
    assert zone["g_per_kwh"] > 0
    assert zone["live"] is False


async def test_it_is_bounded_and_tells_no_words(serve, upstream):
    """The last requests only; a key by its name."""
    gateway = await serve(upstream)
    words = [{"role": "user", "content": "canary words"}]
    for _ in range(SHOWN + 3):
        await gateway.chat(ask(messages=words, user="canary user"))
    text = json.dumps(seen := taken(gateway))
    assert len(seen["requests"]) == SHOWN
    assert "canary" not in text.replace(seen["requests"][0]["key"], "")
    assert KEY not in text
    assert provider_key("p1") not in text


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], None),
        ([None], None),
        ([5.0], [5.0, 5.0, 5.0]),
        ([None, *map(float, range(100))], [50.0, 90.0, 99.0]),
    ],
)
def test_percentiles(values, found):
    """Of what is known; none of nothing."""
    assert percentiles(values) == found


async def test_each_request_tells_how_it_was_routed(serve, upstream, other):
    """The choice with its reason, the candidates' grams, and what the cheapest would have taken."""
    dirty = Place(upstream, zone="PL", provider="p1")
    clean = Place(other, zone="FR", provider="p2")
    gateway = await serve(dirty, clean)
    await gateway.chat(ask(route={"prefer_low_carbon": True}))
    await gateway.chat(ask(route={"provider": "p1"}))
    pinned, free = taken(gateway)["requests"]
    assert free["trace"][0].startswith("chosen: p2-eu-west/")
    assert "by the price alone it were p1-eu-west/acme/small" in free["trace"]
    assert free["saved_g"] > 0
    assert any(line.startswith("not p2-eu-west/") for line in pinned["trace"])
    summed = taken(gateway)["saved"]
    assert summed["requests"] == 2
    assert summed["g"] == pytest.approx(free["saved_g"] + pinned["saved_g"])
    assert summed["took_g"] == pytest.approx(free["g"] + pinned["g"])


def test_what_is_saved_is_of_the_answer_that_was_given():
    """By the ratio that was expected: a short answer saves little, whatever was expected of it."""
    impact: Any = SimpleNamespace(carbon_g=0.5, energy_wh=8.0)
    told = {
        "answered": "clean",
        "candidates": [
            {"candidate": "clean", "carbon_g": 10.0, "energy_wh": 20.0},
            {"candidate": "cheap", "carbon_g": 40.0, "energy_wh": 25.0},
        ],
        "default": {"candidate": "cheap", "carbon_g": 40.0, "energy_wh": 25.0},
    }
    record = RECORD._replace(impact=impact, trace=lambda: told)
    assert saved_by(record, told) == 1.5
    assert saved_wh_by(record, told) == 2.0
    summed = {"g": 1.5, "took_g": 0.5, "wh": 2.0, "requests": 1}
    assert saved([RECORD, record]) == summed
    dirtier = {**told, "default": {"candidate": "x", "carbon_g": 5.0}}
    assert saved_by(record, dirtier) == -0.25


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"candidates": [{"candidate": "a", "carbon_g": 1.0}], "answered": "a"},
        {"default": {"carbon_g": 1.0}, "candidates": []},
        {
            "default": {"carbon_g": None},
            "candidates": [{"candidate": "a", "carbon_g": 1.0}],
            "answered": "a",
        },
    ],
)
def test_what_is_not_known_is_not_saved(told):
    """Without a decision or with unknown grams nothing is said."""
    impact: Any = SimpleNamespace(carbon_g=0.5, energy_wh=8.0)
    record = RECORD._replace(impact=impact, trace=lambda: told)
    assert saved_by(record, told) is None
    assert saved([record]) is None


def test_a_long_trace_is_cut():
    """A pool of hundreds is not read line by line."""
    row = {"candidate": "x", "rule": "r", "reason": "because"}
    lines = trace_lines({"rejected": [row] * 100})
    assert lines[0] == "not x: r, because"
    assert lines[-1] == "nor 94 others"
    assert trace_lines({}) == []
