"""Connections to upstreams: a protocol each, and a pool of those that are idle."""

import asyncio
import contextlib
from collections import deque
from typing import Protocol, cast

import attrs

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
        "idle_since",
        "open",
        "pool",
        "reusable",
        "target",
        "transport",
    )

    def __init__(self, pool: "Pool", target: Target) -> None:
        self.pool = pool
        self.target = target
        self.answer: Receiver | None = None
        self.transport: asyncio.Transport
        self.open = False
        self.reusable = True  # the upstream has not said that it will close
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not one
        self.open = True

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer; anything else means that the two sides disagree."""
        if self.answer is not None:
            self.answer.receive(data)
        else:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The answer, if any, ends here."""
        self.open = False
        self.pool.forget(self)
        answer, self.answer = self.answer, None
        if answer is not None:
            answer.lost(exc)


class Pool:
    """Idle connections by target, last used first; those idle too long are closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle: dict[Target, deque[Connection]] = {}
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None

    def take(self, target: Target) -> Connection | None:
        """An idle connection that is still open."""
        idle = self._idle.get(target)
        oldest = self._loop.time() - KEEPALIVE_S
        while idle:
            connection = idle.pop()
            if (
                connection.open
                and not connection.transport.is_closing()
                and connection.idle_since > oldest
            ):
                return connection
            connection.transport.abort()
        return None

    def added(self, connection: Connection) -> None:
        """A connection was made."""
        self._open.add(connection)

    def put(self, connection: Connection) -> None:
        """The connection has served its answer."""
        connection.idle_since = self._loop.time()
        self._idle.setdefault(connection.target, deque()).append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(KEEPALIVE_S, self._close_idle)

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self._open.discard(connection)
        idle = self._idle.get(connection.target)
        if idle is not None:
            with contextlib.suppress(ValueError):
                idle.remove(connection)

    def close(self) -> None:
        """Ends every connection."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._open):
            connection.transport.abort()

    def _close_idle(self) -> None:
        self._sweep = None
        oldest = self._loop.time() - KEEPALIVE_S
        for target, idle in list(self._idle.items()):
            while idle and idle[0].idle_since <= oldest:
                idle.popleft().transport.abort()
            if not idle:
                del self._idle[target]
        if self._idle:
            self._sweep = self._loop.call_later(KEEPALIVE_S, self._close_idle)
