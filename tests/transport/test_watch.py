"""Many waits of one length, one timer."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from lowproxy.transport.watch import Watch
from tests.gateway import settled


async def test_a_wait_that_is_too_long():
    """TimeoutError, and the task is as good as before."""
    watch = Watch(0.02)
    for _ in range(2):
        with pytest.raises(TimeoutError), watch.guard():
            await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_wait_that_is_short_enough():
    """Nothing happens to it, nor later to whoever waits for something else."""
    watch = Watch(0.02)
    with watch.guard():
        await asyncio.sleep(0)
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(0.06, over.set)
    await over.wait()


async def test_nought_is_no_limit():
    """No timer either."""
    watch = Watch(0)
    with watch.guard():
        await asyncio.sleep(0)
    assert watch._timer is None


async def test_each_has_its_own_limit():
    """Later ones run out later; those that ended are not touched."""
    watch = Watch(0.05)
    ended = []

    async def wait(number, event):
        try:
            with watch.guard():
                await event.wait()
            ended.append((number, "ok"))
        except TimeoutError:
            ended.append((number, "late"))

    events = [asyncio.Event() for _ in range(4)]
    tasks = []
    for number, event in enumerate(events):
        tasks.append(asyncio.create_task(wait(number, event)))
        await asyncio.sleep(0)
    events[1].set()
    await asyncio.gather(*tasks)
    assert ended == [(1, "ok"), (0, "late"), (2, "late"), (3, "late")]
    assert not watch._guards


async def test_one_timer_for_all():
    """However many waits there are."""
    watch = Watch(60)
    guards = [watch.guard() for _ in range(100)]
    for guard in guards:
        guard.__enter__()
    timer = watch._timer
    for guard in guards:
        guard.__exit__(None, None, None)
    assert watch._timer is timer
    assert not watch._guards
    watch.close()


async def test_a_cancellation_from_elsewhere_stays_one():
    """A caller who leaves is not taken for a slow upstream, even at the same moment."""
    watch = Watch(0.02)
    began = asyncio.Event()

    async def wait():
        with watch.guard():
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    both = asyncio.create_task(wait())
    await settled(lambda: len(watch._guards), turns=3)
    (guard,) = watch._guards
    guard.cancel()
    both.cancel()
    with pytest.raises(asyncio.CancelledError):
        await both


async def test_another_failure_passes():
    """A guard changes nothing but its own time-out."""
    watch = Watch(1)
    with pytest.raises(ZeroDivisionError), watch.guard():
        raise ZeroDivisionError
    assert not watch._guards
    watch.close()


async def test_a_wait_without_a_guard():
    """Begun and ended by hand: cancelled after the limit, and told so by `end`."""
    watch, task = Watch(0.02), asyncio.current_task()
    assert watch.begin() is task is not None
    assert not watch.end(task)
    watch.begin()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.Event().wait()
    assert watch.end(task)
    assert task.uncancel() == 0


async def test_without_a_limit_there_is_nothing_to_end():
    """No entry and no timer."""
    watch = Watch(0)
    assert watch.begin() is None
    assert not watch.end(None)
    assert watch._timer is None


def waiter(then) -> Any:
    """Somebody who waits: what he does when he is cancelled is given."""
    made = type("Waiter", (), {})()
    made.cancel = then
    return made


def by_hand(watch):
    """What the watch asks the loop for, instead of the loop: `now`, `timers`."""
    loop = SimpleNamespace(now=0.0, timers=[])

    def call_at(at, fire):
        timer = SimpleNamespace(at=at, cancelled=False)

        def cancel():
            timer.cancelled = True

        timer.cancel = cancel
        loop.timers.append(timer)
        return timer

    watch._loop = SimpleNamespace(time=lambda: loop.now, call_at=call_at)
    return loop


async def test_who_waits_again_at_once():
    """A request that goes on to another upstream as it is cancelled: one timer all the same."""
    watch = Watch(10.0)
    loop = by_hand(watch)
    again: Any = waiter(lambda: watch.begin(again))
    watch.begin(again)
    loop.now = 1.0
    watch.begin(waiter(lambda: None))
    loop.now = 10.0
    watch._fire()
    assert [t.at for t in loop.timers[1:] if not t.cancelled] == [11.0]
    assert list(watch._guards.values()) == [11.0, 20.0]


async def test_who_ends_another():
    """One whose end is another's, too: the rest are cancelled all the same."""
    watch, told = Watch(10.0), []
    loop = by_hand(watch)
    second, third = waiter(lambda: told.append(2)), waiter(lambda: told.append(3))
    watch.begin(waiter(lambda: watch.end(second)))
    watch.begin(second)
    watch.begin(third)
    loop.now = 10.0
    watch._fire()
    assert told == [3]
    assert not watch._guards
