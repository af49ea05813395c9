"""An answer while it comes in; `test_answer.py` and `test_fast.py` show it over sockets."""

import asyncio
import gzip
from types import SimpleNamespace
from typing import Any

import pytest

from lowproxy.config import Timeouts
from lowproxy.errors import UpstreamCutError, UpstreamUnreadableError
from lowproxy.transport.dispatch import Stream, Whole
from lowproxy.transport.fast_answer import MAX_INTERIM, FastAnswer
from tests.scripted import Client, opened

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
WHOLE = HEAD + b"hello"


def answer_on(pool: list[Any]) -> FastAnswer:
    """An answer on a connection whose transport does nothing."""
    quiet = SimpleNamespace(
        abort=lambda: pool.append("aborted"), get_write_buffer_size=lambda: 0
    )
    kept = SimpleNamespace(put=lambda connection: pool.append("kept"))
    connection: Any = SimpleNamespace(
        transport=quiet, pool=kept, reusable=True, open=True, answer=None
    )
    return FastAnswer(connection, "acme", Timeouts(), 0.0)


@pytest.mark.parametrize("cut", range(1, len(WHOLE)))
async def test_cut_anywhere(cut):
    """Wherever the head and the body are cut, they are read, and the connection is kept."""
    seen: list[Any] = []
    answer = answer_on(seen)
    answer.receive(WHOLE[:cut])
    answer.receive(WHOLE[cut:])
    body = b""
    while data := await answer.more():
        body += data
    assert (answer.status, body, seen) == (200, b"hello", ["kept"])


async def test_all_of_it_at_once():
    """The body is there as it came; what came in pieces has to be pulled."""
    answer = answer_on([])
    answer.receive(WHOLE)
    assert answer.whole == b"hello"
    assert (await answer.more(), await answer.more()) == (b"hello", b"")

    answer = answer_on([])
    answer.receive(WHOLE[:-2])
    answer.receive(WHOLE[-2:])
    assert answer.whole is None
    assert await answer.more() == b"hello"


async def test_more_than_announced():
    """What follows the body belongs to nobody: the connection is not used again."""
    seen: list[Any] = []
    answer = answer_on(seen)
    answer.receive(WHOLE + b"x")
    assert await answer.more() == b"hello"
    assert seen == ["aborted"]


async def test_the_end_within_the_body():
    """An early end is a cut, said by the endpoint's name."""
    answer = answer_on([])
    answer.receive(HEAD + b"he")
    answer.lost(None)
    assert await answer.more() == b"he"
    with pytest.raises(UpstreamCutError, match="acme"):
        await answer.more()


async def test_not_http():
    """What is no answer is unreadable, and quoted by nobody."""
    seen: list[Any] = []
    answer = answer_on(seen)
    answer.receive(b"canary\r\n\r\n")
    with pytest.raises(UpstreamUnreadableError) as failure:
        answer.check()
    assert "canary" not in str(failure.value)
    assert seen == ["aborted"]


HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"


@pytest.mark.parametrize("apart", [False, True])
async def test_heads_before_the_head(apart):
    """Some hints are passed over, in one read or in many; more of them than anybody sends are no answer."""
    for count, status in ((MAX_INTERIM, 200), (MAX_INTERIM + 1, 0), (9000, 0)):
        seen: list[Any] = []
        answer = answer_on(seen)
        for part in [HINT] * count if apart else [HINT * count]:
            answer.receive(part)
            if answer.status or seen:
                break
        else:
            answer.receive(WHOLE)
        assert (answer.status, seen) == (status, ["kept" if status else "aborted"])
        if status:
            assert answer.whole == b"hello"
        else:
            with pytest.raises(UpstreamUnreadableError, match="acme"):
                answer.check()


NOTHING = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Encoding: gzip\r\n\r\n",
]


