"""What the page is told: names and numbers that agree with the books."""

import json
import time

import pytest

from lowproxy.server.snapshot import SHOWN, percentiles, snapshot
from tests.fakes import Answer
from tests.gateway import KEY, MODEL, ask, asking, provider_key


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
