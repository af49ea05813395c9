"""The caller's connection: HTTP as it really comes, callers who leave, callers who are slow."""

import asyncio
import gc
import json
import socket
import tracemalloc

import pytest

from lowproxy.server import wire
from lowproxy.server.aiohttp_server import PublicConnection
from lowproxy.server.direct import DirectConnection
from tests.fakes import Answer, RawCaller, openai_chunk, openai_completion, sse
from tests.gateway import CHAT, KEY, Place, ask, asking, nothing_came, settled

WORD = sse(openai_chunk("a"), done=False)
HEAD = f"Host: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"


def post(body: bytes, *lines: str, version: str = "1.1") -> bytes:
    """A request as bytes."""
    head = f"POST {CHAT} HTTP/{version}\r\n{HEAD}Content-Length: {len(body)}\r\n"
    return (head + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode() + body


ASK = json.dumps(ask()).encode()
ASKING = json.dumps(asking()).encode()


# --- HTTP -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"canary\r\n\r\n",
        b"GET /v1/models HTTP/9.9\r\nAuthorization: Bearer canary\r\n\r\n",
        b"GET / HTTP/1.1\r\nAuthorization: Bearer canary\r\nbad header canary\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: \x00canary\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: canary\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, canary\r\n\r\n",
        b"GET /" + b"canary" * 3000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"canary" * 3000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03canary" + bytes(40) + b"\r\n\r\n",
    ],
    ids=range(11),
)
async def test_what_is_not_http(serve, upstream, raw, log_text, caplog, capfd):
    """400 in our shape, the connection ends, nothing of it is repeated or logged."""
    gateway = await serve(upstream)
    async with RawCaller(gateway.port) as caller:
        await caller.send(raw)
        reply = await caller.reply()
        assert reply.status == 400
        assert reply.headers["connection"] == "close"
        body = await reply.rest()
        assert json.loads(body)["error"]["type"] == "invalid_request_error"
        assert await caller.ended()
    assert b"canary" not in body
    printed = capfd.readouterr()
    assert "canary" not in log_text() + caplog.text + printed.out + printed.err


async def test_a_head_that_stays_unfinished(serve, upstream, monkeypatch):
    """Whoever sends half a head is let go after the idle time, first request or not."""
    monkeypatch.setattr(wire, "KEEPALIVE_S", 0.05)
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        await caller.send(b"POST /api/v1/chat/completions HTTP/1.1\r\nHos")
        assert await caller.ended()
    async with gateway.caller() as caller:
        await (await caller.post(CHAT, ask())).rest()
        await caller.send(b"POST /api/v1/chat/completions HTTP/1.1\r\nHos")
        assert await caller.ended()
    async with gateway.caller() as caller:
        assert await caller.ended()  # nothing at all


async def test_idle_time_is_not_taken_from_a_request(serve, upstream, monkeypatch):
    """A request that takes longer than a connection may idle is not cut."""
    monkeypatch.setattr(wire, "KEEPALIVE_S", 0.05)
    fired = asyncio.Event()
    asyncio.get_running_loop().call_later(0.15, fired.set)
    upstream.script = [Answer.stream(WORD, fired, *[WORD, b"data: [DONE]\n\n"])]
    told = await (await serve(upstream)).chat(asking())
    assert told.body.endswith(b"[DONE]\n\n")


@pytest.mark.parametrize("cut", [1, 20, 60, 100])
async def test_a_head_in_pieces(serve, upstream, cut):
    """However a request is cut, it is the same request."""
    gateway = await serve(upstream)
    raw = post(ASK)
    async with RawCaller(gateway.port) as caller:
        for start in range(0, len(raw), cut):
            await caller.send(raw[start : start + cut])
            await asyncio.sleep(0)
        assert (await caller.reply()).status == 200


async def test_pipelined_requests(serve, upstream):
    """Answers come in the order of the requests."""
    upstream.script = [
        Answer.of(openai_completion("first")),
        Answer.stream(WORD, b"data: [DONE]\n\n"),
        Answer.of(openai_completion("third")),
    ]
    gateway = await serve(upstream)
    async with RawCaller(gateway.port) as caller:
        await caller.send(post(ASK) + post(ASKING) + post(ASK))
        assert b"first" in await (await caller.reply()).rest()
        assert (await (await caller.reply()).rest()).startswith(b"data: ")
        assert b"third" in await (await caller.reply()).rest()


