"""The readings of the moment, one decision, and what the answer tells of it."""

from typing import Any

import pytest

from lowproxy.core.keys import hash_key
from lowproxy.errors import BadRequestError
from lowproxy.server.choosing import wants_trace
from tests.fakes import Answer
from tests.gateway import CHAT, Place, ask, asking

HEADER = {"X-LowRouter-Trace": "1"}
SURE = '[routing]\naccept_provenance = ["contractual"]\n'
EU = f'[[keys]]\nname = "eu"\nhash = "{hash_key("e" * 40)}"\nregion = "eu"\n'
LONG = "x" * 5000


async def told(gateway, body, key=None, **headers):
    """Status and JSON of a completion."""
    async with gateway.caller(key=key) if key else gateway.caller() as caller:
        reply = await caller.post(CHAT, body, headers=headers)
        return reply.status, await reply.json()


def places(upstream, other):
    """One place in France, one in Poland."""
    return Place(upstream), Place(other, "eu-north", zone="PL")


async def test_the_trace_in_an_answer(serve, upstream, other):
    """By the body or by the header, and only then."""
    gateway = await serve(*places(upstream, other))
    for body, headers in ((ask(route={"trace": True}), {}), (ask(), HEADER)):
        status, answer = await told(gateway, body, **headers)
        assert status == 200
        trace = answer["lowrouter"]["trace"]
        assert [c["candidate"] for c in trace["candidates"]] == [
            "p1-eu-west/acme/small",
            "p2-eu-north/acme/small",
        ]
        assert trace["choice"]["candidate"] == trace["answered"]
        assert [a["outcome"] for a in trace["attempts"]] == ["ok"]
        assert trace["candidates"][0]["carbon_g"] < trace["candidates"][1]["carbon_g"]
    status, answer = await told(gateway, ask())
    assert "trace" not in answer["lowrouter"]


async def test_the_trace_in_a_stream(serve, upstream):
    """In the `lowrouter` of the last chunk."""
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking(), headers=HEADER)
        text = await reply.rest()
    assert b'"trace":{"models":["acme/small"]' in text
    assert text.count(b'"trace"') == 1


async def test_the_trace_of_a_failure(serve, upstream, other):
    """Who was tried and what became of it, beside the error."""
    for up in (upstream, other):
        up.script = [Answer.of({}, 500)] * 9
    gateway = await serve(*places(upstream, other))
    status, answer = await told(gateway, ask(), **HEADER)
    assert status == 502
    trace = answer["lowrouter"]["trace"]
    assert [a["outcome"] for a in trace["attempts"]] == ["upstream_status"] * 2
    assert "answered" not in trace


async def test_the_trace_where_nobody_may_serve(serve, upstream):
    """The rule and the reason for each."""
    gateway = await serve(upstream)
    body = ask(route={"max_carbon_g": 0, "trace": True})
    status, answer = await told(gateway, body)
    assert (status, answer["error"]["code"]) == (503, "no_eligible_provider")
    (row,) = answer["lowrouter"]["trace"]["rejected"]
    assert (row["candidate"], row["rule"]) == (
        "p1-eu-west/acme/small",
        "route.max_carbon_g",
    )
    assert answer["lowrouter"]["generation_id"].startswith("gen_")
    assert upstream.requests.count == 0


async def test_the_trace_is_in_the_record(serve, upstream):
    """Always, and worked out only when it is read."""
    gateway = await serve(upstream)
    await told(gateway, ask())
    await told(gateway, ask(route={"zone": "XX"}))
    answered, refused = await gateway.books.record(1), await gateway.books.record(2)
    assert answered.trace()["attempts"][0]["outcome"] == "ok"
    assert refused.trace()["candidates"] == []


async def test_a_zone(serve, upstream, other):
    """Only there; a zone that nobody is in is a 503 that lists those there are."""
    gateway = await serve(*places(upstream, other))
    status, answer = await told(gateway, ask(route={"zone": "PL"}))
    assert (status, answer["lowrouter"]["region"]) == (200, "eu-north")
    assert (upstream.requests.count, other.requests.count) == (0, 1)
    status, answer = await told(gateway, ask(route={"zone": "DE"}))
    assert status == 503
    assert "known zones: FR, PL" in answer["error"]["message"]


