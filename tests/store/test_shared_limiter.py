"""The shared count is the same machine as the one in memory, for any number of processes."""

import asyncio
import contextlib
import random
import signal
import subprocess
import sys

import pytest

from lowproxy.core.access import ApiKey
from lowproxy.core.limits import Actual, Estimate, Limits, Refusal, Reservation
from lowproxy.errors import StoreAwayError
from lowproxy.store.limiter import MemoryLimiter
from lowproxy.store.shared import running_shared
from lowproxy.store.shared_limiter import SharedLimiter
from tests.fakes import LIMIT_S
from tests.store.records import NOON
from tests.store.test_shared import url

LIMITS = Limits(
    requests_per_minute=30,
    tokens_per_minute=4_000,
    max_streams=3,
    daily_nano=50_000,
    monthly_nano=80_000,
    daily_carbon_ug=9_000,
)
# A time-out that no busy machine reaches: what is tested is the count.
PATIENT_S = 20.0


def key(limits=LIMITS, name="alice"):
    """A key with limits."""
    return ApiKey(name=name, hash="sha256:" + "0" * 64, limits=limits)


@contextlib.asynccontextmanager
async def limiter(server, timeout_s=PATIENT_S, *, fails_open=True):
    """One gateway's."""
    async with running_shared(url(server), "t", timeout_s, 0.05) as shared:
        yield SharedLimiter(shared, fails_open=fails_open)


async def settled(counting):
    """Waits until all that was posted has been sent."""
    async with asyncio.timeout(LIMIT_S):
        while counting.shared._posts or counting.shared._calls:
            await asyncio.sleep(0.001)
    await counting.spending(key(), NOON)  # behind them, in the same line


@pytest.mark.parametrize("seed", range(12))
async def test_it_counts_as_memory_does(redis_server, seed, monkeypatch):
    """Any sequence of requests and ends gives the same answers and the same sums."""
    monkeypatch.setattr("lowproxy.store.shared.LIFE_S", 1e9)  # this clock is another
    draw = random.Random(seed)
    memory = MemoryLimiter()
    now = NOON
    open_: list[tuple[Reservation, Reservation]] = []
    async with limiter(redis_server) as shared:
        for number in range(120):
            now += draw.choice([0, 0.25, 1.5, 20, 3600 * 11])
            if open_ and draw.random() < 0.5:
                one, other = open_.pop(draw.randrange(len(open_)))
                actual = draw.choice(
                    [
                        None,
                        Actual(0),
                        Actual(draw.randrange(900), draw.randrange(5000), 300),
                    ]
                )
                memory.settle(one, actual)
                shared.settle(other, actual)
                await settled(shared)
            else:
                estimate = Estimate(
                    draw.randrange(5000), draw.randrange(9000), 500, draw.random() < 0.3
                )
                here = await memory.reserve(key(), f"r{number}", estimate, now)
                there = await shared.reserve(key(), f"r{number}", estimate, now)
                assert here == there
                if isinstance(here, Reservation) and isinstance(there, Reservation):
                    open_.append((here, there))
        assert await memory.spending(key(), now) == await shared.spending(key(), now)


async def test_a_reservation_whose_process_is_gone_counts_as_spent(redis_server):
    """No budget is passed, and nothing stays reserved for ever."""
    limits = Limits(daily_nano=100)
    async with limiter(redis_server) as gone, limiter(redis_server) as stays:
        held = await gone.reserve(key(limits), "a", Estimate(1, 80), NOON)
        assert isinstance(held, Reservation)
        client = gone.shared.client
        await client.hdel(gone.shared.name("alive"), gone.shared.owner)

        refused = await stays.reserve(key(limits), "b", Estimate(1, 30), NOON + 2)

        assert isinstance(refused, Refusal)
        assert (refused.spent, refused.reserved) == (80, 0)
        assert isinstance(
            await stays.reserve(key(limits), "c", Estimate(1, 20), NOON + 3),
            Reservation,
        )