async def test_one_connection_many_requests(serve, upstream):
    """Unary, streamed, refused: the connection lasts."""
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        for body, status in [(ask(), 200), (asking(), 200), ({}, 400), (ask(), 200)]:
            reply = await caller.post(CHAT, body)
            await reply.rest()
            assert reply.status == status
            assert reply.headers["connection"] == "keep-alive"


async def test_a_caller_may_ask_to_close(serve, upstream):
    """`Connection: close` is answered in kind, unary and streamed."""
    gateway = await serve(upstream)
    for body in (ask(), asking()):
        async with gateway.caller() as caller:
            reply = await caller.post(CHAT, body, headers={"Connection": "close"})
            await reply.rest()
            assert reply.headers["connection"] == "close"
            assert await caller.ended()


@pytest.mark.parametrize("stream", [False, True])
async def test_http_1_0(serve, upstream, stream):
    """No chunks: a length, or the end of the connection."""
    gateway = await serve(upstream)
    async with RawCaller(gateway.port) as caller:
        await caller.send(post(ASKING if stream else ASK, version="1.0"))
        reply = await caller.reply()
        assert "transfer-encoding" not in reply.headers
        assert reply.headers["connection"] == "close"
        assert ("content-length" in reply.headers) != stream
        body = await reply.rest()
        assert await caller.ended()
    assert body.endswith(b"data: [DONE]\n\n" if stream else b"}")


async def test_http_1_0_keep_alive(serve, upstream):
    """Where it asks for it and the answer has a length, the connection stays."""
    gateway = await serve(upstream)
    async with RawCaller(gateway.port) as caller:
        for _ in range(2):
            await caller.send(post(ASK, "Connection: keep-alive", version="1.0"))
            reply = await caller.reply()
            assert reply.headers["connection"] == "keep-alive"
            await reply.rest()


async def test_http_1_0_stream_that_breaks(serve, upstream):
    """Without chunks the error event is the last word before the connection ends."""
    upstream.script = [Answer.stream(WORD, cut=True)]
    gateway = await serve(upstream)
    async with RawCaller(gateway.port) as caller:
        await caller.send(post(ASKING, version="1.0"))
        body = await (await caller.reply()).rest()
    assert b'data: {"error":' in body
    assert b"[DONE]" not in body


async def test_expect_100_continue(serve, upstream):
    """The word is given once the head is good, before the body; never for a bad one."""
    gateway = await serve(upstream, server="max_body_bytes = 1000")
    raw = post(ASK, "Expect: 100-continue")
    async with RawCaller(gateway.port) as caller:
        await caller.send(raw[: -len(ASK)])
        assert await caller.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
        await caller.send(ASK)
        assert (await caller.reply()).status == 200
    refused = {
        413: raw.replace(b"Content-Length: %d" % len(ASK), b"Content-Length: 5000"),
        401: raw.replace(KEY.encode(), b"wrong"),
        415: raw.replace(b"application/json", b"text/plain"),
        404: raw.replace(b"chat", b"chit"),
    }
    for status, each in refused.items():
        async with RawCaller(gateway.port) as caller:
            await caller.send(each[: -len(ASK)])
            first = await caller.until(b"\r\n")
            assert first.startswith(b"HTTP/1.1 %d " % status)
    assert upstream.requests.count == 1


async def test_no_continue_for_a_body_that_is_there(serve, upstream):
    """RFC 9110, section 10.1.1: it may be left out when the body has begun to come."""
    gateway = await serve(upstream)
    async with RawCaller(gateway.port) as caller:
        await caller.send(post(ASK, "Expect: 100-continue"))
        assert (await caller.reply()).status == 200


async def test_an_answer_before_the_body_has_come(serve, upstream):
    """A refused request is not mistaken for the next one: the connection is closed."""
    gateway = await serve(upstream, server="max_body_bytes = 1000")
    async with gateway.caller() as caller:
        await caller.ask(
            CHAT, b"GET /x HTTP/1.1\r\n\r\n", headers={"Content-Length": "5000"}
        )
        reply = await caller.reply()
        assert reply.status == 413
        assert reply.headers["connection"] == "close"
        await reply.rest()
        await caller.send(b" " * 5000)
        assert await caller.ended()


