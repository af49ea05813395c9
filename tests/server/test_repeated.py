"""A head that came before is not parsed again, and nobody can tell."""

import asyncio
import gzip
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lowproxy.server.direct import DirectServer
from lowproxy.server.repeated import BUFFER_BYTES, Body, Repeats
from lowproxy.server.wire import send
from tests.transports import Transport

PLAIN = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nX-Key: k\r\n\r\n"
HEADS = [
    PLAIN,
    PLAIN.replace("/a", "/b?c=d"),
    PLAIN.replace("Content-Length: ", "content-length:\t "),
    PLAIN.replace("X-Key: k", "X-Key: 7"),
    PLAIN.replace("X-Key: k", "Connection: close"),
    PLAIN.replace("X-Key: k", "Content-Encoding: gzip"),
    PLAIN.replace("X-Key: k", "Expect: 100-continue"),
    PLAIN.replace("X-Key: k", "Transfer-Encoding: chunked").replace(
        "Content-Length: %d\r\n", ""
    ),
    PLAIN.replace("POST", "GET").replace("Content-Length: %d\r\n", ""),
]
LIKELY = st.sampled_from([HEADS[0], HEADS[0], HEADS[1]]) | st.sampled_from(HEADS)
BODIES = st.sampled_from([b"", b"{}", b'{"a":1}', HEADS[0].encode(), b"x" * 300_000])


def written(head: str, body: bytes) -> bytes:
    """A request's bytes."""
    if "gzip" in head:
        body = gzip.compress(body)
    if "chunked" in head:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    if "%d" not in head:
        return head.encode() + (body if "chunked" in head else b"")
    return (head % len(body)).encode() + body


async def handler(request):
    """Tells what was asked."""
    told = [request.method, request.raw_path, dict(request.query)]
    told += [request.headers.get("X-Key"), request.content_length]
    size = check = 0
    while data := await request.more():
        size, check = size + len(data), crc32(data, check)
    return send(request, 200, [], repr([*told, size, check]).encode())


def answers(chunks):
    """What is answered to the bytes, where a paused transport delivers none."""

    async def run():
        server, transport = DirectServer(handler), Transport()
        connection = server()
        connection.connection_made(transport)
        for chunk in chunks:
            assert not transport.paused or transport.closed
            if not transport.closed:
                connection.data_received(chunk)
        await server.shutdown(0)
        return transport.text

    return asyncio.run(run())


def told(text):
    """The answers without what the time tells."""
    return [line for line in text.split(b"\r\n") if not line.startswith(b"Date")]


@given(
    st.lists(st.tuples(LIKELY, BODIES), min_size=1, max_size=6),
    st.lists(st.integers(0, 400), max_size=6),
    st.booleans(),
)
@example([(HEADS[0], b"{}"), (HEADS[0], b'{"a":1}'), (HEADS[3], b"{}")], [], True)
@example([(HEADS[0], b"x" * 300_000)] * 3, [10, 300], False)
@settings(max_examples=200, deadline=None)
def test_answers_do_not_depend_on_how_requests_come(requests, cuts, apart):
    """One by one or run together, cut anywhere: each is answered as on a connection of its own."""
    closing = ["close" in head for head, _ in requests]
    if True in closing:  # nothing may follow it
        requests = requests[: closing.index(True) + 1]
    texts = [written(*request) for request in requests]
    chunks = []
    for text in texts if apart else [b"".join(texts)]:
        places = sorted({min(cut, len(text)) for cut in cuts} - {0, len(text)})
        ends = [*places, len(text)]
        chunks += [
            text[a:b] for a, b in zip([0, *places], ends, strict=True) if text[a:b]
        ]

    expected = b"".join(answers([text]) for text in texts)
    assert told(answers(chunks)) == told(expected)


@pytest.fixture
def repeats():
    """A connection's memory after one request that was parsed."""
    seen = Repeats()
    message = SimpleNamespace(name="known")
    seen._message, seen._before, seen._after = message, b"H: ", b"\r\n\r\n"
    return seen


@pytest.mark.parametrize(
    "data",
    [
        b"H: +1\r\n\r\nx",
        b"H: \r\n\r\n",
        b"H: 1",
        b"H: 1\r\n",
        b"H: 1\r\nA: b\r\n\r\nx",
        b"H: 1, 1\r\n\r\nx",
        b"H: 1234567890123456\r\n\r\nx",
        b"h: 1\r\n\r\nx",
    ],
)
def test_what_differs_is_parsed(repeats, data):
    """In the least, in the head or in its length's digits."""
    assert repeats.take(data, SimpleNamespace()) is None
    assert repeats.take(b"H: 1\r\n\r\nxy", SimpleNamespace())[2] == b"y"


def test_a_body_nobody_reads_slows_its_connection():
    """Paused beyond the bound, once, resumed where somebody wants it, and then not any more."""
    calls = []
    connection = SimpleNamespace(
        pause_reading=lambda *, pause_parser: calls.append(("pause", pause_parser)),
        resume_reading=lambda *, resume_parser: calls.append(("resume", resume_parser)),
    )
    body = Body(connection, 3 * BUFFER_BYTES)
    body.feed(b"x" * BUFFER_BYTES)
    assert not calls
    body.feed(b"y")
    body.feed(b"y")
    assert calls == [("pause", False)]
    assert body.read_nowait() == b""
    body.feed(b"z" * BUFFER_BYTES)
    assert calls[1:] == [("resume", False)]
    assert body.feed(b"z" * BUFFER_BYTES) == b"zz"
    whole = body.read_nowait()
    assert (len(whole), crc32(whole)) == (
        3 * BUFFER_BYTES,
        crc32(b"x" * BUFFER_BYTES + b"yy" + b"z" * (2 * BUFFER_BYTES - 2)),
    )
    assert body.read_nowait() == b""


async def test_a_task_can_wait_for_a_body():
    """As a run can: it is given when it is whole, then the end."""
    body = Body(SimpleNamespace(), 3)
    waiting = asyncio.ensure_future(body.readany())
    await asyncio.sleep(0)
    assert body.feed(b"a") == b""
    assert body.feed(b"bcd") == b"d"
    assert await waiting == b"abc"
    assert await body.readany() == b""


@pytest.mark.parametrize("head", HEADS)
async def test_only_what_a_length_ends_is_remembered(head):
    """The second request with a plain head is not parsed; any other kind is."""
    server, transport = DirectServer(handler), Transport()
    connection = server()
    connection.connection_made(transport)
    connection.data_received(written(head, b"{}"))
    parser: Any = connection._parser
    connection._parser = None

    is_plain = head in HEADS[:4]
    text = written(head, b'{"a":1}')
    for cut in (len(text), 5 + text.index(b"\r\n\r\n")):
        if is_plain:
            connection.data_received(text[:cut])
            connection.data_received(text[cut:])
            assert transport.text.rstrip(b"]").rsplit(b", ", 2)[1] == b"7"
        else:
            assert connection._repeats.take(text[:cut], connection) is None
    connection._parser = parser
    await server.shutdown(0)
    assert transport.text.count(b"200 OK") == (3 if is_plain else 1)
