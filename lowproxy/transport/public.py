"""Upstream connections over aiohttp's public client.

The slower of the two ways up, and the one that stands on documented interfaces only.
"""

import asyncio
import io
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.connector import Connection
from aiohttp.payload import BytesIOPayload

from lowproxy.config import Timeouts, Upstream
from lowproxy.core.headers import DOWN, forwarded, lines
from lowproxy.errors import (
    UpstreamCutError,
    UpstreamError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from lowproxy.providers.provider import UpstreamRequest
from lowproxy.transport.deadline import Deadline
from lowproxy.transport.dial import Way, note_connecting
from lowproxy.transport.run import in_task
from lowproxy.transport.sink import Sink

# Shorter than the idle limit of any provider's load balancer that is known (60 s and up).
KEEPALIVE_S = 50.0


@contextmanager
def upstream_errors(name: str) -> Iterator[None]:
    """Says aiohttp's failures in our own words, and keeps the cause."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as exc:
        raise UpstreamUnreachableError(
            f"{name}: no connection within connect_s"
        ) from exc
    except (aiohttp.ClientConnectorDNSError, UnicodeError) as exc:
        raise UpstreamUnreachableError(
            f"{name}: its host name cannot be resolved"
        ) from exc
    except aiohttp.ClientHttpProxyError as exc:
        raise UpstreamUnreachableError(
            f"{name}: the proxy answered {exc.status}"
        ) from exc
    except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as exc:
        raise UpstreamUnreachableError(
            f"{name}: TLS failed ({type(exc).__name__})"
        ) from exc
    except aiohttp.ClientConnectorError as exc:
        raise UpstreamUnreachableError(
            f"{name}: {os.strerror(exc.errno) if exc.errno else 'no connection'}"
        ) from exc
    except (aiohttp.ClientError, ConnectionError) as exc:
        raise UpstreamCutError(
            f"{name}: the connection ended early ({type(exc).__name__})"
        ) from exc


class PublicAnswer:
    """An answer that aiohttp's ClientResponse reads."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        name: str,
        timeouts: Timeouts,
        started: float,
    ) -> None:
        self.status = response.status
        self.fields: Mapping[str, str] = response.headers
        self.down = lines(forwarded(response.headers, DOWN))
        self.whole: bytes | None = None
        self._response = response
        self._name = name
        self._timeouts = timeouts
        self._started = started
        self._timed_out: UpstreamTimeoutError | None = None
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._deadline: Deadline | None = None

    async def more(self) -> bytes:
        """The next bytes of the body, b"" at its clean end. Raises UpstreamError."""
        try:
            with upstream_errors(self._name):
                return await self._response.content.readany()
        except UpstreamError:
            if self._timed_out is not None:
                raise self._timed_out from None
            raise

    async def pump(self, sink: Sink) -> None:
        """Writes the rest of the body into `sink`, returns at its clean end. Raises UpstreamError."""
        deadline = self._deadline = Deadline(
            asyncio.get_running_loop(),
            idle_s=self._timeouts.idle_s,
            total_s=self._timeouts.total_s,
            started=self._started,
            expired=self._expire,
        )
        sink.attach(self)
        try:
            while data := await self.more():
                deadline.touch()
                sink.write(data)
                await self._may_read.wait()
        finally:
            deadline.cancel()

    def pause(self) -> None:
        """Read no more until `resume`."""
        self._may_read.clear()
        if self._deadline is not None:
            self._deadline.pause()

    def resume(self) -> None:
        """Read on."""
        self._may_read.set()
        if self._deadline is not None:
            self._deadline.resume()

    def close(self) -> None:
        """Closes the connection unless the body has ended."""
        self._response.close()

    def _expire(self, option: str) -> None:
        limit = getattr(self._timeouts, option)
        self._timed_out = UpstreamTimeoutError(
            f"{self._name}: the stream ran into {option} ({limit:g} s)"
        )
        self._response.close()
        self._may_read.set()


