"""A coroutine without a task: stepped by whoever wakes it, a task as soon as it needs one."""

import asyncio

import pytest

from lowproxy.transport.run import Run, current, current_cancellable, in_task, park


class Ended:
    """Notes how a run ended."""

    def __init__(self) -> None:
        self.value: object = None
        self.failure: BaseException | None = None
        self.event = asyncio.Event()

    def __call__(self, value, failure) -> None:
        self.value, self.failure = value, failure
        self.event.set()


async def test_no_turn_of_the_loop():
    """From start to end within the calls that drive it, and never as a task."""
    ended = Ended()

    async def work():
        assert asyncio.current_task() is me
        for _ in range(3):
            await park()
        return "done"

    me = asyncio.current_task()
    run = Run(work(), ended)
    run.start()
    for _ in range(3):
        assert not ended.event.is_set()
        run.wake()
    assert ended.value == "done"
    run.wake()  # late: nothing is left to wake
    run.cancel()


async def test_a_future_makes_it_a_task():
    """Whatever it awaits of asyncio works, and so do limits and cancellation from then on."""
    ended = Ended()
    gate = asyncio.get_running_loop().create_future()

    async def work():
        await park()
        assert current() is not None
        first = await gate
        assert current() is None
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        return first

    run = Run(work(), ended)
    run.start()
    run.wake()
    gate.set_result(7)
    await ended.event.wait()
    assert (ended.value, ended.failure) == (7, None)


async def test_an_error_of_a_future_arrives():
    """What a future raises is raised where it was awaited."""
    ended = Ended()
    gate = asyncio.get_running_loop().create_future()

    async def work():
        with pytest.raises(ZeroDivisionError):
            await gate
        raise KeyError

    Run(work(), ended).start()
    gate.set_exception(ZeroDivisionError())
    await ended.event.wait()
    assert isinstance(ended.failure, KeyError)


async def test_in_task_is_one():
    """What looks for the current task finds one behind `in_task`, which costs a task nothing."""
    ended = Ended()

    async def work():
        await in_task()
        await in_task()
        async with asyncio.timeout(10):
            await asyncio.sleep(0)
        return asyncio.current_task()

    me = asyncio.current_task()
    Run(work(), ended).start()
    await ended.event.wait()
    assert ended.value is not None
    assert ended.value is not me


@pytest.mark.parametrize("when", ["parked", "before", "task"])
async def test_cancellation(when):
    """It is raised where the coroutine waits, as in a task, and its clean-up runs."""
    ended, cleaned = Ended(), []

    async def work():
        try:
            if when == "task":
                await in_task()
                await asyncio.Event().wait()
            if when == "before":
                me = current_cancellable()
                assert me is not None
                me.cancel()
            await park()
        finally:
            cleaned.append(when)

    run = Run(work(), ended)
    run.start()
    if when == "task":
        await asyncio.sleep(0)
    if when != "before":
        run.cancel()
    await ended.event.wait()
    assert cleaned == [when]
    assert isinstance(ended.failure, asyncio.CancelledError)


async def test_a_cancellation_can_be_taken_back():
    """`uncancel` counts as a task's does."""
    ended = Ended()

    async def work():
        run = current_cancellable()
        assert run is not None
        try:
            await park()
        except asyncio.CancelledError:
            return run.uncancel()

    run = Run(work(), ended)
    run.start()
    run.cancel()
    assert ended.value == 0


async def test_one_run_wakes_another():
    """Runs that step each other keep themselves apart."""
    seen, ended = [], Ended()

    async def inner():
        seen.append(current())
        await park()
        seen.append(current())

    async def outer():
        seen.append(current())
        one.start()
        one.wake()
        seen.append(current())

    one = Run(inner(), lambda *_: None)
    two = Run(outer(), ended)
    two.start()
    assert seen == [two, one, one, two]
    assert current() is None
