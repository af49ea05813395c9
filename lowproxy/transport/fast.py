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
from lowproxy.errors import UpstreamCutError
from lowproxy.providers.provider import Destination, UpstreamRequest
from lowproxy.transport.dial import Dialler, Way
from lowproxy.transport.fast_answer import FastAnswer
from lowproxy.transport.pool import Pool, Shelf, Target
from lowproxy.transport.run import wait

# Below this a copy is cheaper than a second buffer in the system call.
_JOIN_BYTES = 16 * 1024


class FastClient:
    """Sends requests over pooled connections."""

    def __init__(self, timeouts: Timeouts, pool: Pool, dialler: Dialler) -> None:
        self._timeouts = timeouts
        self._pool = pool
        self._dialler = dialler
        self._now = asyncio.get_running_loop().time

    def limited(self, timeouts: Timeouts) -> "FastClient":
        """The same connections under other time limits; answers that have begun keep theirs."""
        dialler = self._dialler.limited(timeouts.connect_s)
        return FastClient(timeouts, self._pool, dialler)

    async def send(self, request: UpstreamRequest) -> FastAnswer:
        """Connects, sends, and waits for the head of the answer. Raises UpstreamError."""
        to, extra, pieces = request
        known = to.lead
        if known is None or known[0] is not self._pool:
            known = _lead(to, self._pool)
        _, target, shelf, lead = known
        if extra:
            lead += lines(extra).encode("utf-8", "surrogateescape")
        size = len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))
        start = b"%bContent-Length: %d\r\n\r\n" % (lead, size)
        now = self._now()
        connection = self._pool.take(shelf, now)
        is_kept = connection is not None
        while True:
            if connection is None:
                connection = await self._dialler.connect(target, to.endpoint_id)
                now = self._now()
            answer = connection.answer = FastAnswer(
                connection, to.endpoint_id, self._timeouts, now
            )
            if size < _JOIN_BYTES:
                connection.transport.write(b"".join((start, *pieces)))
            else:
                connection.transport.writelines((start, *pieces))
            try:
                await wait(answer)
                while not answer.status:
                    answer.check()
                    await wait(answer)
            except UpstreamCutError:
                if answer.began or not is_kept:
                    raise
                # The upstream closed a kept-alive connection as we sent: it has not answered this.
                connection, is_kept = None, False
            except BaseException:
                answer.close()
                raise
            else:
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


def _lead(to: Destination, pool: Pool) -> tuple[Pool, Target, Shelf, bytes]:
    """Where to connect, and the head that all requests there share, without its blank line.

    Kept with the destination, for this pool.
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
    target = Target(host, port, tls)
    made = to.lead = (pool, target, pool.shelf(target), lead[:-2])
    return made
