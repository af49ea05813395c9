"""Connections to upstreams: a protocol each, and a pool of those that are idle."""

import asyncio
import contextlib
from collections import deque
from typing import Protocol, cast

import attrs

from lowproxy.transport.deadline import Deadline
from lowproxy.transport.sink import Short

# Shorter than the idle limit of any provider's load balancer that is known (60 s and up).
KEEPALIVE_S = 50.0


class Receiver(Protocol):
    """Who takes the bytes of a connection while it serves an answer."""

    def receive(self, data: bytes) -> None:
        """Bytes from the socket."""

    def lost(self, exc: Exception | None) -> None:
        """The connection is gone; None: it ended in order."""


@attrs.frozen(cache_hash=True)
class Target:
    """Where a URL leads: connections to equal targets are interchangeable."""

    host: str
    port: int
    tls: bool


class Connection(asyncio.Protocol):
    """One connection to an upstream; serves one answer at a time."""

    __slots__ = (
        "answer",
        "deadline",
        "idle_since",
        "open",
        "pool",
        "reusable",
        "shelf",
        "short",
        "transport",
    )

    def __init__(self, pool: "Pool", target: Target) -> None:
        self.pool = pool
        self.shelf = pool.shelf(target)  # where it stands while it is idle
        self.answer: Receiver | None = None
        self.transport: asyncio.Transport
        self.open = False
        self.reusable = True  # the upstream has not said that it will close
        self.idle_since = 0.0
        self.short: Short | None = None  # past the answer, while it pumps
        self.deadline: Deadline  # of the answer that pumps

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not one
        self.open = True

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer; anything else means that the two sides disagree."""
        short = self.short
        if short is not None:
            take, transport = short
            if not transport.is_closing() and (out := take(data)) is not None:
                transport.write(out)
                self.deadline.last = self.pool.now()
                return
            self.short = None
        if self.answer is not None:
            self.answer.receive(data)
        else:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The answer, if any, ends here."""
        self.open = False
        self.short = None
        self.pool.forget(self)
        answer, self.answer = self.answer, None
        if answer is not None:
            answer.lost(exc)


Shelf = deque[Connection]


class Pool:
    """Idle connections by target, last used first; those idle too long are closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.now = loop.time
        self._idle: dict[Target, Shelf] = {}
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None

    def shelf(self, target: Target) -> Shelf:
        """Where connections to a target stand while they are idle; it stays the same."""
        return self._idle.setdefault(target, deque())

    def take(self, shelf: Shelf, now: float) -> Connection | None:
        """An idle connection that is still open. `now` is the loop's time."""
        oldest = now - KEEPALIVE_S
        while shelf:
            connection = shelf.pop()
            if (
                connection.open
                and connection.idle_since > oldest
                and not connection.transport.is_closing()
            ):
                return connection
            connection.transport.abort()
        return None

    def added(self, connection: Connection) -> None:
        """A connection was made."""
        self._open.add(connection)

    def put(self, connection: Connection) -> None:
        """The connection has served its answer."""
        connection.idle_since = self.now()
        connection.shelf.append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(KEEPALIVE_S, self._close_idle)

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self._open.discard(connection)
        with contextlib.suppress(ValueError):
            connection.shelf.remove(connection)

    def close(self) -> None:
        """Ends every connection."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._open):
            connection.transport.abort()

    def _close_idle(self) -> None:
        self._sweep = None
        oldest = self._loop.time() - KEEPALIVE_S
        for shelf in self._idle.values():
            while shelf and shelf[0].idle_since <= oldest:
                shelf.popleft().transport.abort()
        if any(self._idle.values()):
            self._sweep = self._loop.call_later(KEEPALIVE_S, self._close_idle)
