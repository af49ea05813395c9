"""Attempts and failover up to the first event, over a client that does as it is told."""

import asyncio
from typing import Any

import attrs
import pytest

from lowproxy.core.chat import ChatRequest
from lowproxy.core.health import FAILURES, Health
from lowproxy.core.routing import RouteDecision
from lowproxy.core.upstreams import Candidate, Endpoint, Model, Provider
from lowproxy.errors import (
    UpstreamCutError,
    UpstreamError,
    UpstreamRateLimitedError,
    UpstreamRefusedError,
    UpstreamStatusError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
    UpstreamUnreadableError,
)
from lowproxy.transport import dispatch
from lowproxy.transport.dispatch import Attempt, Dispatch, Stream, Whole, most_telling
from lowproxy.transport.watch import Watch
from tests.fakes import Clock
from tests.gateway import settled

BODY = b'{"model":"m","messages":[{}],"stream":%s}'
EVENT = b'data: {"choices":[{"delta":{}}]}\n\n'
JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}


@attrs.define
class Scripted:
    """An answer whose body is a list of reads; an exception among them is raised."""

    reads: list[Any]
    status: int = 200
    fields: dict[str, str] = attrs.field(factory=lambda: JSON)
    closed: bool = False

    async def more(self):
        if not self.reads:
            return b""
        read = self.reads.pop(0)
        if isinstance(read, asyncio.Event):
            await read.wait()
            return await self.more()
        if isinstance(read, Exception):
            raise read
        return read

    def close(self):
        self.closed = True


class Client:
    """Gives out answers, or raises them."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def send(self, request):
        self.asked.append(request.endpoint_id)
        answer = self.answers.pop(0)
        if isinstance(answer, asyncio.Event):
            await answer.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer


def decision(count):
    """That many candidates: e0, e1, ..."""
    return RouteDecision(
        tuple(
            Candidate(
                Model("m", f"p{i}", "up"),
                Endpoint(f"e{i}", Provider(f"p{i}"), "eu", "http://x"),
            )
            for i in range(count)
        ),
        (),
        "price",
    )


async def opened(client, *, stream=False, candidates=3, health=None, limit_s=0.0):
    """What `open` gives or raises, and the attempts."""
    attempts: list[Attempt] = []
    chat = ChatRequest.parse(BODY % (b"true" if stream else b"false"))
    made = Dispatch(
        client, health or Health(), Watch(limit_s), Watch(limit_s), Clock(5.0)
    )
    told: Any
    try:
        told = await made.open(decision(candidates), chat, {}, attempts)
    except UpstreamError as failure:
        told = failure
    return told, [(a.candidate, a.outcome) for a in attempts]


async def test_the_first_that_answers():
    """Attempts are noted in order, also the good one."""
    good = Scripted([b'{"choices":', b"[]}"])
    client = Client(UpstreamCutError("x"), Scripted([b"no"], status=500), good)
    told, attempts = await opened(client)
    assert isinstance(told, Whole)
    assert (told.body, told.parsed) == (b'{"choices":[]}', {"choices": []})
    assert told.candidate.endpoint.id == "e2"
    assert attempts == [
        ("e0/m", "upstream_cut"),
        ("e1/m", "upstream_status"),
        ("e2/m", "ok"),
    ]


async def test_what_failed_is_closed():
    """An answer that is none does not keep its connection."""
    answers = [
        Scripted([b"{"], status=500),
        Scripted([b"<html>"]),
        Scripted([b'data: {"error":{"code":1}}\n\n'], fields=SSE),
    ]
    told, _ = await opened(Client(*answers), stream=True)
    assert isinstance(told, UpstreamError)
    assert all(answer.closed for answer in answers)


async def test_a_refusal_is_final():
    """400 and its like are the caller's: nobody else is asked, nobody's health suffers."""
    health = Health()
    client = Client(Scripted([b'{"error":{"message":"no"}}'], status=422))
    told, attempts = await opened(client, health=health)
    assert isinstance(told, UpstreamRefusedError)
    assert told.refused_status == 422
    assert len(attempts) == 1
    assert health == Health()


async def test_health_learns():
    """Failures are counted per candidate, with the upstream's own wait; success forgets."""
    health = Health()
    for _ in range(FAILURES):
        client = Client(UpstreamCutError("x"), Scripted([b"{}"]))
        await opened(client, health=health)
    assert health.resting(5.0) == {"e0/m"}
    await opened(Client(Scripted([b"{}"])), health=health)
    assert health.resting(5.0) == frozenset()
    limited = Scripted([], 429, {**JSON, "retry-after": "30"})
    await opened(Client(limited, Scripted([b"{}"])), health=health)
    assert health.resting(34.9) == {"e0/m"}
    assert health.resting(35.0) == frozenset()