async def test_one_framing(serve, upstream):
    """Content-Length and Transfer-Encoding never together, whatever the upstream sent."""
    gateway = await serve(upstream)
    for body in (ask(), asking(), {}):
        async with gateway.caller() as caller:
            reply = await caller.post(CHAT, body)
            framing = {"content-length", "transfer-encoding"} & set(reply.headers)
            assert len(framing) == 1
            await reply.rest()


async def test_a_field_of_the_upstream_cannot_break_out(serve, upstream):
    """An odd value in a field that is handed on stays one field."""
    upstream.script = [
        Answer.of(openai_completion(), X_Request_Id="caf\xe9 ; \t x"),
    ]
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, ask())
        assert reply.status == 200
        assert reply.headers["x-request-id"].startswith("caf")
        await reply.rest()


# --- callers who leave ----------------------------------------------------------------


async def _head_only(seen, wire):
    await wire.head(chunked=True)
    await wire.peer_left()


async def _silent(seen, wire):
    await wire.peer_left()


async def _comment_only(seen, wire):
    await wire.head(chunked=True)
    await wire.chunk(b": wait\n\n")
    await wire.peer_left()


async def _half_unary(seen, wire):
    await wire.head(200, [("Content-Type", "application/json")], length=1000)
    await wire.raw(b'{"id":')
    await wire.peer_left()


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize(
    ("script", "stream"),
    [
        (_silent, True),
        (_head_only, True),
        (_comment_only, True),
        (_silent, False),
        (_half_unary, False),
    ],
    ids=[
        "before the head",
        "behind the head",
        "behind a comment",
        "unary",
        "in a body",
    ],
)
async def test_a_caller_leaves_before_the_answer(
    serve, upstream, other, script, stream, reset
):
    """The upstream sees it at once; nobody else is asked; the books say so."""
    upstream.on_request = script
    gateway = await serve(upstream, other)
    async with gateway.caller() as caller:
        await caller.ask(CHAT, ask(stream=stream))
        await upstream.requests.wait()
        await settled(lambda: nothing_came(caller))
        caller.leave(reset=reset)
        await upstream.aborted.wait()
    await upstream.all_closed()
    record = await gateway.books.record()
    assert (record.status, record.http_status) == ("client_closed", 499)
    assert record.latency_ms is None
    assert record.attempts == (("p1-eu-west/acme/small", "abandoned"),)
    assert other.requests.count == 0
    assert gateway.parts.health.resting(0) == frozenset()
    assert gateway.parts.metrics.open_requests == 0


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
async def test_a_caller_leaves_during_the_stream(serve, upstream, reset):
    """At once, and what it had been sent is in the books: partial, counted, weighed."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(WORD, WORD, gate)]
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        assert await reply.event()
        assert await reply.event()
        caller.leave(reset=reset)
        await upstream.aborted.wait()
    record = await gateway.books.record()
    assert (record.status, record.http_status) == ("partial", 200)
    assert record.usage.counted
    assert record.usage.completion == 2
    assert record.impact.energy_wh > 0
    assert record.error is None


async def test_a_caller_leaves_a_busy_stream(serve, upstream):
    """Also while events are pouring in; nothing is left open."""

    async def pour(seen, wire):
        await wire.head(chunked=True)
        while True:
            await wire.chunk(WORD)
            await asyncio.sleep(0)

    upstream.on_request = pour
    gateway = await serve(upstream)
    callers = [gateway.caller() for _ in range(20)]
    for caller in callers:
        async with caller:
            reply = await caller.post(CHAT, asking())
            await reply.event()
    await upstream.closed.wait(20)
    await gateway.books.record(20)
    assert {record.status for record in gateway.books.records} == {"partial"}


async def test_a_caller_leaves_while_the_finish_chunk_is_held(serve, upstream):
    """The usage that has come is not lost."""
    gate = asyncio.Event()
    finish = sse(openai_chunk(finish_reason="stop"), done=False)
    upstream.script = [Answer.stream(WORD, finish, gate)]
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        await reply.event()
        await settled(lambda: nothing_came(caller))
        caller.leave()
        await upstream.aborted.wait()
    assert (await gateway.books.record()).status == "partial"


async def test_a_caller_leaves_within_its_own_body(serve, upstream):
    """Nothing has been sent up yet, and nothing is."""
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        await caller.ask(CHAT, b'{"model":', headers={"Content-Length": "1000"})
        await settled(lambda: gateway.parts.metrics.open_requests)
        assert gateway.parts.metrics.open_requests == 1
    record = await gateway.books.record()
    assert (record.status, record.http_status) == ("client_closed", 499)
    assert upstream.connections.count == 0


async def test_a_caller_leaves_while_its_body_goes_up(serve):
    """An upstream that does not read the body is not waited for."""
    taken, gone, left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def unwilling(reader, writer):
        await reader.readexactly(100)
        taken.set()
        while await reader.read(65536):  # reads only to see the end
            if gone.is_set():
                continue
            await gone.wait()
        writer.close()
        left.set()

    server = await asyncio.start_server(unwilling, "127.0.0.1", 0, limit=1024)
    port = server.sockets[0].getsockname()[1]
    gateway = await serve(Place(f"http://127.0.0.1:{port}/v1"))
    body = ask(filler="x" * 20_000_000)
    async with gateway.caller() as caller:
        await caller.ask(CHAT, body)
        await asyncio.wait_for(taken.wait(), 10)
    record = await gateway.books.record()
    assert record.status == "client_closed"
    gone.set()
    await asyncio.wait_for(left.wait(), 10)
    server.close()
    await server.wait_closed()


async def test_a_caller_leaves_with_the_next_request_behind(serve, upstream):
    """A pipelined request is dropped with its connection."""
    upstream.on_request = _silent
    gateway = await serve(upstream)
    async with RawCaller(gateway.port) as caller:
        await caller.send(post(ASK) + post(ASK))
        await upstream.requests.wait()
    await upstream.aborted.wait()
    await gateway.books.record()
    await settled(lambda: upstream.requests.count)
    assert upstream.requests.count == 1


# --- callers who are slow -------------------------------------------------------------


async def all_of(reply):
    """As `rest`, in linear time."""
    pieces = []
    while (piece := await reply.piece()) is not None:
        pieces.append(piece)
    return b"".join(pieces)


async def test_a_slow_caller_slows_the_upstream(serve, upstream):
    """Who does not read makes the upstream wait; nothing piles up; nothing is lost."""
    event = sse(openai_chunk("x" * 16_000), done=False)
    total = 32 << 20
    count = total // len(event)
    written = []

    async def pour(seen, wire):
        await wire.head(chunked=True)
        for _ in range(count):
            await wire.chunk(event)
            written.append(len(event))
        await wire.chunk(b"data: [DONE]\n\n")
        await wire.end()

    upstream.on_request = pour
    gateway = await serve(upstream)
    async with gateway.caller(rcvbuf=8192) as caller:
        gc.collect()
        tracemalloc.start()
        try:
            reply = await caller.post(CHAT, asking())
            await settled(lambda: len(written))
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # The kernel's buffers of two connections, and what this process keeps.
        assert sum(written) < 16 << 20
        assert held < 4 << 20
        assert not upstream.aborted.count

        body = await all_of(reply)
    assert len(written) == count
    renamed = event.replace(b"upstream-small", b"acme/small")
    assert body.startswith(renamed * count)
    assert (await gateway.books.record()).status == "ok"


async def test_a_slow_caller_is_not_cut_for_the_upstreams_silence(serve, upstream):
    """While we ourselves do not read, the upstream's idle time does not run."""
    event = sse(openai_chunk("x" * 16_000), done=False)
    written = []

    async def pour(seen, wire):
        await wire.head(chunked=True)
        for _ in range(2000):
            await wire.chunk(event)
            written.append(1)
        await wire.chunk(b"data: [DONE]\n\n")
        await wire.end()

    upstream.on_request = pour
    gateway = await serve(upstream, extra="[timeouts]\nidle_s = 0.05")
    async with gateway.caller(rcvbuf=8192) as caller:
        reply = await caller.post(CHAT, asking())
        await settled(lambda: len(written))
        assert len(written) < 2000
        waited = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, waited.set)
        await waited.wait()
        body = await all_of(reply)
    assert body.endswith(b"data: [DONE]\n\n")
    assert b'"error"' not in body


