"""Run a request's coroutine without a task for as long as it waits for nothing but its upstream.

A task costs a request its creation and a turn of the loop for every wait. Here the coroutine is stepped by
whoever has what it waits for: the caller's connection starts it, the upstream's bytes take it on, in the
very callback that brought them. As soon as it awaits anything else, a future of asyncio, the rest of it
becomes an ordinary task, and nothing above notices.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, Protocol


class Cancellable(Protocol):
    """What a task and a run have in common."""

    def cancel(self) -> object:
        """Raises CancelledError where it waits."""

    def uncancel(self) -> int:
        """Takes one `cancel` back; how many are left."""


class Run:
    """One coroutine on its way. `done` is called once, with what it returned or raised."""

    __slots__ = ("_cancels", "_coro", "_done", "_parked", "_task")

    def __init__(
        self,
        coro: Coroutine[Any, Any, Any],
        done: Callable[[Any, BaseException | None], None],
    ) -> None:
        self._coro = coro
        self._done = done
        self._task: asyncio.Task[None] | None = None
        self._parked = False
        self._cancels = 0

    def start(self) -> None:
        """Runs to the first wait."""
        self._step()

    def wake(self) -> None:
        """What it parked for has happened; it may be woken for nothing, and looks again."""
        if self._parked:
            self._step()

    def cancel(self) -> None:
        """Raises CancelledError in it: at once where it is parked, else at its next wait."""
        if self._task is not None:
            self._task.cancel()
            return
        self._cancels += 1
        if self._parked:
            self._step(asyncio.CancelledError())

    def uncancel(self) -> int:
        """As a task's."""
        if self._task is not None:
            return self._task.uncancel()
        self._cancels = max(0, self._cancels - 1)
        return self._cancels

    def _step(self, exc: BaseException | None = None) -> None:
        global _current
        before = _current
        _current = self
        self._parked = False
        try:
            asked = self._coro.send(None) if exc is None else self._coro.throw(exc)
            if self._cancels and exc is None and asked is _PARK:
                asked = self._coro.throw(asyncio.CancelledError())
        except StopIteration as stop:
            result, failure = stop.value, None
        except BaseException as raised:  # noqa: BLE001 - whoever started it decides
            result, failure = None, raised
        else:
            if asked is _PARK:
                self._parked = True
            else:
                self._become_task(asked)
            return
        finally:
            _current = before
        self._done(result, failure)

    def _become_task(self, asked: object) -> None:
        task = asyncio.get_running_loop().create_task(self._rest(asked))
        self._task = task
        for _ in range(self._cancels):
            task.cancel()

    async def _rest(self, asked: object) -> None:
        try:
            value = await _carry_on(self._coro, asked)
        except BaseException as failure:  # noqa: BLE001 - whoever started it decides
            self._done(None, failure)
        else:
            self._done(value, None)


_PARK = object()
_current: Run | None = None


def current() -> Run | None:
    """The run that is being stepped; None within a task."""
    return _current


def current_cancellable() -> Cancellable | None:
    """The run, else the task, that is going on here."""
    return _current or asyncio.current_task()


@coroutine
def park() -> Generator[object, None, None]:
    """Waits until the current run is woken. Only where `current()` is one."""
    yield _PARK


class Waiting(Protocol):
    """Who is to be woken when something has happened; the one who waits sets it."""

    waiter: "Wakeable | None"


class Wakeable(Protocol):
    """What waits: a run, or what stands for a task."""

    def wake(self) -> None:
        """It has happened; waking for nothing does no harm."""


class _Sleeper:
    """A task that waits."""

    __slots__ = ("_future",)

    def __init__(self, future: asyncio.Future[None]) -> None:
        self._future = future

    def wake(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


@coroutine
def wait(for_: Waiting) -> Generator[object, Any, None]:
    """Waits, in a run or in a task, until `for_.waiter` is woken; it may be for nothing."""
    run = _current
    try:
        if run is not None:
            for_.waiter = run
            yield _PARK
        else:
            future = asyncio.get_running_loop().create_future()
            for_.waiter = _Sleeper(future)
            yield from future
    finally:
        for_.waiter = None


@coroutine
def in_task() -> Generator[object, None, None]:
    """From here on a task: before `asyncio.timeout` and what else asks for the current one."""
    if _current is not None:
        yield None


@coroutine
def _carry_on(
    coro: Coroutine[Any, Any, Any], asked: object
) -> Generator[object, Any, Any]:
    """Steps a coroutine that has already begun, from within a task."""
    step: Callable[..., Any] = coro.send
    value: object = None
    begun = asked is None  # it asked for a task and for nothing else
    try:
        while True:
            if not begun:
                try:
                    value, step = (yield asked), coro.send
                except BaseException as exc:  # noqa: BLE001 - thrown on, a cancellation too
                    value, step = exc, coro.throw
            begun = False
            asked = step(value)
    except StopIteration as stop:
        return stop.value