@pytest.mark.parametrize("raw", NOTHING)
async def test_an_answer_without_a_body(raw):
    """Ended with its head wherever that is cut; what follows it ends the connection."""
    for cut in range(1, len(raw)):
        seen: list[Any] = []
        answer = answer_on(seen)
        answer.receive(raw[:cut])
        answer.receive(raw[cut:])
        assert (answer.ended, answer.whole, seen) == (True, None, ["kept"])
        assert await answer.more() == b""
    seen = []
    answer = answer_on(seen)
    answer.receive(raw + b"x")
    assert (await answer.more(), answer.whole, seen) == (b"", None, ["aborted"])


@pytest.mark.parametrize("end", ["cancelled", "failed", "ended"])
async def test_no_short_way_is_left(end):
    """However pumping ends, the connection has no way past who comes next."""
    event = b"data: a\n\n"
    answer = answer_on([])
    answer.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    connection: Any = answer._connection
    transport = object()

    class Caller:
        """A sink whose short way is always open."""

        def attach(self, flow):
            """Nobody is paused here."""

        def write(self, data):
            assert data == event

        def short(self):
            return str, transport

    pumping = asyncio.ensure_future(answer.pump(Caller()))
    await asyncio.sleep(0)
    answer.receive(b"9\r\n" + event + b"\r\n")
    assert connection.short == (str, transport)
    if end == "cancelled":
        pumping.cancel()
    elif end == "failed":
        answer.close()
        assert connection.short is None
        pumping.cancel()
    else:
        connection.short = None  # as the connection does with a read that is not alike
        answer.receive(b"0\r\n\r\n")
    await asyncio.wait([pumping])
    assert connection.short is None
    assert pumping.cancelled() == (end != "ended")


def raw_answer(status: str, kind: str, body: bytes, framing: str) -> bytes:
    """An answer as an upstream sends it."""
    fields = [f"HTTP/1.1 {status}", f"Content-Type: {kind}"]
    if framing == "gzip":
        body = gzip.compress(body, mtime=0)
        fields.append("Content-Encoding: gzip")
    if framing == "chunked":
        fields.append("Transfer-Encoding: chunked")
        body = b"%b0\r\n\r\n" % (b"%x\r\n%b\r\n" % (len(body), body) if body else b"")
    elif framing != "close":
        fields.append(f"Content-Length: {len(body)}")
    rest = b"x" if framing == "trailing" else b""
    return "\r\n".join([*fields, "", ""]).encode() + body + rest


async def judged(reads: list[bytes], stream: bool) -> object:
    """What the gateway makes of an answer in these reads."""
    seen: list[Any] = []
    answer = answer_on(seen)
    for read in reads:
        if (
            answer.ended
        ):  # the connection is nobody's by now, and bytes on it are its end
            seen = ["aborted"]
        else:
            answer.receive(read)
    answer.lost(None)
    told, attempts = await opened(Client(answer), stream=stream, candidates=1)
    if isinstance(told, Whole):
        return told.body, told.parsed, answer.status, seen, attempts
    if isinstance(told, Stream):
        return told.first + await rest_of(answer), answer.status, attempts
    return type(told), str(told), attempts


async def rest_of(answer: FastAnswer) -> bytes:
    """What is still to come; a cut ends it too."""
    try:
        return await answer.more()
    except UpstreamCutError:
        return b"(cut)"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("framing", ["length", "chunked", "close", "gzip", "trailing"])
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "text/html"])
@pytest.mark.parametrize("status", ["200 OK", "503 Busy"])
@pytest.mark.parametrize(
    "body", [b"", b'{"a":1}', b"[]", b'{"error":{"code":429}}', b"data: {}\n\n"]
)
async def test_a_judgement_does_not_tell_the_reads(body, status, kind, framing, stream):
    """One piece or two, cut at every byte: the same answer, the same failure, the same connection after it."""
    raw = raw_answer(status, kind, body, framing)
    at_once = await judged([raw], stream)
    for cut in range(1, len(raw)):
        assert await judged([raw[:cut], raw[cut:]], stream) == at_once, cut
    assert await judged([raw[n : n + 1] for n in range(len(raw))], stream) == at_once
