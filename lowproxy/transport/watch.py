"""Many waits of one length behind one timer.

`asyncio.timeout` arms a timer for every wait. Here all waits have the same limit, so they run out in the
order in which they began, and one timer for the oldest serves them all.
"""

import asyncio
from types import TracebackType
from typing import Self

from lowproxy.transport.run import Cancellable, current_cancellable


class Watch:
    """Limits waits to `limit_s` seconds, as `option` says; 0 is no limit."""

    __slots__ = ("_guards", "_loop", "_timer", "limit_s", "option")

    def __init__(self, limit_s: float, option: str = "") -> None:
        self.limit_s = limit_s
        self.option = option
        self._loop = asyncio.get_running_loop()
        # What is cancelled when, oldest first: who waits, or a guard of it.
        self._guards: dict[Cancellable | Guard, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def guard(self) -> "Guard":
        """For `with`: cancels the current task's wait after the limit and raises TimeoutError instead."""
        return Guard(self)

    def begin(self, guard: "Guard | None" = None) -> Cancellable | None:
        """Starts a wait: what `end` takes, None where there is no limit.

        Without a guard it is the current run or task that is cancelled; it has one wait at a time.
        """
        if not self.limit_s:
            return None
        wait: Cancellable | None = guard or current_cancellable()  # type: ignore[assignment]
        if wait is not None:
            ends = self._guards[wait] = self._loop.time() + self.limit_s
            if self._timer is None:
                self._timer = self._loop.call_at(ends, self._fire)
        return wait

    def end(self, guard: "Cancellable | Guard | None") -> bool:
        """The wait is over; whether it was cancelled. The timer stays: the next wait needs it."""
        return guard is not None and self._guards.pop(guard, None) is None

    def close(self) -> None:
        """Ends the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _fire(self) -> None:
        self._timer = None
        now = self._loop.time()
        for guard, ends in list(self._guards.items()):
            if ends > now:
                self.close()  # who was cancelled may have begun to wait again
                self._timer = self._loop.call_at(ends, self._fire)
                return
            if self._guards.get(guard) == ends:  # not ended by one before it
                del self._guards[guard]
                guard.cancel()


class Once(Watch):
    """For one wait of its own length: its timer ends with it."""

    __slots__ = ()

    def end(self, guard: "Cancellable | Guard | None") -> bool:
        """The wait is over, and nobody needs the timer."""
        self.close()
        return super().end(guard)


class Guard:
    """One wait."""

    __slots__ = ("_task", "_watch", "expired")

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._task: Cancellable | None = None
        self.expired = False

    def __enter__(self) -> Self:
        self._task = current_cancellable()
        self._watch.begin(self)
        return self

    def cancel(self) -> None:
        """The limit has been reached."""
        self.expired = True
        if self._task is not None:
            self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watch.end(self)
        task, self._task = self._task, None
        if (
            self.expired
            and task is not None
            and task.uncancel() <= 0
            and kind is asyncio.CancelledError
        ):
            # As asyncio.timeout: a cancellation that came from elsewhere as well stays one.
            raise TimeoutError from exc
