"""A restart does not give a budget back."""

import asyncio
import threading

from lowproxy.core.keys import hash_key
from lowproxy.server import counting
from tests.fakes import LIMIT_S
from tests.gateway import CHAT, ask, gateway_over

OWN = "lr-sk-" + "z" * 43


async def test_what_the_books_say_was_spent_stays_spent(upstream, tmp_path):
    """Of the day and of the month, by key."""
    extra = (
        f'[[keys]]\nname = "own"\nhash = "{hash_key(OWN)}"\ndaily_limit = 0.001\n'
        f'[store]\nurl = "sqlite://{tmp_path}/books.db"'
    )
    body, spent = ask(max_tokens=700), []
    for _ in range(2):
        async with gateway_over(tmp_path, upstream, extra=extra) as gateway:
            async with gateway.caller(key=OWN) as caller:
                reply = await caller.post(CHAT, body)
                await reply.rest()
            key = gateway.parts.keys.identify(OWN, 0.0)
            record = await gateway.books.record()
            told = await gateway.parts.limiter.spending(key, record.completed_at)
            assert told is not None
            spent.append((reply.status, told.day_nano, told.month_nano))
    assert spent == [(200, 12_000, 12_000), (200, 24_000, 24_000)]


async def test_a_start_without_limits_waits_for_no_sum(upstream, tmp_path, monkeypatch):
    """It serves while the books are read; a limit that a reload brings finds what they said."""
    go, summed = threading.Event(), counting._spent

    def slow(*words):
        assert go.wait(LIMIT_S)
        return summed(*words)

    own = f'[[keys]]\nname = "own"\nhash = "{hash_key(OWN)}"\n'
    monkeypatch.setattr(counting, "_spent", slow)
    go.set()
    for nano in (0, 12_000):
        async with gateway_over(tmp_path, upstream, extra=own) as gateway:
            async with gateway.caller(key=OWN) as caller:
                reply = await caller.post(CHAT, ask(max_tokens=700))
                await reply.rest()
            assert reply.status == 200
            key = gateway.parts.keys.identify(OWN, 0.0)
            record = await gateway.books.record()
            go.set()
            async with asyncio.timeout(LIMIT_S):
                while True:
                    told = await gateway.parts.limiter.spending(
                        key, record.completed_at
                    )
                    assert told is not None
                    if told.month_nano == nano:
                        break
                    await asyncio.sleep(0.001)
        go.clear()
