"""What every way up promises: an answer that can be pulled, pushed, paused and closed."""

import asyncio
import gzip
import socket

import pytest

from lowproxy.config import Timeouts
from lowproxy.errors import (
    UpstreamCutError,
    UpstreamError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from lowproxy.transport.sink import Flow
from tests.fakes import LIMIT_S, Answer, refusing_port
from tests.gateway import CLIENTS, PROVIDER_KEY, request_to, settled, whole


@pytest.fixture
async def client(client_kind):
    """A client with time-outs that a test never waits for."""
    async with CLIENTS[client_kind](Timeouts()) as made:
        yield made


class Collector:
    """A sink that keeps what it gets; `paused`: its caller is slow from the start."""

    flow: Flow

    def __init__(self, *, paused=False):
        self.data = b""
        self.paused = paused
        self.attached = asyncio.Event()

    def attach(self, flow):
        self.flow = flow
        self.attached.set()
        if self.paused:
            flow.pause()

    def write(self, data):
        self.data += data

    def short(self):
        """No short way: everything is written here."""


class Raw:
    """An upstream that answers each request with fixed bytes, then does as told."""

    def __init__(self, *answers, then="stay"):
        self.answers = list(answers)
        self.then = then
        self.requests = 0
        self.connections = 0
        self.writers = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self.writers:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                if self.then != "early":
                    await reader.readexactly(length)
                answer = self.answers.pop(0) if self.answers else b""
                for part in answer if isinstance(answer, list) else [answer]:
                    writer.write(part)
                    await writer.drain()
                    for _ in range(4):
                        await asyncio.sleep(0)
                if self.then == "close" or not answer:
                    break
                if self.then == "early":
                    await reader.read(1)
                    await asyncio.Event().wait()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


# --- pulling --------------------------------------------------------------------------


async def test_what_goes_over_the_wire(client, upstream):
    """One POST with the given fields, its own Host and length, and the body's bytes."""
    body = b'{"a":"' + b"\xc3\xa9" * 30_000 + b'"}'
    request = request_to(upstream.base_url, body, extra=[("traceparent", "00-1")])
    answer = await client.send(request)
    assert answer.status == 200
    assert answer.fields.get("content-type") == "application/json"
    assert answer.fields.get("x-none") is None
    assert b"Hello there friend" in await whole(answer)
    (seen,) = upstream.seen
    assert (seen.method, seen.path, seen.body) == (
        "POST",
        "/v1/chat/completions",
        body,
    )
    names = [name.lower() for name, _ in seen.headers]
    assert len(names) == len(set(names))
    assert seen.header("host") == f"127.0.0.1:{upstream.port}"
    assert seen.header("content-length") == str(len(body))
    assert seen.header("transfer-encoding") is None
    assert seen.header("traceparent") == "00-1"
    assert seen.header("authorization") == f"Bearer {PROVIDER_KEY}"


async def test_a_field_with_a_line_break_is_not_sent(client, upstream):
    """Whatever got it there, it does not become two."""
    request = request_to(upstream.base_url, extra=[("traceparent", "x\r\nX-Evil: 1")])
    with pytest.raises((ValueError, UpstreamError)):
        await client.send(request)
    assert upstream.requests.count == 0


async def test_the_end_is_empty_bytes(client, upstream):
    """And stays so."""
    answer = await client.send(request_to(upstream.base_url))
    await whole(answer)
    assert await answer.more() == b""
    answer.close()
    answer.close()


async def test_the_head_comes_before_the_body(client, upstream):
    """`send` returns with the head; what has come is there, the rest when it comes."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(b"one", gate, b"two")]
    answer = await client.send(request_to(upstream.base_url))
    assert await answer.more() == b"one"
    gate.set()
    assert await whole(answer) == b"two"


RESPONSES = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    "extensions and trailer": b"HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: Chunked\r\n\r\n"
    b"5;a=b\r\nhello\r\n006\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n",
    "interim answers": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n"
    b"Link: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
    "no reason": b"HTTP/1.1 200 \r\ncontent-length:11\r\n\r\nhello world",
}


@pytest.mark.parametrize("raw", RESPONSES.values(), ids=RESPONSES)
async def test_wherever_the_network_cuts_an_answer(client, raw):
    """The head and the body are the same, and the connection serves the next one."""
    cuts = [[raw[:i], raw[i:]] for i in range(1, len(raw))]
    async with Raw(*cuts, [bytes([b]) for b in raw]) as up:
        for _ in range(len(cuts) + 1):
            answer = await client.send(request_to(up.url))
            assert answer.status == 200
            assert await whole(answer) == b"hello world"
        assert up.connections == 1


async def test_an_answer_up_to_the_end_of_the_connection(client):
    """HTTP/1.0 and answers without framing end where the connection does."""
    for first in (b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"):
        async with Raw([first, b"hello", b" world"], then="close") as up:
            answer = await client.send(request_to(up.url))
            assert await whole(answer) == b"hello world"


async def test_an_answer_without_a_body(client):
    """204 has none, whatever its fields say."""
    raw = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with Raw(raw, OK) as up:
        answer = await client.send(request_to(up.url))
        assert (answer.status, await whole(answer)) == (204, b"")
        answer = await client.send(request_to(up.url))
        assert await whole(answer) == b"{}"


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    ],
    ids=range(9),
)
async def test_what_is_no_answer(client_kind, raw):
    """It fails, soon, by our own name for it, and quotes nothing."""
    timeouts = Timeouts(idle_s=0.2)
    async with CLIENTS[client_kind](timeouts) as client, Raw(raw, then="close") as up:
        with pytest.raises(UpstreamError) as caught:
            answer = await client.send(request_to(up.url))
            try:
                if answer.status == 101:  # aiohttp leaves it to the dialect to refuse
                    raise UpstreamCutError("acme-paris: switched protocols")
                await answer.pump(Collector())
            finally:
                answer.close()
        assert caught.value.message.startswith("acme-paris: ")
        assert PROVIDER_KEY not in caught.value.message
        assert "SSH" not in caught.value.message


async def test_a_compressed_answer(client, upstream):
    """What was compressed unasked comes out plain."""
    packed = gzip.compress(b"hello " * 1000)
    head = [("Content-Encoding", "gzip")]
    upstream.script = [
        Answer(packed, headers=head),
        Answer(headers=head, pieces=[packed[i : i + 1] for i in range(len(packed))]),
    ]
    for _ in range(2):
        answer = await client.send(request_to(upstream.base_url))
        assert await whole(answer) == b"hello " * 1000


# --- connections ----------------------------------------------------------------------


async def test_connections_are_kept(client, upstream):
    """One after the other share one; beside each other they do not."""
    for _ in range(3):
        await whole(await client.send(request_to(upstream.base_url)))
    assert upstream.connections.count == 1
    gate = asyncio.Event()
    upstream.script = [Answer.stream(gate, b"x"), Answer.stream(gate, b"x")]
    answers = [await client.send(request_to(upstream.base_url)) for _ in range(2)]
    assert upstream.connections.count == 2
    gate.set()
    for answer in answers:
        await whole(answer)


async def test_an_answer_that_is_not_wanted_any_more(client, upstream):
    """Closed in the middle, its connection is closed and not used again."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(b"x", gate)]
    answer = await client.send(request_to(upstream.base_url))
    await answer.more()
    answer.close()
    await upstream.aborted.wait()
    await whole(await client.send(request_to(upstream.base_url)))
    assert upstream.connections.count == 2


async def test_closing_after_the_end_keeps_the_connection(client, upstream):
    """The rooms always close; a whole answer's connection stays."""
    for _ in range(2):
        answer = await client.send(request_to(upstream.base_url))
        await whole(answer)
        answer.close()
    assert upstream.connections.count == 1


async def test_a_wait_that_is_cancelled(client, upstream):
    """Before the head, too: the upstream sees that nobody waits."""
    gate = asyncio.Event()

    async def silent(seen, wire):
        await wire.hold(gate)

    upstream.on_request = silent
    task = asyncio.create_task(client.send(request_to(upstream.base_url)))
    await upstream.requests.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await upstream.aborted.wait()


async def test_an_upstream_that_says_close(client):
    """Its connection is not used again."""
    raw = OK.replace(b"Content-Type", b"Connection: Close\r\nContent-Type")
    async with Raw(raw, raw) as up:
        for _ in range(2):
            assert await whole(await client.send(request_to(up.url))) == b"{}"
        assert up.connections == 2


async def _kept(client, upstream):
    """One answer, so that its connection is kept."""
    await whole(await client.send(request_to(upstream.base_url)))


@pytest.mark.parametrize("way", ["reset", "close"])
async def test_a_kept_connection_that_dies_as_we_send(client, upstream, way):
    """Nothing was received, so a fresh connection is tried, once; the caller sees nothing."""
    await _kept(client, upstream)
    connections = []

    async def first_dies(seen, wire):
        connections.append(1)
        if len(connections) == 1:
            await (wire.cut() if way == "reset" else wire.hang_up())
        else:
            await Answer.of({"second": True}).play(wire)

    upstream.on_request = first_dies
    answer = await client.send(request_to(upstream.base_url, b'{"x":1}'))
    assert b"second" in await whole(answer)
    assert [seen.body for seen in upstream.seen[1:]] == [b'{"x":1}'] * 2


async def test_only_once(client, upstream):
    """Where the fresh one dies as well, it is the upstream's failure."""
    await _kept(client, upstream)

    async def dies(seen, wire):
        await wire.cut()

    upstream.on_request = dies
    with pytest.raises(UpstreamCutError):
        await client.send(request_to(upstream.base_url))
    assert upstream.requests.count == 3


async def test_a_fresh_connection_that_dies_is_not_tried_again(client, upstream):
    """Whoever has just connected and hangs up does not want the request."""

    async def dies(seen, wire):
        await wire.hang_up()

    upstream.on_request = dies
    with pytest.raises(UpstreamCutError):
        await client.send(request_to(upstream.base_url))
    assert upstream.requests.count == 1


async def test_a_kept_connection_that_was_closed_meanwhile(client, upstream):
    """Known to be closed, it is not even tried."""
    await _kept(client, upstream)
    for line in list(upstream._serving.values()):
        line.writer.close()
    await upstream.all_closed()
    await settled(lambda: 0, turns=5)
    await _kept(client, upstream)
    assert upstream.requests.count == 2


async def test_bytes_behind_an_answer_are_nobodys(client):
    """A second answer to one request never reaches the next one's caller."""
    evil = OK + OK.replace(b"{}", b"!!")
    async with Raw(evil, OK) as up:
        assert await whole(await client.send(request_to(up.url))) == b"{}"
        for _ in range(10):
            await asyncio.sleep(0)
        assert await whole(await client.send(request_to(up.url))) == b"{}"
        assert up.connections == 2


async def test_bytes_out_of_turn_are_nobodys(client):
    """Nor do bytes that come while the connection idles."""
    async with Raw(OK, OK) as up:
        assert await whole(await client.send(request_to(up.url))) == b"{}"
        up.writers[0].write(OK.replace(b"{}", b"!!"))
        await up.writers[0].drain()
        for _ in range(10):
            await asyncio.sleep(0)
        assert await whole(await client.send(request_to(up.url))) == b"{}"


async def test_an_answer_before_the_whole_request(client):
    """413 to a body that nobody reads: it is told, and the next request does not hang."""
    body = b"x" * 20_000_000
    raw = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}"
    async with Raw(raw, raw, then="early") as up:
        for _ in range(2):
            async with asyncio.timeout(LIMIT_S):
                answer = await client.send(request_to(up.url, body))
                assert (answer.status, await whole(answer)) == (413, b"{}")
                answer.close()
        assert up.connections == 2


