"""What systemd is told, and whoever else listens on `$NOTIFY_SOCKET`: sd_notify(3)."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping

import attrs


@attrs.frozen
class Notifier:
    """Sends lines to an address; None: nobody is there."""

    address: str | None = None
    watchdog_s: float | None = None  # how long we may be silent

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> "Notifier":
        """As the environment says; an `@` at the beginning is the abstract name space."""
        name = environ.get("NOTIFY_SOCKET", "")
        if not name.startswith(("/", "@")):
            return cls()
        limit_us = environ.get("WATCHDOG_USEC", "")
        whose = environ.get("WATCHDOG_PID", str(pid))
        watched = limit_us.isdigit() and int(limit_us) > 0 and whose == str(pid)
        address = f"\0{name[1:]}" if name.startswith("@") else name
        return cls(address, int(limit_us) / 1e6 if watched else None)

    def tell(self, *lines: str) -> None:
        """One message. Nobody there any more is no reason to stop serving."""
        if self.address is None:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        ):
            sock.setblocking(False)
            sock.sendto("\n".join(lines).encode(), self.address)

    def ready(self, status: str) -> None:
        """It can route."""
        self.tell("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.tell("RELOADING=1", f"MONOTONIC_USEC={now_us}", "STATUS=reloading")

    def stopping(self) -> None:
        """The end begins."""
        self.tell("STOPPING=1", "STATUS=finishing what is running")

    @contextlib.contextmanager
    def watched(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Says in time that the loop turns. One that hangs says nothing, and is restarted."""
        if self.watchdog_s is None:
            yield
            return
        every_s = self.watchdog_s / 2
        timer: asyncio.TimerHandle

        def beat() -> None:
            nonlocal timer
            self.tell("WATCHDOG=1")
            timer = loop.call_later(every_s, beat)

        beat()
        try:
            yield
        finally:
            timer.cancel()
