"""Upstream connections whose bytes go straight from the socket into a sink.

Once an answer pumps, `data_received` runs into the caller's transport: no task wakes, nothing is queued.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from aiohttp import DefaultResolver

from lowproxy.config import Timeouts
from lowproxy.core.headers import head, lines
from lowproxy.errors import (
    UpstreamCutError,
)
from lowproxy.providers.provider import Destination, UpstreamRequest
from lowproxy.transport.dial import Dialler, Way
from lowproxy.transport.fast_answer import FastAnswer
from lowproxy.transport.pool import Connection, Pool, Target

# Below this a copy is cheaper than a second buffer in the system call.
_JOIN_BYTES = 16 * 1024


class FastClient:
    """Sends requests over pooled connections."""

    def __init__(self, timeouts: Timeouts, pool: Pool, dialler: Dialler) -> None:
        self._timeouts = timeouts
        self._pool = pool
        self._dialler = dialler
        self._loop = asyncio.get_running_loop()

    def limited(self, timeouts: Timeouts) -> "FastClient":
        """The same connections under other time limits; answers that have begun keep theirs."""
        dialler = self._dialler.limited(timeouts.connect_s)
        return FastClient(timeouts, self._pool, dialler)

    async def send(self, request: UpstreamRequest) -> FastAnswer:
        """Connects, sends, and waits for the head of the answer. Raises UpstreamError."""
        to, extra, pieces = request
        target, lead = to.lead or _lead(to)
        if extra:
            lead += lines(extra).encode("utf-8", "surrogateescape")
        size = len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))
        start = b"%bContent-Length: %d\r\n\r\n" % (lead, size)
        connection = self._pool.take(target)
        if connection is not None:
            answer = self._write(connection, request, start)
            try:
                await answer.head()
            except UpstreamCutError:
                if answer.began:
                    raise
                # The upstream closed a kept-alive connection as we sent: it has not answered this.
            except BaseException:
                answer.close()
                raise
            else:
                return answer
        connection = await self._dialler.connect(target, to.endpoint_id)
        answer = self._write(connection, request, start)
        try:
            await answer.head()
        except BaseException:
            answer.close()
            raise
        return answer

    def _write(
        self, connection: Connection, request: UpstreamRequest, start: bytes
    ) -> FastAnswer:
        answer = connection.answer = FastAnswer(
            connection, request.to.endpoint_id, self._timeouts, self._loop
        )
        if len(request.pieces) == 1 and len(request.pieces[0]) < _JOIN_BYTES:
            connection.transport.write(start + request.pieces[0])
        else:
            connection.transport.writelines((start, *request.pieces))
        return answer


@contextlib.asynccontextmanager
async def running_client(
    timeouts: Timeouts,
    way: Way = Way(),  # noqa: B008 - it is frozen
) -> AsyncIterator[FastClient]:
    """The client, from the server's start to its end."""
    resolver = DefaultResolver()
    pool = Pool(asyncio.get_running_loop())
    try:
        dialler = Dialler(resolver, pool, timeouts.connect_s, way)
        yield FastClient(timeouts, pool, dialler)
    finally:
        pool.close()
        await resolver.close()


def _lead(to: Destination) -> tuple[Target, bytes]:
    """Where to connect, and the head that all requests there share, without its blank line.

    Kept with the destination.
    """
    parts = urlsplit(to.url)
    tls = parts.scheme == "https"
    default = 443 if tls else 80
    host = parts.hostname or ""
    port = parts.port or default
    shown = f"[{host}]" if ":" in host else host
    if port != default:
        shown = f"{shown}:{port}"
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    lead = head(f"POST {path} HTTP/1.1", [("Host", shown), *to.fixed])
    made = to.lead = Target(host, port, tls), lead[:-2]
    return made
