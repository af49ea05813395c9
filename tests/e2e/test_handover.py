"""Restarts and reloads under load: no request fails, no stream is cut, for callers that never try again.

The full size: LOWPROXY_STREAM_S=20 LOWPROXY_RESTART_S=5 LOWPROXY_RESTARTS=6 pytest tests/e2e/test_handover.py
"""

import asyncio
import json
import os

import pytest

from tests.fakes import (
    FakeUpstream,
    RawCaller,
    openai_chunk,
    openai_completion,
    sse,
)
from tests.gateway import CHAT, KEY, Place, asking, config_text
from tests.owner import Owner, under_load
from tests.wire import JSON_TYPE, SSE_TYPE

pytestmark = pytest.mark.e2e

STREAMS, UNARY = 50, 20
STREAM_S = float(os.environ.get("LOWPROXY_STREAM_S", "2"))
RESTART_S = float(os.environ.get("LOWPROXY_RESTART_S", "0.5"))
RESTARTS = int(os.environ.get("LOWPROXY_RESTARTS", "3"))
EVENTS = 20

WORD = sse(openai_chunk("word "), done=False)
DONE = b"data: [DONE]\n\n"


@pytest.fixture
async def slow():
    """An upstream whose streams take STREAM_S, and whose other answers come at once."""
    async with FakeUpstream() as up:
        up.on_request = answer
        yield up


async def answer(seen, wire):
    """What it says."""
    if not seen.json().get("stream"):
        body = openai_completion()

        data = json.dumps(body).encode()
        await wire.head(200, [JSON_TYPE], length=len(data))
        await wire.raw(data, last=True)
    else:
        await wire.head(200, [SSE_TYPE], chunked=True)
        for _ in range(EVENTS):
            await wire.chunk(WORD)
            await asyncio.sleep(STREAM_S / EVENTS)
        await wire.chunk(DONE)
    await wire.end()


def configured(folder, upstream, extra=""):
    """The file for one upstream."""
    path = folder / "lowproxy.toml"
    path.write_text(config_text([Place(upstream, provider="p1")], extra=extra))
    return path


async def test_restarts_under_load(tmp_path, slow):
    """The socket is handed from process to process; nobody who calls notices."""
    config = configured(tmp_path, slow)
    owning = Owner(tmp_path, config)
    async with owning as owner, under_load(owner.port, STREAMS, UNARY) as load:
        for _ in range(RESTARTS):
            await asyncio.sleep(RESTART_S)
            await owner.restart()
        await asyncio.sleep(RESTART_S)
    assert load.failures == []
    assert load.streams >= STREAMS
    assert load.answers > UNARY * RESTARTS
    # Every process has written down what it served, and none has been cut.
    logged = owner.logged()
    assert logged.count('"status":"ok"') == load.streams + load.answers
    assert '"status":"partial"' not in logged


async def test_reloads_under_load(tmp_path, slow):
    """A new file, an equal one, a broken one: the new route holds from the next request on, and stays."""
    config = configured(tmp_path, slow)
    async with FakeUpstream() as other, Owner(tmp_path, config) as owner:
        other.on_request = answer
        async with under_load(owner.port, STREAMS, UNARY) as load:
            await asyncio.sleep(RESTART_S)
            assert other.requests.count == 0
            configured(tmp_path, other)
            told = await reloaded(owner)
            assert told.startswith("STATUS=serving 1 models")
            # From the next request on, however many are under way.
            assert await asked(owner.port, "first") == 200
            assert [who(seen) for seen in other.seen].count("first") == 1
            await asyncio.sleep(RESTART_S)
            before = slow.requests.count
            for extra, says in (("", ""), ("[timeouts]\nidle = 3\n", "was rejected")):
                configured(tmp_path, other, extra)
                assert says in await reloaded(owner)
                await asyncio.sleep(RESTART_S)
            assert slow.requests.count == before
    assert load.failures == []
    assert "timeouts.idle: no such option" in owner.logged()
    assert owner.logged().count("config.applied") == 2


async def reloaded(owner):
    """SIGHUP, and what is told when it is done."""
    owner.hangup()
    await owner.told("RELOADING=1")
    return next(line for line in await owner.told("READY=1") if "STATUS" in line)


async def asked(port, user):
    """The status of one request that can be told from all others."""
    async with RawCaller(port, key=KEY) as caller:
        reply = await caller.post(CHAT, asking(False, user=user))
        await reply.rest()
        return reply.status


def who(seen):
    """Whose request an upstream has seen."""
    return seen.json().get("user")