async def test_a_slow_caller_leaves(serve, upstream):
    """The paused upstream is closed, too."""

    async def pour(seen, wire):
        await wire.head(chunked=True)
        while True:
            await wire.chunk(sse(openai_chunk("x" * 16_000), done=False))

    upstream.on_request = pour
    gateway = await serve(upstream)
    async with gateway.caller(rcvbuf=8192) as caller:
        await caller.post(CHAT, asking())
        await settled(lambda: upstream.seen and _pending(gateway))
    await upstream.aborted.wait()
    assert (await gateway.books.record()).status == "partial"


def _pending(gateway):
    return gateway.parts.metrics.open_requests


async def test_a_slow_caller_of_another_stream_is_not_in_the_way(serve, upstream):
    """Whoever reads gets its events, whatever others do."""
    large = sse(openai_chunk("x" * 16_000), done=False)

    async def pour(seen, wire):
        await wire.head(chunked=True)
        if seen.json().get("user") == "slow":
            while True:
                await wire.chunk(large)
        for _ in range(100):
            await wire.chunk(WORD)
        await wire.chunk(b"data: [DONE]\n\n")
        await wire.end()

    upstream.on_request = pour
    gateway = await serve(upstream)
    async with gateway.caller(rcvbuf=8192) as slow:
        await slow.post(CHAT, asking(user="slow"))
        for _ in range(5):
            told = await gateway.chat(asking())
            assert told.body.endswith(b"[DONE]\n\n")