async def test_a_ceiling_in_grams(serve, upstream, other):
    """Who is expected to take more is not asked, also where the other one fails."""
    upstream.script = [Answer.of({}, 500)] * 9
    gateway = await serve(*places(upstream, other))
    status, probe = await told(gateway, ask(max_tokens=64), **HEADER)
    assert status == 200
    clean, dirty = (c["carbon_g"] for c in probe["lowrouter"]["trace"]["candidates"])
    before = other.requests.count
    body = ask(max_tokens=64, route={"max_carbon_g": (clean + dirty) / 2})
    status, _ = await told(gateway, body)
    assert status == 502
    assert other.requests.count == before


async def test_how_sure_a_place_must_be(serve, upstream):
    """A pin takes only what the operator accepts, the key's pin too; who pins nothing gets an answer."""
    gateway = await serve(upstream, extra=SURE + EU)
    status, _ = await told(gateway, ask())
    assert status == 200
    for body, key in (
        (ask(route={"region": "eu-west"}), None),
        (ask(route={"zone": "FR"}), None),
        (ask(), "e" * 40),
    ):
        status, answer = await told(gateway, body, key)
        assert status == 503
        assert "routing.accept_provenance: its region is declared" in str(answer)
    assert upstream.requests.count == 1


async def test_a_pinned_answer_says_how_sure(serve, upstream):
    """Where a pin was asked for, and only there."""
    gateway = await serve(upstream, extra=EU)
    for body, key, sure in (
        (ask(route={"region": "eu-west"}), None, "declared"),
        (ask(), "e" * 40, "declared"),
        (ask(), None, None),
    ):
        _, answer = await told(gateway, body, key)
        assert answer["lowrouter"].get("region_provenance") == sure


async def test_a_conversation_stays(serve, upstream, other):
    """Where it was answered, among places that are as good as each other."""
    twins = Place(upstream, provider="a"), Place(other, provider="b")
    extra = (
        "[[models]]\nid = 't'\nprovider = 'a'\n[[models]]\nid = 't'\nprovider = 'b'\n"
    )
    gateway = await serve(*twins, extra=extra)
    body = ask("t", messages=[{"role": "user", "content": LONG}])
    trace: dict[str, Any] = {}
    for _ in range(6):
        _, answer = await told(gateway, body, **HEADER)
        trace = answer["lowrouter"]["trace"]
    assert sorted((upstream.requests.count, other.requests.count)) == [0, 6]
    assert trace["choice"]["reason"].startswith("the conversation's prefix")


async def test_affinity_can_be_turned_off(serve, upstream):
    """Then nothing is remembered."""
    gateway = await serve(upstream, extra="[routing]\naffinity = false")
    assert gateway.parts.affinity is None
    body = ask(messages=[{"role": "user", "content": LONG}])
    assert (await told(gateway, body))[0] == 200


async def test_a_failure_is_no_place_to_stay(serve, upstream, other):
    """The conversation belongs to who answered it."""
    upstream.script = [Answer.of({}, 500)] * 9
    gateway = await serve(*places(upstream, other))
    body = ask(messages=[{"role": "user", "content": LONG}])
    await told(gateway, body)
    assert len(gateway.parts.affinity) == 1
    _, answer = await told(gateway, body, **HEADER)
    assert answer["lowrouter"]["provider"] == "p2"


@pytest.mark.parametrize(
    ("header", "wanted"),
    [("1", True), ("true", True), ("TRUE", True), ("0", False), ("", False)],
)
def test_the_header(header, wanted):
    """1 or 0."""
    assert wants_trace(header) is wanted


def test_another_header_is_refused():
    """By its name, with what would be right."""
    with pytest.raises(BadRequestError, match="X-LowRouter-Trace must be 1 or 0"):
        wants_trace("yes please")