# --- failures have names --------------------------------------------------------------


async def test_a_refused_connection(client):
    """Unreachable: nothing was sent. Where we tried to go is not told."""
    with refusing_port() as port, pytest.raises(UpstreamUnreachableError) as caught:
        await client.send(request_to(f"http://127.0.0.1:{port}/v1"))
    assert caught.value.message == "acme-paris: Connection refused"


async def test_a_connection_that_is_not_made_in_time(client_kind):
    """`connect_s` is for connecting alone, and is named."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        async with CLIENTS[client_kind](Timeouts(connect_s=0.1)) as client:
            with pytest.raises(UpstreamUnreachableError, match="connect_s"):
                await client.send(request_to(f"http://127.0.0.1:{port}/v1"))
        for filler in fillers:
            filler.close()


async def test_connect_s_does_not_limit_the_answer(client_kind, upstream):
    """An upstream may think longer than it may take to connect."""
    gate = asyncio.Event()
    asyncio.get_running_loop().call_later(0.2, gate.set)

    async def think(seen, wire):
        await wire.hold(gate)
        await Answer.of({}).play(wire)

    upstream.on_request = think
    async with CLIENTS[client_kind](Timeouts(connect_s=0.05)) as client:
        answer = await client.send(request_to(upstream.base_url))
        assert await whole(answer) == b"{}"


async def test_tls_towards_what_is_not(client):
    """Named as such, before anything of the request was sent."""

    async def plain(reader, writer):
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(UpstreamUnreachableError, match="TLS failed"):
        await client.send(request_to(f"https://127.0.0.1:{port}/v1"))
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("host", ["a..b", "[::1]:1", "x" * 300])
async def test_a_host_that_leads_nowhere(client, host):
    """However it fails, it is unreachable."""
    with pytest.raises(UpstreamUnreachableError):
        await client.send(request_to(f"http://{host}/v1"))


# --- pushing --------------------------------------------------------------------------


async def test_a_pump_writes_everything(client, upstream):
    """What had come before, too, in order; it returns at the clean end."""
    gate = asyncio.Event()
    pieces = [b"%d," % i for i in range(100)]
    upstream.script = [Answer.stream(*pieces[:50], gate, *pieces[50:])]
    answer = await client.send(request_to(upstream.base_url))
    await settled(lambda: 0)
    sink = Collector()
    pumping = asyncio.create_task(answer.pump(sink))
    await settled(lambda: sink.data)
    assert sink.data == b"".join(pieces[:50])
    gate.set()
    await pumping
    assert sink.data == b"".join(pieces)
    await _kept(client, upstream)
    assert upstream.connections.count == 1


async def test_pulling_then_pumping(client, upstream):
    """Nothing is lost or told twice between the two."""
    pieces = [b"%d," % i for i in range(100)]
    upstream.script = [Answer.stream(*pieces)]
    answer = await client.send(request_to(upstream.base_url))
    first = await answer.more()
    sink = Collector()
    await answer.pump(sink)
    assert first + sink.data == b"".join(pieces)


@pytest.mark.parametrize("cut", [True, False])
async def test_a_pump_that_breaks(client, upstream, cut):
    """What came before is written first."""

    async def breaks(seen, wire):
        await wire.head(chunked=True)
        await wire.chunk(b"some")
        for _ in range(10):
            await asyncio.sleep(0)
        await (wire.cut() if cut else wire.hang_up())

    upstream.on_request = breaks
    answer = await client.send(request_to(upstream.base_url))
    sink = Collector()
    with pytest.raises(UpstreamCutError, match="acme-paris"):
        await answer.pump(sink)
    assert sink.data == b"some"
    answer.close()


@pytest.mark.parametrize("before", [True, False], ids=["at once", "later"])
async def test_a_paused_pump(client, upstream, before):
    """It stops reading, so that the upstream has to wait; it goes on where it was."""
    block = b"x" * 65536
    written = []

    async def pour(seen, wire):
        await wire.head(chunked=True)
        for _ in range(400):
            await wire.chunk(block)
            written.append(1)
        await wire.end()

    upstream.on_request = pour
    answer = await client.send(request_to(upstream.base_url))
    sink = Collector(paused=before)
    pumping = asyncio.create_task(answer.pump(sink))
    if not before:
        await sink.attached.wait()
        while not sink.data:
            await asyncio.sleep(0)
        sink.flow.pause()
        sink.flow.pause()
    await settled(lambda: (len(written), len(sink.data)))
    stopped = len(sink.data)
    assert len(written) < 300
    await settled(lambda: len(sink.data), turns=50)
    assert len(sink.data) == stopped
    assert not pumping.done()
    sink.flow.resume()
    sink.flow.resume()
    await pumping
    assert len(sink.data) == 400 * len(block)


async def test_a_paused_pump_is_not_idle(client_kind, upstream):
    """`idle_s` is about the upstream's silence, not about our own."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(b"one", gate, b"two")]
    async with CLIENTS[client_kind](Timeouts(idle_s=0.05)) as client:
        answer = await client.send(request_to(upstream.base_url))
        sink = Collector(paused=True)
        pumping = asyncio.create_task(answer.pump(sink))
        waited = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, waited.set)
        await waited.wait()
        assert not pumping.done()
        gate.set()
        sink.flow.resume()
        await pumping
    assert sink.data == b"onetwo"