async def test_the_bound_of_a_callers_buffer(serve, upstream, client_kind):
    """Every connection gets the write limit that the module names."""
    limits = []
    kind = DirectConnection if client_kind == "fast" else PublicConnection
    made = kind.connection_made

    def noted(self, transport):
        made(self, transport)
        limits.append(transport.get_write_buffer_limits())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "connection_made", noted)
        gateway = await serve(upstream)
        await gateway.chat()
    assert limits[0][1] == wire.WRITE_BUFFER_BYTES


async def test_a_request_body_is_not_kept_while_its_answer_streams(serve, upstream):
    """An open stream costs its own few kilobytes, not the size of its prompt."""
    size = 8_000_000
    gate = asyncio.Event()
    upstream.script = [Answer.stream(WORD, gate, b"data: [DONE]\n\n")]
    gateway = await serve(upstream)
    body = json.dumps(asking(filler="x" * size)).encode()
    async with gateway.caller() as caller:
        gc.collect()
        tracemalloc.start()
        try:
            reply = await caller.post(CHAT, body)
            await reply.event()
            upstream.seen.clear()
            for line in upstream._serving.values():
                assert not line._buffer
            await settled(lambda: 0, turns=5)
            gc.collect()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        gate.set()
        await reply.rest()
    # The fake upstream itself holds the request that it is answering.
    assert held - size < size / 2


def test_a_date_is_made_once_a_second(monkeypatch):
    """The Date field is right when the second changes."""
    monkeypatch.setattr(wire, "time", lambda: 0.9)
    monkeypatch.setattr(wire, "_last_date", (None, ""))
    assert wire.date() == "Thu, 01 Jan 1970 00:00:00 GMT"
    monkeypatch.setattr(wire, "time", lambda: 1.0)
    assert wire.date() == "Thu, 01 Jan 1970 00:00:01 GMT"


def test_the_kernel_keeps_little_for_a_caller_that_does_not_read():
    """What was written and is not on its way yet is bounded there, too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        caller = socket.create_connection(listener.getsockname())
        with caller, listener.accept()[0] as ours:
            wire.bound_unsent(Sock(ours))
            level, option = socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT

            assert ours.getsockopt(level, option) == wire.UNSENT_BYTES


@pytest.mark.parametrize("sock", [None, "unix"])
def test_what_has_no_such_bound_is_left_alone(sock):
    """A Unix socket, and a transport that is none."""
    near, far = socket.socketpair()
    with near, far:
        wire.bound_unsent(Sock(near if sock else None))


class Sock(asyncio.Transport):
    """A transport that knows its socket and nothing else."""

    def __init__(self, sock):
        super().__init__({"socket": sock})
