"""What counts as an answer, read by read."""

import asyncio

import pytest

from lowproxy.errors import (
    UpstreamCutError,
    UpstreamRateLimitedError,
    UpstreamStatusError,
    UpstreamUnreadableError,
)
from lowproxy.transport import verdict
from lowproxy.transport.dispatch import Stream, Whole
from tests.scripted import EVENT, SSE, Client, Scripted, opened


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b"<html>", b'{"a":1}x', b"\xff", b"0"],
)
async def test_what_is_no_json_object(body):
    """Unreadable, whatever its content type said."""
    told, _ = await opened(Client(Scripted([body])), candidates=1)
    assert isinstance(told, UpstreamUnreadableError)


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; a=b", "x/y"])
@pytest.mark.parametrize("status", [200, 201, 400, 503])
@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"{}", b'{"a":1}', b'{"error":{"code":429},"usage":{}}'],
)
async def test_an_answer_in_one_piece(body, status, kind):
    """Judged as one that comes in several reads."""
    told = []
    for reads, whole in (([body], body or None), ([body[:1], body[1:]], None)):
        answer = Scripted([*reads], status, {"content-type": kind}, whole=whole)
        each, attempts = await opened(Client(answer), candidates=1)
        said = each.parsed if isinstance(each, Whole) else (type(each), str(each))
        told.append((said, attempts))
    assert told[0] == told[1]


async def test_an_endless_body(monkeypatch):
    """Given up at the limit."""
    monkeypatch.setattr(verdict, "MAX_ANSWER_BYTES", 100)
    answer = Scripted([b" " * 60] * 1000)
    told, _ = await opened(Client(answer), candidates=1)
    assert isinstance(told, UpstreamUnreadableError)
    assert len(answer.reads) == 998


async def test_an_endless_error(monkeypatch):
    """The status is enough."""
    monkeypatch.setattr(verdict, "MAX_ERROR_BYTES", 100)
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
    monkeypatch.setattr(verdict, "MAX_OPENING_BYTES", 100)
    reads = [b"data: " + b"x" * 60, b"x" * 60, b"\n\n"]
    told, _ = await opened(Client(Scripted(reads, fields=SSE)), stream=True)
    assert len(told.first) == 126
    assert reads == [b"\n\n"]


async def test_heartbeats_do_not_wait_for_ever(monkeypatch):
    """Comments alone are held for a moment, then they leave: they keep the caller's line alive."""
    monkeypatch.setattr(verdict, "COMMENT_HOLD_S", 0.02)
    answer = Scripted([b": a\n\n", b": b\n\n", asyncio.Event()], fields=SSE)
    told, _ = await opened(Client(answer), stream=True)
    assert told.first == b": a\n\n: b\n\n"
    assert not answer.closed


def test_a_second_is_what_heartbeats_wait():
    """Far below what any balancer in between allows."""
    assert verdict.COMMENT_HOLD_S == 1.0


async def test_a_stream_by_content_type_alone():
    """Some say nothing, or text/plain: where a stream was asked for it is one."""
    for fields in ({}, {"content-type": "text/plain"}):
        told, _ = await opened(Client(Scripted([EVENT], fields=fields)), stream=True)
        assert isinstance(told, Stream)


async def test_a_stream_that_nobody_asked_for():
    """It is passed on as what it is."""
    told, _ = await opened(Client(Scripted([EVENT], fields=SSE)))
    assert isinstance(told, Stream)