async def test_no_more_than_a_few():
    """A long list of candidates does not become a long wait."""
    client = Client(*[UpstreamCutError("x")] * 20)
    told, attempts = await opened(client, candidates=20)
    assert isinstance(told, UpstreamCutError)
    assert len(attempts) == dispatch.MAX_ATTEMPTS


async def test_each_attempt_has_its_own_time():
    """A candidate that hangs costs its limit, not the next one's."""
    client = Client(asyncio.Event(), Scripted([b"{}"]))
    told, attempts = await opened(client, limit_s=0.05)
    assert isinstance(told, Whole)
    assert attempts[0] == ("e0/m", "upstream_timeout")


@pytest.mark.parametrize(
    ("stream", "option"), [(True, "first_byte_s"), (False, "unary_s")]
)
async def test_a_time_out_is_named(stream, option):
    """And its limit told."""
    client = Client(Scripted([asyncio.Event()], fields=SSE if stream else JSON))
    told, _ = await opened(client, stream=stream, candidates=1, limit_s=0.05)
    assert isinstance(told, UpstreamTimeoutError)
    assert f"{option} (0.05 s)" in told.message


async def test_who_is_cancelled_is_noted():
    """The attempt that was under way is in the list; its answer is closed."""
    answer = Scripted([asyncio.Event()])
    attempts: list[Attempt] = []
    health = Health()
    made = Dispatch(Client(answer), health, Watch(0), Watch(0), Clock())
    chat = ChatRequest.parse(BODY % b"false")
    task = asyncio.create_task(made.open(decision(3), chat, {}, attempts))
    await settled(lambda: answer.reads)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [a.outcome for a in attempts] == ["abandoned"]
    assert answer.closed
    assert health == Health()


# --- what is an answer ----------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b"<html>", b'{"a":1}x', b"\xff", b"0"],
)
async def test_what_is_no_json_object(body):
    """Unreadable, whatever its content type said."""
    told, _ = await opened(Client(Scripted([body])), candidates=1)
    assert isinstance(told, UpstreamUnreadableError)


async def test_an_endless_body(monkeypatch):
    """Given up at the limit."""
    monkeypatch.setattr(dispatch, "MAX_ANSWER_BYTES", 100)
    answer = Scripted([b" " * 60] * 1000)
    told, _ = await opened(Client(answer), candidates=1)
    assert isinstance(told, UpstreamUnreadableError)
    assert len(answer.reads) == 998


async def test_an_endless_error(monkeypatch):
    """The status is enough."""
    monkeypatch.setattr(dispatch, "MAX_ERROR_BYTES", 100)
    answer = Scripted([b" " * 60] * 1000, status=500)
    told, _ = await opened(Client(answer), candidates=1)
    assert isinstance(told, UpstreamStatusError)
    assert len(answer.reads) == 998


async def test_a_stream_begins_with_its_first_event():
    """What was read to find it is not lost; what comes later is not waited for."""
    reads = [b": hi\n\n", EVENT[:9], EVENT[9:] + EVENT[:5], asyncio.Event()]
    told, _ = await opened(Client(Scripted(reads, fields=SSE)), stream=True)
    assert isinstance(told, Stream)
    assert told.first == b": hi\n\n" + EVENT + EVENT[:5]
    assert len(reads) == 1


