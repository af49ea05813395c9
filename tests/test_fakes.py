"""The fakes keep their promises, or every test that stands on them is worth nothing."""

import asyncio

import pytest

from tests.fakes import (
    Answer,
    Clock,
    FakeUpstream,
    RawCaller,
    openai_chunk,
    refusing_port,
    sse,
)

PATH = "/v1/chat/completions"


def test_clock():
    """The clock says what it was told."""
    clock = Clock(5.0)
    clock.advance(2.5)

    assert clock() == 7.5


def test_sse_frames():
    """Objects become events, bytes stay, and `[DONE]` can be left out."""
    assert sse({"a": "é"}) == 'data: {"a":"é"}\n\ndata: [DONE]\n\n'.encode()
    assert sse(b": hi\n\n", done=False) == b": hi\n\n"
    assert openai_chunk("a")["choices"][0]["delta"] == {"content": "a"}


async def test_it_records_the_request_as_sent(upstream):
    """Order, case and repetition of header fields are kept, and so is the body."""
    async with RawCaller(upstream.port) as caller:
        await caller.send(
            b"POST /v1/x?y=1 HTTP/1.1\r\nHost: a\r\nX-B: 1\r\nx-b:2\r\n"
            b"Content-Length: 2\r\n\r\n{}"
        )
        assert (await caller.reply()).status == 200

    (seen,) = upstream.seen
    assert (seen.method, seen.path, seen.body) == ("POST", "/v1/x?y=1", b"{}")
    assert seen.headers[1:3] == [("X-B", "1"), ("x-b", "2")]
    assert seen.header("X-b") == "1"


async def test_chunked_requests(upstream):
    """A chunked body arrives whole, however it was cut."""
    head = b"POST /v1/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with RawCaller(upstream.port) as caller:
        for byte in head + b'1\r\n{\r\na;q=1\r\n"a": true}\r\n0\r\n\r\n':
            await caller.send(bytes([byte]))
        await caller.reply()

    assert upstream.seen[0].json() == {"a": True}


async def test_keep_alive_and_script_order(upstream):
    """One connection serves several requests, answered in the script's order."""
    upstream.script = [
        Answer.of({"error": {"message": "slow down"}}, 429, Retry_After="7"),
        Answer(b"plain", headers=[("Content-Type", "text/plain")]),
        Answer.stream(b"a", b"bc"),
    ]
    async with RawCaller(upstream.port) as caller:
        first = await caller.post(PATH, {})
        assert (first.status, first.headers["retry-after"]) == (429, "7")
        assert await first.json() == {"error": {"message": "slow down"}}
        second = await caller.post(PATH, {})
        assert await second.rest() == b"plain"
        third = await caller.post(PATH, {})
        assert third.headers["content-type"] == "text/event-stream"
        assert [await third.piece() for _ in range(3)] == [b"a", b"bc", None]

    assert upstream.connections.count == 1
    assert upstream.aborted.count == 0


async def test_without_a_script_it_is_an_ordinary_upstream(upstream):
    """The default answer is a completion, or a stream where the body asks for one."""
    async with RawCaller(upstream.port) as caller:
        reply = await caller.post(PATH, {"model": "m"})
        assert (await reply.json())["object"] == "chat.completion"
        reply = await caller.post(PATH, {"model": "m", "stream": True})
        events = []
        while (event := await reply.event()) is not None:
            events.append(event)

    assert events[-1] == b"data: [DONE]\n\n"
    assert all(event.startswith(b"data: {") for event in events[:-1])


async def test_a_held_piece_waits(upstream):
    """What stands before an event is sent, what stands behind it is not."""
    go = asyncio.Event()
    upstream.script = [Answer.stream(b"one", go, b"two")]
    async with RawCaller(upstream.port) as caller:
        reply = await caller.post(PATH, {})
        assert await reply.piece() == b"one"
        assert upstream.script == []
        go.set()
        assert await reply.rest() == b"two"

    assert [data for _, data in reply.arrivals] == [b"one", b"two"]


