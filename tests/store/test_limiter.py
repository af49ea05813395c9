"""The count in memory: what the interface promises, under concurrency."""

import asyncio
import random

from lowproxy.core.access import ApiKey
from lowproxy.core.limits import Actual, Estimate, Limits, Refusal, Reservation
from lowproxy.store.limiter import LEASE_S, MemoryLimiter

NOW = 1_774_872_000.0
COST = 1_000


def key(**limits):
    return ApiKey("k", "sha256:" + "0" * 64, limits=Limits(**limits))


async def test_four_hundred_at_once_never_pass_a_budget_for_fifty():
    """Each reserves before it waits for its upstream, so nobody passes a check that another has used."""
    limiter, chance = MemoryLimiter(), random.Random(7)
    limited = key(daily_nano=50 * COST)
    billed = refused = 0

    async def request(number):
        nonlocal billed, refused
        taken = await limiter.reserve(limited, f"r{number}", Estimate(0, COST), NOW)
        if isinstance(taken, Refusal):
            refused += 1
            return
        actual = None
        try:
            for _ in range(chance.randrange(20)):
                await asyncio.sleep(0)
            billed += COST
            actual = Actual(0, COST)
        finally:
            limiter.settle(taken, actual)

    tasks = [asyncio.create_task(request(n)) for n in range(400)]
    for _ in range(5):
        await asyncio.sleep(0)
    for task in chance.sample(tasks, 40):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    spent = await limiter.spending(limited, NOW)
    assert spent is not None
    assert billed == spent.day_nano <= 50 * COST
    assert (spent.open, spent.reserved_nano) == (0, 0)
    assert refused >= 350


async def test_keys_do_not_share():
    """What one has used is nothing to the other."""
    limiter = MemoryLimiter()
    one, two = key(requests_per_minute=1), key(requests_per_minute=1)
    two = ApiKey("other", two.hash, limits=two.limits)
    for each in (one, two):
        assert isinstance(
            await limiter.reserve(each, each.name, Estimate(0), NOW), Reservation
        )
    assert isinstance(await limiter.reserve(one, "b", Estimate(0), NOW), Refusal)


async def test_what_was_left_behind_is_given_up_when_it_is_in_the_way():
    """A day after: its stream is free again, its money counts as spent."""
    limiter, limited = MemoryLimiter(), key(max_streams=1, monthly_nano=10)
    await limiter.reserve(limited, "a", Estimate(0, 4, 0, True), NOW)
    later = NOW + LEASE_S + 1
    taken = await limiter.reserve(limited, "b", Estimate(0, 4, 0, True), later)
    assert isinstance(taken, Reservation)
    spent = await limiter.spending(limited, later)
    assert spent is not None
    assert (spent.month_nano, spent.streams) == (4, 1)