async def test_an_absent_store_is_passed_over(redis_server):
    """Local limits go on from what was spent; what is spent meanwhile is told later."""
    limits = Limits(daily_nano=100)
    async with limiter(redis_server, 0.5) as counting:
        held = await counting.reserve(key(limits), "a", Estimate(1, 60), NOON)
        counting.settle(held, Actual(1, 60))
        await settled(counting)
        await counting.reserve(key(limits), "x", Estimate(1, 1000), NOON)  # hears of it
        redis_server.signal(signal.SIGSTOP)
        try:
            held = await counting.reserve(key(limits), "b", Estimate(1, 30), NOON)
            assert isinstance(held, Reservation)
            refused = await counting.reserve(key(limits), "c", Estimate(1, 30), NOON)
            assert isinstance(refused, Refusal)
            counting.settle(held, Actual(1, 25))
        finally:
            redis_server.signal(signal.SIGCONT)
        async with asyncio.timeout(LIMIT_S):
            while not counting.shared.up:
                await asyncio.sleep(0.01)
        await settled(counting)

        spending = await counting.spending(key(limits), NOON)

    assert spending is not None
    assert (spending.day_nano, spending.reserved_nano, spending.open) == (85, 0, 0)


async def test_a_store_without_data_begins_with_the_books(redis_server):
    """It was lost, or never there; one that is there is right already."""
    limits = Limits(daily_nano=100)
    books = MemoryLimiter()
    books.account("alice").charge(NOON, Actual(0, 60, 5), Actual(0, 80, 5))
    async with limiter(redis_server) as counting:
        for _ in range(2):
            counting.begin(books, NOON)
            await settled(counting)
            spending = await counting.spending(key(limits), NOON)
            assert spending is not None
            assert (spending.day_nano, spending.month_nano) == (60, 80)
            assert spending.day_carbon_ug == 5


async def test_or_it_is_refused(redis_server):
    """`shared.on_failure = "closed"`."""
    async with limiter(redis_server, fails_open=False) as counting:
        redis_server.stop()
        with pytest.raises(StoreAwayError):
            await counting.reserve(key(), "a", Estimate(1), NOON)


async def test_a_cancelled_request_leaves_nothing(redis_server):
    """Its caller left while it waited for the reservation."""
    async with limiter(redis_server) as counting:
        tasks = [
            asyncio.create_task(counting.reserve(key(), f"{n}", Estimate(1), NOON))
            for n in range(5)
        ]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await settled(counting)
        await settled(counting)

        spending = await counting.spending(key(), NOON)

    assert spending is not None
    assert spending.open == 0


RACER = """
import asyncio, random, sys
from lowproxy.core.access import ApiKey
from lowproxy.core.limits import Actual, Estimate, Limits, Reservation
from lowproxy.store.shared import running_shared
from lowproxy.store.shared_limiter import SharedLimiter

NAME, URL, NOON = sys.argv[1], sys.argv[2], float(sys.argv[3])
KEY = ApiKey(name="alice", hash="", limits=Limits(daily_nano=50_000))

async def one(limiter, number, draw):
    await asyncio.sleep(draw.random() / 20)
    held = await limiter.reserve(KEY, f"{NAME}{number}", Estimate(1, 1_000), NOON)
    if not isinstance(held, Reservation):
        return 0
    spent = 0
    try:
        await asyncio.sleep(draw.random() / 50)
        spent = draw.choice([0, 400, 1_000])
    finally:
        limiter.settle(held, Actual(1, spent))
    return spent

async def main():
    draw = random.Random(NAME)
    async with running_shared(URL, "t", 20.0, 0.05) as shared:
        limiter = SharedLimiter(shared, fails_open=False)
        tasks = [asyncio.create_task(one(limiter, n, draw)) for n in range(200)]
        for task in draw.sample(tasks, 20):
            asyncio.get_running_loop().call_later(draw.random() / 20, task.cancel)
        done = await asyncio.gather(*tasks, return_exceptions=True)
        print(sum(each for each in done if isinstance(each, int)))

asyncio.run(main())
"""


def racing(server):
    """What two processes have spent, when both are done."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, name, url(server), str(NOON)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    told = [child.communicate(timeout=60)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    return sum(map(int, told))


async def test_two_processes_never_pass_a_budget(redis_server):
    """200 requests each at once, against a budget for 50; some cancelled; nothing stays reserved."""
    spent = await asyncio.to_thread(racing, redis_server)
    limits = Limits(daily_nano=50_000)
    async with limiter(redis_server) as counting:
        spending = await counting.spending(key(limits), NOON)

    assert spending is not None
    assert 0 < spent <= 50_000
    # One that was cancelled as it ended counts, and was not told.
    assert spent <= spending.day_nano <= 50_000
    assert (spending.reserved_nano, spending.open) == (0, 0)
