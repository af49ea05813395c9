"""Two gateway processes and one budget, over a real Valkey or Redis: never more than it, whatever happens.

Each has two hundred requests at once, in a random order, of which some callers leave; then one gateway is
killed with requests under way.
"""

import asyncio
import contextlib
import os
import random
import signal

import orjson
import pytest

from lowproxy.core.keys import hash_key
from tests import servers
from tests.e2e.conftest import running_gateway
from tests.fakes import Answer, FakeUpstream, RawCaller, openai_completion, usage

OWN = "lr-sk-shared-budget-5f1f0c5e7b3a49261122334466"
EACH_NANO = 600_000  # 100 and 500 tokens, at 1 USD a million
ROOM = 50
BUDGET_NANO = ROOM * EACH_NANO
CHAT, KEY_PATH = "/api/v1/chat/completions", "/api/v1/key"
BODY = orjson.dumps(
    {
        "model": "acme/small",
        "messages": [{"role": "user", "content": "Count to five, slowly."}],
        "max_tokens": 500,
    }
)
# Of any text a provider counts fewer tokens than it has bytes.
assert 100 < len(BODY) < 110
FULL = Answer.of({**openai_completion(), "usage": usage(100, 500)})
# A process is given up 15 s after it was last heard of.
GIVEN_UP_S = 40

pytestmark = pytest.mark.e2e


@pytest.fixture
def redis_server():
    """A real one."""
    if servers.redis_program() is None:
        pytest.skip("Redis is not installed here (apt-get install redis-server)")
    pytest.importorskip("redis", reason="redis-py is not installed (the extra redis)")
    with servers.running_redis() as server:
        yield server


@contextlib.contextmanager
def two_gateways(folder, upstream, server):
    """Two processes with one configuration, and records of their own."""
    config = f"""
[catalogue]
enabled = false

[shared]
url = "redis://127.0.0.1:{server.port}/0"
timeout_s = 20

[[keys]]
name = "limited"
hash = "{hash_key(OWN)}"
daily_limit = {BUDGET_NANO / 1e9:.6f}

[[providers]]
id = "acme"
api_key_env = "ACME_KEY"

  [[providers.endpoints]]
  region = "eu-west"
  zone = "FR"
  base_url = "{upstream.base_url}"

[[models]]
id = "acme/small"
provider = "acme"
context_length = 1000
price_prompt = 1.0
price_completion = 1.0
"""
    with contextlib.ExitStack() as stack:
        found = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            made = running_gateway(folder / name, config, ACME_KEY="sk-acme-0123456789")
            found.append(stack.enter_context(made))
        yield found


async def ask(gateway, wait_s=0.0):
    """The status of one request."""
    await asyncio.sleep(wait_s)
    async with RawCaller(gateway.port, key=OWN) as caller:
        reply = await caller.post(CHAT, BODY)
        await reply.rest()
        return reply.status


async def told(gateway):
    """What `GET /key` says: nano-units spent, nano-units reserved, requests under way."""
    async with RawCaller(gateway.port, key=OWN) as caller:
        reply = await caller.get(KEY_PATH)
        data = orjson.loads(await reply.rest())["data"]
    about = data["lowrouter"]
    spent, held = round(data["usage_daily"] * 1e9), round(about["reserved"] * 1e9)
    return spent, held, about["open_requests"]


async def at_rest(gateway, within_s=20.0):
    """What was spent, once nothing is reserved and nothing under way."""
    async with asyncio.timeout(within_s):
        while True:
            spent, held, open_ = await told(gateway)
            assert spent + held <= BUDGET_NANO
            if (held, open_) == (0, 0):
                return spent
            await asyncio.sleep(0.1)  # another process: there is nothing to await


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_four_hundred_at_once_never_pass_a_budget_for_fifty(
    tmp_path, redis_server, seed
):
    """No more are ever billed; who leaves costs what was reserved; nothing stays reserved."""
    draw, billed = random.Random(seed), 0

    async def bill(seen, wire):
        nonlocal billed
        billed += 1
        await asyncio.sleep(draw.random() / 20)
        await FULL.play(wire)

    async with FakeUpstream() as upstream:
        upstream.on_request = bill
        with two_gateways(tmp_path, upstream, redis_server) as both:
            tasks = [
                asyncio.create_task(ask(gateway, draw.random() / 5))
                for gateway in both
                for _ in range(200)
            ]
            for task in draw.sample(tasks, 40):
                asyncio.get_running_loop().call_later(draw.random() / 2, task.cancel)
            done = await asyncio.gather(*tasks, return_exceptions=True)
            spent = await at_rest(both[0])
            assert await at_rest(both[1]) == spent

    statuses = [each for each in done if isinstance(each, int)]
    failures = [e for e in done if isinstance(e, Exception)]
    assert failures == []
    assert set(statuses) <= {200, 402}
    assert 0 < billed <= ROOM
    assert statuses.count(200) * EACH_NANO <= spent <= BUDGET_NANO


async def test_a_gateway_that_is_killed_leaves_no_reservation(tmp_path, redis_server):
    """What it had under way counts as spent, once it is given up: nobody knows what became of it."""
    billed, held = 0, asyncio.Event()

    async def bill(seen, wire):
        nonlocal billed
        billed += 1
        if not held.is_set():
            await held.wait()
        await FULL.play(wire)

    async with FakeUpstream() as upstream:
        upstream.on_request = bill
        with two_gateways(tmp_path, upstream, redis_server) as (one, two):
            lost = [asyncio.create_task(ask(two)) for _ in range(20)]
            await upstream.requests.wait(20)
            os.kill(two.process.pid, signal.SIGKILL)
            await asyncio.gather(*lost, return_exceptions=True)
            held.set()

            statuses = await asyncio.gather(*(ask(one) for _ in range(100)))
            assert set(statuses) <= {200, 402}
            assert 20 < billed <= ROOM
            _, reserved, open_ = await told(one)
            assert (reserved > 0, open_) == (True, 20)

            async with asyncio.timeout(GIVEN_UP_S):
                while (await told(one))[2]:
                    assert await ask(one) in {200, 402}
                    await asyncio.sleep(0.5)
            spent = await at_rest(one)

    assert billed <= ROOM
    assert billed * EACH_NANO <= spent <= BUDGET_NANO
