"""Waiting for an answer: comments that keep the caller's line alive, and who leaves meanwhile."""

import asyncio
import json

import pytest

from tests.fakes import Answer, openai_chunk, openai_completion, sse
from tests.gateway import CHAT, MODEL, ask, asking, nothing_came, settled

COMMENTS = "[relay]\ncomment_every_s = 0.03"
COMMENT = b": keep-alive\n\n"
WORD = sse(openai_chunk("a"), done=False)
DONE = b"data: [DONE]\n\n"


def held(gate, answer):
    """Answers when the gate opens."""

    async def script(seen, wire):
        await wire.hold(gate)
        await answer.play(wire)

    return script


async def test_by_default_nothing_is_sent_before_the_answer(serve, upstream):
    """The first comment would commit the status 200."""
    gate = asyncio.Event()
    upstream.on_request = held(gate, Answer.of({}, 400))
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        await caller.ask(CHAT, asking())
        await upstream.requests.wait()
        await settled(lambda: nothing_came(caller))
        assert nothing_came(caller)
        gate.set()
        assert (await caller.reply()).status == 400


async def test_a_silent_stream_is_kept_alive(serve, upstream):
    """Comments at their interval, then the stream as it would have been."""
    gate = asyncio.Event()
    upstream.on_request = held(gate, Answer.stream(WORD, DONE))
    gateway = await serve(upstream, extra=COMMENTS)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        assert reply.status == 200
        assert reply.headers["content-type"] == "text/event-stream"
        assert reply.headers["x-lowrouter-provider"] == "p1"
        for _ in range(2):
            assert await reply.event() == COMMENT
        gate.set()
        rest = (await reply.rest()).replace(COMMENT, b"")
        assert rest.startswith(WORD.replace(b"upstream-small", MODEL.encode()))
        assert rest.endswith(DONE)
        assert reply.headers["connection"] == "keep-alive"
        upstream.on_request = None
        assert (await caller.post(CHAT, ask())).status == 200
    record = await gateway.books.record()
    assert record.status == "ok"
    assert record.latency_ms >= 60  # of the answer, not of a comment


async def test_a_quick_stream_has_no_comments(serve, upstream):
    """Only what has been silent for so long gets one."""
    gateway = await serve(upstream, extra="[relay]\ncomment_every_s = 30")
    told = await gateway.chat(asking())
    assert COMMENT not in told.body


async def test_unary_answers_get_none(serve, upstream):
    """There is no place for them before JSON."""
    gate = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, gate.set)
    upstream.on_request = held(gate, Answer.of(openai_completion()))
    gateway = await serve(upstream, extra=COMMENTS)
    assert (await gateway.chat()).json()["model"] == MODEL


async def test_another_candidate_may_still_answer(serve, upstream, other):
    """Behind a comment there is failover, only no other status."""
    gate = asyncio.Event()
    upstream.on_request = held(gate, Answer.of({}, 500))
    gateway = await serve(upstream, other, extra=COMMENTS)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        await reply.event()
        gate.set()
        rest = await reply.rest()
    assert b'"provider":"p2"' in rest
    assert rest.endswith(DONE)
    assert (await gateway.books.record()).provider == "p2"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer.of({"error": {"message": "no"}}, 400), None),
        (Answer.of({}, 500), "upstream_status"),
        (Answer.of(openai_completion()), "upstream_unreadable"),
    ],
    ids=["refused", "failed", "one object"],
)
async def test_a_failure_behind_a_comment(serve, upstream, answer, code):
    """It is told within the stream, which ends cleanly and without `[DONE]`."""
    gate = asyncio.Event()
    upstream.on_request = held(gate, answer)
    gateway = await serve(upstream, extra=COMMENTS)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        await reply.event()
        gate.set()
        rest = (await reply.rest()).replace(COMMENT, b"")
        last = json.loads(rest[6:])
        assert last["error"].get("code") == code
        assert last["error"]["message"]
        assert last["lowrouter"]["generation_id"].startswith("gen_")
        upstream.on_request = None
        assert (await caller.post(CHAT, ask())).status == 200
    record = await gateway.books.record()
    assert record.http_status == 200
    assert record.status == ("upstream_error" if code else "client_error")


async def test_a_bug_behind_a_comment(serve, upstream, monkeypatch):
    """No second head within the stream: it ends, visibly unfinished."""
    gate = asyncio.Event()
    upstream.on_request = held(gate, Answer.stream(WORD, DONE))
    gateway = await serve(upstream, extra=COMMENTS)

    def broken(*_):
        raise ZeroDivisionError

    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        await reply.event()
        monkeypatch.setattr("lowproxy.transport.verdict._opening", broken)
        gate.set()
        with pytest.raises(ConnectionError):
            rest = await reply.rest()
            assert b"HTTP/1.1" not in rest
            raise AssertionError("the end looked clean")
    assert (await gateway.books.record()).status == "gateway_error"


async def test_a_caller_leaves_behind_a_comment(serve, upstream):
    """The upstream sees it at once; nothing of an answer had come."""
    gate = asyncio.Event()
    upstream.on_request = held(gate, Answer.stream(WORD, DONE))
    gateway = await serve(upstream, extra=COMMENTS)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        await reply.event()
    await upstream.aborted.wait()
    record = await gateway.books.record()
    assert record.status == "client_closed"
    assert record.usage is None


async def test_an_error_that_orjson_cannot_write(serve, upstream):
    """Behind a comment, too, an upstream's odd error object is told."""
    gate = asyncio.Event()
    error = {"message": "\ud800", "big": 2**70}
    upstream.on_request = held(gate, Answer.of({"error": error}, 422))
    gateway = await serve(upstream, extra=COMMENTS)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        await reply.event()
        gate.set()
        rest = (await reply.rest()).replace(COMMENT, b"")
    told = json.loads(rest[6:])["error"]
    assert told | error == told
