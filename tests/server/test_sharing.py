"""Gateways that share a store share their limits; one that is gone stops nobody."""

import asyncio
import signal
import time

import pytest

from tests import servers
from tests.fakes import LIMIT_S, Answer
from tests.gateway import CHAT, ask, gateway_over

BOB = "lr-sk-bobs-canary-8d1f0c5e7b3a4926112233445566"
LIMITED = """
[[keys]]
name = "bob"
key_env = "BOB"
requests_per_minute = 3
"""


@pytest.fixture
def redis_server():
    """A real one."""
    if servers.redis_program() is None:
        pytest.skip("Redis is not installed here (apt-get install redis-server)")
    pytest.importorskip("redis", reason="redis-py is not installed (the extra redis)")
    with servers.running_redis() as server:
        yield server


def gateway(tmp_path, upstream, server, shared="timeout_s = 5"):
    """One that shares."""
    url = f"redis://127.0.0.1:{server.port}/0"
    extra = f'{LIMITED}[shared]\nurl = "{url}"\nrest_s = 0.05\n{shared}\n'
    return gateway_over(tmp_path, upstream, extra=extra, environ={"BOB": BOB})


async def status(running, key=BOB):
    """Of one request."""
    async with running.caller(key=key) as caller:
        reply = await caller.post(CHAT, ask())
        await reply.rest()
        return reply.status


async def test_two_gateways_are_one_limit(tmp_path, upstream, redis_server, log_text):
    """Three requests a minute, wherever they go."""
    async with (
        gateway(tmp_path, upstream, redis_server) as one,
        gateway(tmp_path, upstream, redis_server) as two,
    ):
        said = [await status(each) for each in (one, two, one, two, one)]

    assert said == [200, 200, 200, 429, 429]


async def test_a_frozen_store_stops_nobody(tmp_path, upstream, redis_server, log_text):
    """One time-out, in the metrics; limits hold in each process."""
    async with gateway(tmp_path, upstream, redis_server, "timeout_s = 0.2") as running:
        assert await status(running) == 200
        redis_server.signal(signal.SIGSTOP)
        try:
            said = [await status(running) for _ in range(5)]
            text = (await running.admin("/metrics")).body.decode()
        finally:
            redis_server.signal(signal.SIGCONT)

    assert said == [200, 200, 429, 429, 429]
    assert "lowproxy_shared_up 0.0" in text
    assert 'lowproxy_shared_failures_total{reason="timeout"} 1.0' in text
    assert log_text().count("shared.away") == 1


async def test_or_keys_with_limits_are_refused(
    tmp_path, upstream, redis_server, log_text
):
    """`closed`; a key without limits has nothing to ask, and goes on."""
    shared = 'timeout_s = 0.2\non_failure = "closed"'
    async with gateway(tmp_path, upstream, redis_server, shared) as running:
        redis_server.stop()

        assert [await status(running) for _ in range(2)] == [503, 503]
        assert (await running.chat()).status == 200


async def test_what_one_is_asked_to_wait_all_wait(
    tmp_path, upstream, other, redis_server, log_text
):
    """A provider that answered one gateway with Retry-After rests in the other, too."""
    url = f"redis://127.0.0.1:{redis_server.port}/0"
    extra = f'[shared]\nurl = "{url}"\ntimeout_s = 5\n'
    async with (
        gateway_over(tmp_path, upstream, other, extra=extra) as one,
        gateway_over(tmp_path, upstream, other, extra=extra) as two,
    ):
        upstream.script = [Answer.of({}, 429, Retry_After="50")]
        assert (await one.chat()).status == 200
        async with asyncio.timeout(LIMIT_S):
            while not two.parts.health.resting(time.monotonic()):
                await asyncio.sleep(0.01)
        asked = len(upstream.seen)
        assert (await two.chat()).json()["lowrouter"]["provider"] == "p2"

    assert len(upstream.seen) == asked