@pytest.mark.parametrize(
    ("reads", "error"),
    [
        ([b'data: {"error":{"message":"x"}}\n\n'], UpstreamStatusError),
        ([b'event: error\ndata: {"error":"x"}\n\n'], UpstreamStatusError),
        ([b'data: {"error":{"code":429}}\r\n\r\n'], UpstreamRateLimitedError),
        ([b": a\n\n", b'data:{"error":1}\n\n'], UpstreamStatusError),
        ([], UpstreamCutError),
        ([UpstreamCutError("cut")], UpstreamCutError),
        ([EVENT[:9], UpstreamCutError("cut")], UpstreamCutError),
    ],
)
async def test_a_stream_that_begins_with_a_failure(reads, error):
    """The next candidate's turn."""
    client = Client(Scripted(reads, fields=SSE), Scripted([EVENT], fields=SSE))
    told, attempts = await opened(client, stream=True)
    assert isinstance(told, Stream)
    assert attempts[0][1] == error.code
    assert told.first == EVENT


@pytest.mark.parametrize(
    "first",
    [
        b"data: not json\n\n",
        b"data: [DONE]\n\n",
        b'data: {"error":{"x":1},"choices":[{}]}\n\n',
        b'data: {"error":null,"choices":[]}\n\n',
        b"no framing at all",
        b'data: {"unfinished":',
    ],
)
async def test_what_cannot_be_judged_passes(first):
    """It is not ours to refuse what the caller may understand."""
    told, _ = await opened(Client(Scripted([first], fields=SSE)), stream=True)
    assert isinstance(told, Stream)
    assert told.first == first


async def test_a_huge_first_event(monkeypatch):
    """Too large to be an error object: it is passed on as it comes."""
    monkeypatch.setattr(dispatch, "MAX_OPENING_BYTES", 100)
    reads = [b"data: " + b"x" * 60, b"x" * 60, b"\n\n"]
    told, _ = await opened(Client(Scripted(reads, fields=SSE)), stream=True)
    assert len(told.first) == 126
    assert reads == [b"\n\n"]


async def test_heartbeats_do_not_wait_for_ever(monkeypatch):
    """Comments alone are held for a moment, then they leave: they keep the caller's line alive."""
    monkeypatch.setattr(dispatch, "COMMENT_HOLD_S", 0.02)
    answer = Scripted([b": a\n\n", b": b\n\n", asyncio.Event()], fields=SSE)
    told, _ = await opened(Client(answer), stream=True)
    assert told.first == b": a\n\n: b\n\n"
    assert not answer.closed


def test_a_second_is_what_heartbeats_wait():
    """Far below what any balancer in between allows."""
    assert dispatch.COMMENT_HOLD_S == 1.0


async def test_a_stream_by_content_type_alone():
    """Some say nothing, or text/plain: where a stream was asked for it is one."""
    for fields in ({}, {"content-type": "text/plain"}):
        told, _ = await opened(Client(Scripted([EVENT], fields=fields)), stream=True)
        assert isinstance(told, Stream)


async def test_a_stream_that_nobody_asked_for():
    """It is passed on as what it is."""
    told, _ = await opened(Client(Scripted([EVENT], fields=SSE)))
    assert isinstance(told, Stream)


# --- what the caller is told ----------------------------------------------------------


def test_the_failure_that_says_most():
    """429 only where all said so; a request that failed before one that was never sent."""
    limited = UpstreamRateLimitedError("l", retry_after_s=9)
    sooner = UpstreamRateLimitedError("s", retry_after_s=4)
    status, away = UpstreamStatusError("s"), UpstreamUnreachableError("a")
    slow = UpstreamTimeoutError("t")
    told = most_telling([limited, sooner])
    assert (told.status, told.retry_after_s) == (429, 4)
    assert most_telling([UpstreamRateLimitedError("x")]).retry_after_s == 1.0
    assert most_telling([status, away]) is status
    assert most_telling([away, status, limited]) is status
    assert most_telling([status, slow]) is slow
    assert most_telling([limited, away]) is away


def test_nothing_of_a_prompt_is_in_a_repr():
    """What is held while an answer streams can be printed."""
    answer: Any = Scripted([])
    whole = Whole(decision(1).chosen, answer, b"canary", {"x": "canary"})
    stream = Stream(decision(1).chosen, answer, b"canary")
    assert "canary" not in repr(whole) + repr(stream)
