"""A rest is told to the others once, with what is left of it, and is forgotten when it is over."""

import asyncio

from lowproxy.store.shared import running_shared
from lowproxy.store.shared_rests import SharedRests
from tests.fakes import LIMIT_S
from tests.store.records import NOON
from tests.store.test_shared import url


async def test_the_others_hear_of_it(redis_server):
    """Not who told it."""
    now = [NOON]
    heard: dict[str, list[tuple[str, int, float, str]]] = {"one": [], "two": []}
    async with (
        running_shared(url(redis_server), "t", 5.0, 0.05) as first,
        running_shared(url(redis_server), "t", 5.0, 0.05) as second,
    ):
        one = SharedRests(
            first, lambda *told: heard["one"].append(told), lambda: now[0]
        )
        two = SharedRests(
            second, lambda *told: heard["two"].append(told), lambda: now[0]
        )
        one.tell("acme-paris/acme/small", 1, 30.0, "limited")
        async with asyncio.timeout(LIMIT_S):
            while not heard["two"]:
                await two.look()
                await asyncio.sleep(0.001)
        await one.look()
        await two.look()

        assert heard["one"] == []
        assert heard["two"] == [("acme-paris/acme/small", 1, 30.0, "limited")]

        now[0] += 31
        await two.look()
        assert await first.client.hgetall(first.name("rests")) == {}
