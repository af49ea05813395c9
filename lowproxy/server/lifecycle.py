"""From start to end: what signals ask for, what systemd is told, and how the gateway stops.

To stop: not ready any more, then a pause in which load balancers notice, then no new connections. What runs
may finish, and connections that are idle are served a little longer, every answer their last. After that
streams end with an event that says why.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import attrs

from lowproxy.server.listeners import Opened
from lowproxy.server.notify import Notifier
from lowproxy.server.parts import Live, Parts
from lowproxy.server.reload import Read, Reloader
from lowproxy.server.wire import Server

# How often a gateway that stops looks whether all have been answered.
DRAIN_POLL_S = 0.02
# aiohttp waits this long twice before it cancels a handler; what may finish has had `drain_s`.
CLOSE_S = 0.01
# How often the file is looked at, where it is.
WATCH_S = 1.0


@attrs.define
class Wishes:
    """What somebody asks the process for. SIGINT is a person at a terminal, who waits for the end."""

    stop: asyncio.Event = attrs.field(factory=asyncio.Event)
    reload: asyncio.Event = attrs.field(factory=asyncio.Event)
    hurry: bool = False

    def heed(self, loop: asyncio.AbstractEventLoop) -> None:
        """Takes signals from here on."""
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        loop.add_signal_handler(signal.SIGHUP, self.reload.set)

    def _interrupt(self) -> None:
        self.hurry = True
        self._stop()

    def _stop(self) -> None:
        if self.stop.is_set():
            os._exit(1)  # asked twice: whoever asks does not want to wait
        self.stop.set()


async def until_stopped(
    live: Live, reloader: Reloader, read: Read, wishes: Wishes, notifier: Notifier
) -> None:
    """Ready, until it is to stop; reloads meanwhile."""
    loop = asyncio.get_running_loop()
    with notifier.watched(loop):
        notifier.ready(_status(live))
        async with _running(
            _reloads(live, reloader, read, wishes, notifier), _watch(live, wishes)
        ):
            await wishes.stop.wait()
        live.parts.life.hurry = wishes.hurry
        notifier.stopping()


async def _reloads(
    live: Live, reloader: Reloader, read: Read, wishes: Wishes, notifier: Notifier
) -> None:
    while True:
        await wishes.reload.wait()
        wishes.reload.clear()
        notifier.reloading()
        good = await reloader.reload(read)
        # Without a word of READY systemd would take the reload for one that goes on.
        mark = "" if good else "; the last reload was rejected, see the log"
        notifier.ready(_status(live) + mark)


async def _watch(live: Live, wishes: Wishes) -> None:
    """Asks for a reload when the file has changed and then not changed for a while: it may be half-written."""
    path = live.parts.config.path
    if path is None:
        return
    loaded = last = stamp(path)
    while True:
        await asyncio.sleep(WATCH_S)
        now = stamp(path)
        if now not in (loaded, None) and now == last:
            loaded = now
            if live.parts.config.server.watch_config:
                wishes.reload.set()
        last = now


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What differs when a file does: also where a link leads elsewhere, as Kubernetes does it."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _status(live: Live) -> str:
    pool = live.parts.pool
    return f"serving {len(pool.by_model)} models of {len(pool.providers)} providers"


@contextlib.asynccontextmanager
async def _running(*work: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each, name=each.__name__) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def not_ready(parts: Parts) -> str | None:
    """Why requests should go elsewhere, or None."""
    if parts.life.starting:
        return "starting"
    if parts.life.stopping:
        return "draining"
    return None if parts.pool.by_model else "no model can be served"


async def stop(live: Live, server: Server, opened: Opened) -> None:
    """Ends the API's port, see above."""
    parts = live.parts
    life, timeouts = parts.life, parts.config.timeouts
    life.stopping = server.last = True
    if not life.hurry:
        await asyncio.sleep(parts.config.server.stop_delay_s)
    opened.close()
    linger = Linger(parts, 0.0 if life.hurry else parts.config.server.linger_s)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeouts.drain_s or None):
            while linger.left(server.connections):
                await asyncio.sleep(DRAIN_POLL_S)
    life.cutting = True
    for request in list(parts.busy.values()):
        request.work.cancel()  # while the connection is open: a stream ends with an event that says why
    await asyncio.sleep(0)
    server.pre_shutdown()
    await server.shutdown(CLOSE_S)
    while parts.busy:  # cancelled by now: each still writes its line in the books
        await asyncio.sleep(DRAIN_POLL_S)


class Linger:
    """Closes connections that have been idle for `linger_s` since the stop, or since their last answer.

    A caller may be sending in the very moment: what is closed then is a request lost to a caller that does
    not try again. aiohttp's own shutdown stops reading at once, which a body on its way would not survive.
    """

    def __init__(self, parts: Parts, linger_s: float) -> None:
        self._parts, self._linger_s = parts, linger_s
        self._loop = asyncio.get_running_loop()
        self._idle_since: dict[object, float] = {}

    def left(self, connections: Collection[Any]) -> bool:
        """Whether anybody is left, after those have been closed whose time is over."""
        now, left, before = self._loop.time(), False, self._idle_since
        self._idle_since = {}
        for connection in connections:
            transport = connection.transport
            busy = connection in self._parts.busy
            if busy or (transport is not None and transport.get_write_buffer_size()):
                left = True
                continue
            since = self._idle_since[connection] = before.get(connection, now)
            if now - since < self._linger_s:
                left = True
            else:
                connection.force_close()
        return left