@pytest.mark.parametrize("option", ["idle_s", "total_s"])
async def test_a_pump_that_runs_out_of_time(client_kind, upstream, option):
    """The limit that ran out is named, and the connection is closed."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(b"one", gate)]
    async with CLIENTS[client_kind](Timeouts(**{option: 0.05})) as client:
        answer = await client.send(request_to(upstream.base_url))
        sink = Collector()
        with pytest.raises(UpstreamTimeoutError, match=rf"{option} \(0.05 s\)"):
            await answer.pump(sink)
        assert sink.data == b"one"
        await upstream.aborted.wait()


async def test_total_s_holds_for_a_paused_pump(client_kind, upstream):
    """A caller that never reads does not keep a stream for ever, where that is limited."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(b"one", gate)]
    async with CLIENTS[client_kind](Timeouts(total_s=0.05)) as client:
        answer = await client.send(request_to(upstream.base_url))
        with pytest.raises(UpstreamTimeoutError, match="total_s"):
            await answer.pump(Collector(paused=True))


async def test_a_pump_that_is_cancelled(client, upstream):
    """The sink gets nothing more; `close` ends the connection."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(b"one", gate)]
    answer = await client.send(request_to(upstream.base_url))
    sink = Collector()
    pumping = asyncio.create_task(answer.pump(sink))
    await settled(lambda: sink.data)
    pumping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pumping
    answer.close()
    await upstream.aborted.wait()
    assert sink.data == b"one"


async def test_a_sink_that_fails(client, upstream, caplog):
    """Its exception comes out of the pump as it is, and not into a log."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(b"one", gate, b"two")]
    answer = await client.send(request_to(upstream.base_url))
    await answer.more()

    class Broken(Collector):
        def write(self, data):
            raise ZeroDivisionError("canary")

    pumping = asyncio.create_task(answer.pump(Broken()))
    await settled(lambda: 0)
    gate.set()
    with pytest.raises(ZeroDivisionError):
        await pumping
    answer.close()
    assert "canary" not in caplog.text


async def test_the_end_of_the_client(client_kind, upstream):
    """Connections that are kept are closed with it."""
    async with CLIENTS[client_kind](Timeouts()) as client:
        await _kept(client, upstream)
        assert upstream.open_connections == 1
    await upstream.all_closed()
