"""One timer for the whole of a stream, however many events it has.

Re-arming a timer at every read costs more than relaying the event. Here a read only leaves a time stamp;
when the timer fires it looks how long ago that was, and sleeps on for the rest.
"""

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls `expired(option)` once, with the name of the limit that ran out: `idle_s` or `total_s`.

    A limit of 0 is none. `started` is when the request began, `last` when something was read, both on the
    loop's clock.
    """

    __slots__ = (
        "_expired",
        "_idle_s",
        "_loop",
        "_paused",
        "_timer",
        "_total_at",
        "last",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        idle_s: float,
        total_s: float,
        started: float,
        expired: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._idle_s = idle_s
        self._total_at = started + total_s if total_s else 0.0
        self._expired = expired
        self.last = loop.time()
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._arm()

    def touch(self) -> None:
        """Something was read."""
        self.last = self._loop.time()

    def pause(self) -> None:
        """The upstream is not being read: its silence is our own doing."""
        self._paused = True

    def resume(self) -> None:
        """The upstream is read again; its time starts anew."""
        self._paused = False
        self.touch()

    def cancel(self) -> None:
        """The stream is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        due = [
            at
            for at in (
                self._total_at,
                self.last + self._idle_s if self._idle_s else 0.0,
            )
            if at
        ]
        self._timer = self._loop.call_at(min(due), self._fire) if due else None

    def _fire(self) -> None:
        now = self._loop.time()
        if self._paused:
            self.last = now
        if self._total_at and now >= self._total_at:
            self._timer = None
            self._expired("total_s")
        elif self._idle_s and now >= self.last + self._idle_s:
            self._timer = None
            self._expired("idle_s")
        else:
            self._arm()
