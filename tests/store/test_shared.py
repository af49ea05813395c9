"""A shared store answers many at once; one that is gone costs its time-out once, and then nothing."""

import asyncio
import signal

import pytest

from lowproxy.store.shared import SharedAwayError, running_shared
from lowproxy.store.shared_limiter import loaded
from lowproxy.store.shared_scripts import CHARGE, LOOK
from tests.fakes import LIMIT_S

TIMEOUT_S = 0.2
KEYS = ("{t}:key:a", "{t}:open:a")


def url(server):
    """As `shared.url` takes it."""
    return f"redis://127.0.0.1:{server.port}/0"


@pytest.fixture
async def shared(redis_server):
    """Connected."""
    async with running_shared(url(redis_server), "t", TIMEOUT_S, 0.05) as connected:
        assert connected.up
        yield connected


async def back(shared):
    """Waits until it is up again."""
    async with asyncio.timeout(LIMIT_S):
        while not shared.up:
            await asyncio.sleep(0.01)


async def test_calls_of_the_same_moment_are_one_round_trip(shared, monkeypatch):
    """Whatever their number, in one pipeline."""
    sent = []
    inner = shared._client.pipeline

    def pipeline(**options):
        sent.append(1)
        return inner(**options)

    monkeypatch.setattr(shared._client, "pipeline", pipeline)
    answers = await asyncio.gather(
        *(shared.call(LOOK, KEYS, (1, 1)) for _ in range(100))
    )

    assert len(answers) == 100
    assert sum(sent) == 1


async def test_what_nobody_waits_for_travels_with_the_next_question(
    shared, monkeypatch
):
    """And is done before it: a request and its end are one round trip, not two."""
    sent = []
    inner = shared._client.pipeline

    def pipeline(**options):
        sent.append(1)
        return inner(**options)

    monkeypatch.setattr(shared._client, "pipeline", pipeline)
    for number in range(1, 6):
        shared.post(CHARGE, (KEYS[0], f"{{t}}:once:{number}"), (7, 50, 3, 1, 1))
        said = await shared.call(LOOK, KEYS, (1, 1))
        assert loaded(said[1:]).day.spent == 50 * number

    assert sum(sent) == 5


async def test_a_frozen_one_is_waited_for_once(shared, redis_server):
    """Then nobody waits: the breaker is open. It is back without a request having paid for it."""
    redis_server.signal(signal.SIGSTOP)
    try:
        results = await asyncio.gather(
            *(shared.call(LOOK, KEYS, (1, 1)) for _ in range(50)),
            return_exceptions=True,
        )
        assert all(isinstance(each, SharedAwayError) for each in results)
        assert shared.counts.failures == {("timeout",): 1}

        for _ in range(100):
            with pytest.raises(SharedAwayError) as raised:
                # Not a turn of the loop is waited for.
                shared.call(LOOK, KEYS, (1, 1)).send(None)
            assert not raised.value.sent
    finally:
        redis_server.signal(signal.SIGCONT)
    await back(shared)

    assert await shared.call(LOOK, KEYS, (1, 1))


async def test_one_line_tells_of_an_outage(shared, redis_server, log_text):
    """And one that it is over."""
    redis_server.stop()
    for _ in range(20):
        with pytest.raises(SharedAwayError):
            await shared.call(LOOK, KEYS, (1, 1))
    redis_server.start()
    await back(shared)

    assert log_text().count("shared.away") == 1
    assert log_text().count("shared.back") == 1


async def test_a_server_started_anew_gets_the_scripts_again(shared, redis_server):
    """It has forgotten them."""
    redis_server.stop()
    redis_server.start()
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                assert await shared.call(LOOK, KEYS, (1, 1))
                break
            except SharedAwayError:
                await asyncio.sleep(0.01)


async def test_what_need_not_be_answered_is_kept(shared, redis_server):
    """Until it can be sent."""
    redis_server.stop()
    with pytest.raises(SharedAwayError):
        await shared.call(LOOK, KEYS, (1, 1))
    shared.post(LOOK, KEYS, (1, 1))
    redis_server.start()
    await back(shared)
    await shared.call(LOOK, KEYS, (1, 1))

    assert not shared._posts


async def test_one_that_was_never_there(log_text):
    """The gateway starts, and goes on trying."""
    async with running_shared("redis://127.0.0.1:9/0", "t", TIMEOUT_S, 0.05) as shared:
        with pytest.raises(SharedAwayError):
            await shared.call(LOOK, KEYS, (1, 1))
    assert log_text().count("shared.away") == 1