async def test_cut_is_a_broken_connection(upstream):
    """A cut answer has what came before, then an error and never an end."""
    upstream.script = [Answer.stream(b"one", cut=True)]
    async with RawCaller(upstream.port) as caller:
        reply = await caller.post(PATH, {})
        assert await reply.piece() == b"one"
        with pytest.raises(ConnectionError):
            await reply.piece()

    await upstream.all_closed()
    assert upstream.aborted.count == 0


async def test_cut_within_a_length(upstream):
    """A cut answer with a length has its head and no body."""
    upstream.script = [Answer(b"never", cut=True)]
    async with RawCaller(upstream.port) as caller:
        reply = await caller.post(PATH, {})
        with pytest.raises(ConnectionError):
            await reply.rest()


async def test_raw_bytes_and_an_end_by_closing(upstream):
    """A script may write any bytes and end the body with the connection."""

    async def answer(seen, wire):
        await wire.raw(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\n\r\nab")
        await wire.raw(b"c")
        await wire.hang_up()

    upstream.on_request = answer
    async with RawCaller(upstream.port) as caller:
        reply = await caller.post(PATH, {})
        assert reply.headers["x-a"] == "1, 2"
        assert await reply.rest() == b"abc"
        assert await caller.ended()


@pytest.mark.parametrize("reset", [False, True])
async def test_a_caller_who_leaves_is_noticed(upstream, reset):
    """The script learns that the peer has left, and the abort is counted once."""
    left = asyncio.Event()

    async def answer(seen, wire):
        await wire.head(chunked=True)
        await wire.chunk(b"one")
        await wire.peer_left()
        left.set()
        await wire.chunk(b"two")

    upstream.on_request = answer
    async with RawCaller(upstream.port) as caller:
        reply = await caller.post(PATH, {})
        await reply.piece()
        caller.leave(reset=reset)
        await upstream.aborted.wait()
        await left.wait()
        await upstream.all_closed()

    assert upstream.aborted.count == 1
    assert upstream.open_connections == 0


async def test_leaving_between_answers_is_no_abort(upstream):
    """A peer that closes an idle connection aborts nothing."""
    async with RawCaller(upstream.port) as caller:
        await (await caller.post(PATH, {})).rest()
        assert upstream.open_connections == 1

    await upstream.all_closed()
    assert upstream.aborted.count == 0


async def test_a_held_script_ends_with_its_peer(upstream):
    """Nobody waits for an event on behalf of a peer that has gone."""
    upstream.script = [Answer.stream(b"one", asyncio.Event())]
    async with RawCaller(upstream.port) as caller:
        await (await caller.post(PATH, {})).piece()

    await upstream.aborted.wait()
    await upstream.all_closed()


async def test_a_failing_script_fails_the_test():
    """An assertion in a script is not lost."""

    async def answer(seen, wire):
        raise AssertionError("not what was promised")

    with pytest.raises(AssertionError, match="not what was promised"):
        async with FakeUpstream() as up, RawCaller(up.port) as caller:
            up.on_request = answer
            await caller.ask(PATH, {})
            await up.closed.wait()


async def test_a_caller_who_does_not_read_stops_the_script():
    """With small buffers a writer notices soon that nobody reads, and goes on later."""
    piece = b"x" * 65536
    total = 64
    reached = []

    async def answer(seen, wire):
        await wire.head(chunked=True)
        for _ in range(total):
            await wire.chunk(piece)
            reached.append(wire.sent_bytes)
        await wire.end()

    async with FakeUpstream(sndbuf=16384) as up:
        up.on_request = answer
        async with RawCaller(up.port, rcvbuf=4096) as caller:
            reply = await caller.post(PATH, {})
            assert await reply.piece() == piece
            assert len(reached) < total // 2
            assert len(await reply.rest()) == len(piece) * (total - 1)


async def test_a_socket_that_nobody_listens_on():
    """Connecting to a refusing port fails at once."""
    with refusing_port() as port, pytest.raises(ConnectionRefusedError):
        async with RawCaller(port):
            pass


async def test_head_has_no_body(upstream):
    """An answer to HEAD ends with its head, whatever length it names."""

    async def answer(seen, wire):
        await wire.head(200, [], length=5)
        await wire.end()

    upstream.on_request = answer
    async with RawCaller(upstream.port) as caller:
        await caller.ask("/v1/models", method="HEAD")
        assert await (await caller.reply()).rest() == b""
