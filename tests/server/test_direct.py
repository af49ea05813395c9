"""The direct server where it differs from aiohttp's: connections that end, bodies that stall, parsers that differ."""

import asyncio
import json

import pytest

from lowproxy.server import app, direct, wire
from lowproxy.server.aiohttp_server import PublicServer
from lowproxy.server.direct import DirectServer
from tests.fakes import Answer, RawCaller
from tests.gateway import CHAT, KEY, ask

HEAD = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
JSON = "Content-Type: application/json\r\n"


@pytest.fixture
def client_kind():
    """The direct server alone."""
    return "fast"


def post(body: bytes, *lines: str) -> bytes:
    """A request as bytes."""
    more = "".join(f"{line}\r\n" for line in lines)
    return f"{HEAD}{JSON}{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def test_the_server_follows_the_check(serve, upstream, monkeypatch, log_text):
    """Where aiohttp is not as assumed, the public server stands in, and the log says why."""
    monkeypatch.setattr(
        app, "SERVERS", {"direct": DirectServer, "public": PublicServer}
    )
    assert isinstance(
        app.make_server((await serve(upstream)).gateway.live), DirectServer
    )
    monkeypatch.setattr(app, "WHY_NOT", "another version")
    gateway = await serve(upstream)
    assert isinstance(app.make_server(gateway.gateway.live), PublicServer)
    assert "another version" in log_text()
    assert (await gateway.chat()).status == 200


async def test_a_refused_caller_may_go_on_sending(serve, upstream, monkeypatch):
    """Who sends on after a 413 reads the answer; the connection ends after a while."""
    monkeypatch.setattr(direct, "_LINGER_S", 0.05)
    monkeypatch.setattr(wire, "KEEPALIVE_S", 0.4)
    gateway = await serve(upstream, server="max_body_bytes = 100")
    async with RawCaller(gateway.port) as caller:
        await caller.send(post(b" " * 100_000)[:2000])
        reply = await caller.reply()
        assert reply.status == 413
        await caller.send(b" " * 50_000)
        assert json.loads(await reply.rest())["error"]["code"]
        assert await caller.ended()


async def test_many_requests_in_one_read(serve, upstream):
    """A hundred pipelined requests are answered in order without recursion, errors among them."""
    gateway = await serve(upstream)
    async with RawCaller(gateway.port) as caller:
        await caller.send((post(b"{}") + post(json.dumps(ask()).encode())) * 50)
        for _ in range(50):
            for status in (400, 200):
                reply = await caller.reply()
                assert reply.status == status
                await reply.rest()


async def test_the_end_takes_the_waiting(serve, upstream):
    """A connection that is cut while requests wait behind one another leaves nothing behind."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(gate, b"data: [DONE]\n\n")]
    gateway = await serve(upstream)
    async with RawCaller(gateway.port) as caller:
        await caller.send(post(json.dumps(ask()).encode()) * 3)
        while not upstream.seen:
            await asyncio.sleep(0)
    while gateway.parts.busy:
        await asyncio.sleep(0)
    assert len(upstream.seen) == 1


async def test_what_follows_an_upgrade_is_not_read(serve, upstream):
    """A request to switch protocols is answered as it stands, and the connection ends."""
    gateway = await serve(upstream)
    async with RawCaller(gateway.port) as caller:
        lines = ("Connection: Upgrade", "Upgrade: websocket")
        await caller.send(post(json.dumps(ask()).encode(), *lines) + b"\x81\x05hello")
        reply = await caller.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        await reply.rest()
        assert await caller.ended()
