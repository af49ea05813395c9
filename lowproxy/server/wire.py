"""How bytes reach the caller over aiohttp's low-level server.

aiohttp reads requests and owns the connection; answers are written to its transport as they are, a head and
its first bytes in one write. This is the one module that knows which of aiohttp's hooks that takes:
`RequestHandler` asks whatever a handler returns for `prepare`, `write_eof` and `keep_alive`, and is told of
a full or drained write buffer through asyncio's own `pause_writing` and `resume_writing`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from email.utils import formatdate
from http import HTTPStatus
from time import time
from typing import Any, cast

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from lowproxy.core.headers import head
from lowproxy.errors import BadRequestError, LowproxyError
from lowproxy.transport.sink import Flow

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# Longer than the idle time-out of the usual load balancer in front (60 s), so that it closes first.
KEEPALIVE_S = 75.0
# What a caller that does not read may leave with us, beside the kernel's buffers.
WRITE_BUFFER_BYTES = 64 * 1024

_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Connection(web.RequestHandler):
    """A caller's connection: aiohttp's, plus a word to the stream that is writing when the caller is slow."""

    __slots__ = ("flow",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.flow: Flow | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bounds what is kept for the caller."""
        super().connection_made(transport)
        cast(asyncio.Transport, transport).set_write_buffer_limits(WRITE_BUFFER_BYTES)

    def pause_writing(self) -> None:
        """The caller takes less than the upstream gives."""
        super().pause_writing()
        if self.flow is not None:
            self.flow.pause()

    def resume_writing(self) -> None:
        """The caller has caught up."""
        super().resume_writing()
        if self.flow is not None:
            self.flow.resume()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A request that is not HTTP, or a bug of ours: nothing of it is repeated or logged here."""
        failure = (
            BadRequestError("not a well-formed HTTP request")
            if status == 400
            else LowproxyError("internal error")
        )
        return send(
            request, failure.status, (), orjson.dumps(failure.body()), close=True
        )


class Server(web.Server):
    """aiohttp's low-level server with our connections; the handler of a caller that leaves is cancelled."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(handler, handler_cancellation=True)

    def __call__(self) -> Connection:
        """A protocol for one more connection."""
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=KEEPALIVE_S,
            access_log=None,
        )


class Sent:
    """Told to aiohttp in place of a response: it has already been written."""

    __slots__ = ("keep_alive", "status")

    def __init__(self, status: int, *, keep_alive: bool) -> None:
        self.status = status
        self.keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Nothing to prepare."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing to end."""


def _sent(status: int, *, keep_alive: bool) -> web.StreamResponse:
    return cast(web.StreamResponse, Sent(status, keep_alive=keep_alive))


def send(
    request: web.BaseRequest,
    status: int,
    fields: Iterable[tuple[str, str]],
    body: bytes,
    *,
    content_type: str = "application/json",
    close: bool = False,
) -> web.StreamResponse:
    """Writes a whole answer; what it returns is the handler's result."""
    stay = request.keep_alive and not close
    framing = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    answer = _head(status, [*framing, *fields], stay=stay)
    if request.transport is not None:
        request.transport.write(answer if request.method == "HEAD" else answer + body)
    return _sent(status, keep_alive=stay)


def send_continue(request: web.BaseRequest) -> None:
    """Answers `Expect: 100-continue`, without which curl waits a second before a large body."""
    if (
        request.headers.get("Expect", "").lower() == "100-continue"
        and request.transport is not None
    ):
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


class Finished(Exception):
    """An answer has been given deep inside; `response` is the handler's result."""

    def __init__(self, response: web.StreamResponse) -> None:
        super().__init__()
        self.response = response


class CallerStream:
    """The caller's side of a stream: chunk framing, the head in one write with the first bytes."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_head",
        "_status",
        "_stay",
        "_transport",
        "started",
    )

    def __init__(
        self, request: web.BaseRequest, status: int, fields: Iterable[tuple[str, str]]
    ) -> None:
        self._connection = cast(Connection, request.protocol)
        self._transport = cast(asyncio.Transport, request.transport)
        # HTTP/1.0 has no chunks: the end of the connection is the end of the answer.
        self._chunked = request.version >= HttpVersion11
        self._stay = request.keep_alive and self._chunked
        self._status = status
        framing = [("Transfer-Encoding", "chunked")] if self._chunked else []
        self._head = _head(status, [*fields, *framing], stay=self._stay)
        self.started = False

    def attach(self, flow: Flow | None) -> None:
        """Who is paused while the caller does not keep up; None: nobody any more."""
        self._connection.flow = flow
        if flow is not None and self._connection.writing_paused:
            flow.pause()

    def write(self, data: bytes) -> None:
        """Sends bytes of the body, the head before them if it is still here."""
        if self._transport.is_closing():
            return  # the caller has gone; its handler is about to be told
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if not self.started:
            self.started = True
            data = self._head + data
        self._transport.write(data)

    async def finish(self, data: bytes) -> web.StreamResponse:
        """Sends the last bytes and the end of the body."""
        self.attach(None)
        if self._transport.is_closing():
            return _sent(self._status, keep_alive=False)
        end = b"0\r\n\r\n" if self._chunked else b""
        if data and self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if not self.started:
            self.started = True
            data = self._head + data
        self._transport.write(data + end)
        return _sent(self._status, keep_alive=self._stay)


def _head(status: int, fields: list[tuple[str, str]], *, stay: bool) -> bytes:
    common = [("Date", _date()), ("Connection", "keep-alive" if stay else "close")]
    return head(f"HTTP/1.1 {status} {_REASONS.get(status, '')}", [*common, *fields])


_last_date = (0, "")


def _date() -> str:
    global _last_date
    now = int(time())
    if _last_date[0] != now:
        _last_date = (now, formatdate(now, usegmt=True))
    return _last_date[1]
