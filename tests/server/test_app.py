"""Up and down: what `running` starts, and how it stops without cutting anybody."""

import asyncio
import json
import socket

import attrs
import pytest

from lowproxy.catalogue import open_config
from lowproxy.config import Eco, Listen
from lowproxy.errors import ConfigError
from lowproxy.server import app
from tests.fakes import Answer, RawCaller, openai_chunk, sse
from tests.gateway import CHAT, KEY, Running, ask, asking, gateway_over, settled

WORD = sse(openai_chunk("a"), done=False)
DONE = b"data: [DONE]\n\n"


@pytest.fixture
def built_in(tmp_path, monkeypatch):
    """The configuration that a fresh machine has: nothing but a key, any free ports."""
    monkeypatch.chdir(tmp_path)
    return open_config(
        None,
        {"LOWROUTER_API_KEY": KEY},
        listen="127.0.0.1:0",
        admin_listen="127.0.0.1:0",
    )


async def test_the_demo(built_in):
    """With no provider key it answers by itself, over real HTTP, and says what it is."""
    async with app.running(*built_in) as gateway:
        running = Running(gateway)
        assert gateway.catalogue.demo
        told = await running.chat(
            ask(
                "openai/gpt-4o-mini",
                route={"region": "eu-west"},
                messages=[{"role": "user", "content": "count to 3"}],
            )
        )
        assert told.status == 200
        block = told.json()["lowrouter"]
        assert (block["provider"], block["region"]) == ("demo", "eu-west")
        assert block["eco"]["accuracy"] == "gross"
        assert block["eco"]["notes"] == ["demo"]


async def test_ports_are_told(serve, upstream):
    """Port 0 is any free one, and what was taken is known."""
    gateway = await serve(upstream)
    assert gateway.port != 0 != gateway.admin_port
    assert str(gateway.gateway.listen) == f"127.0.0.1:{gateway.port}"


@pytest.mark.parametrize("option", ["listen", "admin_listen"])
async def test_a_port_that_is_taken(built_in, option):
    """A ConfigError that names the option; nothing stays open behind it."""
    config, catalogue = built_in
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = Listen("127.0.0.1", taken.getsockname()[1])
        config = attrs.evolve(
            config, server=attrs.evolve(config.server, **{option: listen})
        )
        with pytest.raises(ConfigError, match=rf"server\.{option}: {listen}"):
            async with app.running(config, catalogue):
                pass


async def test_an_unknown_methodology(built_in):
    """Found before any port is opened."""
    config, catalogue = built_in
    config = attrs.evolve(config, eco=Eco(methodology="v0-nobody"))
    with pytest.raises(ConfigError, match="eco.methodology: "):
        async with app.running(config, catalogue):
            pass


async def test_a_running_stream_may_finish(tmp_path, upstream, log_text):
    """Stopping waits for it; new connections are refused; readiness goes first."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(WORD, gate, WORD, DONE)]
    context = gateway_over(tmp_path, upstream)
    gateway = await context.__aenter__()
    caller = gateway.caller()
    async with caller:
        reply = await caller.post(CHAT, asking())
        first = await reply.event()
        stopping = asyncio.create_task(context.__aexit__(None, None, None))
        await settled(lambda: gateway.parts.life.stopping)
        told = await gateway.admin("/readyz")
        assert (told.status, told.json()["reason"]) == (503, "draining")
        assert (await gateway.admin("/livez")).status == 200
        with pytest.raises(ConnectionError):
            async with RawCaller(gateway.port):
                pass
        assert not stopping.done()
        gate.set()
        assert await reply.event() == first
        assert (await reply.rest()).endswith(DONE)
        assert await caller.ended()
        await asyncio.wait_for(stopping, 10)
    assert (await gateway.books.record()).status == "ok"


async def test_a_unary_answer_may_finish(tmp_path, upstream, log_text):
    """The same for an answer that is still being thought about."""
    gate = asyncio.Event()

    async def think(seen, wire):
        await wire.hold(gate)
        await Answer.of({"choices": []}).play(wire)

    upstream.on_request = think
    context = gateway_over(tmp_path, upstream)
    gateway = await context.__aenter__()
    async with gateway.caller() as caller:
        await caller.ask(CHAT, ask())
        await upstream.requests.wait()
        stopping = asyncio.create_task(context.__aexit__(None, None, None))
        await settled(lambda: gateway.parts.life.stopping)
        gate.set()
        assert (await caller.reply()).status == 200
        await asyncio.wait_for(stopping, 10)


async def test_idle_connections_are_closed_at_once(tmp_path, upstream, log_text):
    """Who only keeps a connection is not waited for."""
    async with gateway_over(tmp_path, upstream) as gateway:
        caller = await gateway.caller().__aenter__()
        await (await caller.post(CHAT, ask())).rest()
    async with caller:
        assert await caller.ended()


async def test_a_stream_that_does_not_finish(tmp_path, upstream, log_text):
    """After `drain_s` it is ended, not once more after that; its upstream is closed."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(WORD, gate)]
    extra = "[timeouts]\ndrain_s = 0.2"
    loop = asyncio.get_running_loop()
    async with gateway_over(tmp_path, upstream, extra=extra) as gateway:
        caller = await gateway.caller().__aenter__()
        reply = await caller.post(CHAT, asking())
        await reply.event()
        began = loop.time()
    assert loop.time() - began < 10
    # Never a silent cut: the stream's last event says why, and the body ends as a body does.
    last = await reply.rest()
    assert b'"code":"overloaded"' in last
    assert b'"lowrouter"' in last
    assert b"[DONE]" not in last
    await upstream.aborted.wait()
    record = await gateway.books.record()
    assert record.status == "partial"
    caller.leave()


async def test_a_slow_caller_gets_all_of_an_answer_that_was_given(
    tmp_path, upstream, log_text
):
    """An answer that still waits in our buffer as we stop is not thrown away."""
    large = {"choices": [], "filler": "x" * 8_000_000}
    upstream.script = [Answer.of(large)]
    context = gateway_over(tmp_path, upstream)
    gateway = await context.__aenter__()
    async with gateway.caller(rcvbuf=8192) as caller:
        reply = await caller.post(CHAT, ask())
        stopping = asyncio.create_task(context.__aexit__(None, None, None))
        await settled(lambda: gateway.parts.life.stopping)
        assert not stopping.done()
        size = 0
        while piece := await reply.piece():
            size += len(piece)
        assert size == int(reply.headers["content-length"])
        await asyncio.wait_for(stopping, 10)


async def test_a_body_on_its_way_may_arrive(tmp_path, upstream, log_text):
    """A request that was begun before is read to its end and answered."""
    context = gateway_over(tmp_path, upstream)
    gateway = await context.__aenter__()
    async with gateway.caller() as caller:
        body = json.dumps(ask()).encode()
        await caller.ask(CHAT, body[:20], headers={"Content-Length": str(len(body))})
        await settled(lambda: gateway.parts.metrics.open_requests)
        stopping = asyncio.create_task(context.__aexit__(None, None, None))
        await settled(lambda: gateway.parts.life.stopping)
        await caller.send(body[20:])
        reply = await caller.reply()
        assert reply.status in (200, 503)
        await asyncio.wait_for(stopping, 10)