class PublicClient:
    """A lean session for kept-alive connections, and one for a fresh connection where an old one was dead."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        fresh: aiohttp.ClientSession,
        timeouts: Timeouts,
        way: Way,
    ) -> None:
        self._session = session
        self._fresh = fresh
        self._timeouts = timeouts
        self._way = way
        self._limit = aiohttp.ClientTimeout(
            total=None, connect=timeouts.connect_s or None
        )

    def limited(self, timeouts: Timeouts) -> "PublicClient":
        """The same connections under other time limits; answers that have begun keep theirs."""
        return PublicClient(self._session, self._fresh, timeouts, self._way)

    async def send(self, request: UpstreamRequest) -> PublicAnswer:
        """Connects, sends, and waits for the head of the answer. Raises UpstreamError."""
        await in_task()
        started = asyncio.get_running_loop().time()
        with upstream_errors(request.to.endpoint_id):
            seen: dict[str, bool] = {}
            try:
                response = await self._post(self._session, request, seen)
            except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError):
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if "reused" not in seen:
                    raise
                # The upstream closed a kept-alive connection as we sent: it has not seen the request.
                response = await self._post(self._fresh, request, {})
        return PublicAnswer(response, request.to.endpoint_id, self._timeouts, started)

    async def _post(
        self,
        session: aiohttp.ClientSession,
        request: UpstreamRequest,
        seen: dict[str, bool],
    ) -> aiohttp.ClientResponse:
        """What becomes of its connection is noted in `seen`."""
        try:
            return await session.post(
                request.to.url,
                data=BytesIOPayload(
                    io.BytesIO(request.body), content_type="application/json"
                ),
                headers=[*request.fixed, *request.extra],
                allow_redirects=False,
                timeout=self._limit,
                trace_request_ctx=seen,
                **_proxied(self._way, request.to.url),
            )
        except asyncio.CancelledError as exc:
            if not seen:
                note_connecting(exc)
            raise


@asynccontextmanager
async def running_client(
    timeouts: Timeouts,
    way: Way = Way(),  # noqa: B008 - it is frozen
) -> AsyncIterator[PublicClient]:
    """The client, from the server's start to its end."""
    async with (
        _session(way, force_close=False) as session,
        _session(way, force_close=True) as fresh,
    ):
        yield PublicClient(session, fresh, timeouts, way)


class _Connector(aiohttp.TCPConnector):
    """Gives out no kept connection on which something came while nobody had asked."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,
    ) -> Connection:
        """As aiohttp's own; what had come would be taken for the next answer."""
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if protocol is None or not protocol.should_close:
                return connection
            connection.close()


def _session(way: Way, *, force_close: bool) -> aiohttp.ClientSession:
    options: dict[str, Any] = (
        {"force_close": True} if force_close else {"keepalive_timeout": KEEPALIVE_S}
    )
    if way.upstream != Upstream():
        options["ssl"] = way.context()
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_note_reuse)
    trace.on_connection_create_end.append(_note_made)
    return aiohttp.ClientSession(
        connector=_Connector(limit=0, **options),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
    )


async def _note_reuse(
    session: aiohttp.ClientSession, context: Any, params: object
) -> None:
    context.trace_request_ctx["reused"] = True


async def _note_made(
    session: aiohttp.ClientSession, context: Any, params: object
) -> None:
    context.trace_request_ctx["made"] = True


def _proxied(way: Way, url: str) -> dict[str, Any]:
    """What makes aiohttp go through the proxy, where there is one on the way."""
    if way.proxy is None:
        return {}
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    proxy = way.proxy_for(parts.hostname or "", port, tls=tls)
    if proxy is None:
        return {}
    told = {"proxy": f"http://{proxy.host}:{proxy.port}"}
    if proxy.authorization is None:
        return told
    fields = {"Proxy-Authorization": proxy.authorization.reveal()}
    return {**told, "proxy_headers": fields}
