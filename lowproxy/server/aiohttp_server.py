"""The caller's side on documented interfaces of aiohttp alone: what `direct` is held against, and replaced by."""

import asyncio
from collections.abc import Mapping
from logging import Logger
from typing import Any, cast

from aiohttp import HttpVersion11, web
from multidict import CIMultiDict

from lowproxy.core.headers import pairs
from lowproxy.core.parsing import dumps
from lowproxy.errors import BadRequestError, LowproxyError
from lowproxy.server import wire
from lowproxy.server.wire import Fields, Handler, Reply
from lowproxy.transport.sink import Flow

_BODY = "the body does not match its length or its content encoding"


class PublicConnection(web.RequestHandler):
    """A caller's connection: aiohttp's, with errors in our words."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bounds what is kept for the caller."""
        super().connection_made(transport)
        cast("asyncio.Transport", transport).set_write_buffer_limits(
            wire.WRITE_BUFFER_BYTES
        )

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
        response = web.Response(
            status=failure.status,
            body=dumps(failure.body()),
            content_type="application/json",
            headers={"Connection": "close"},
        )
        response.force_close()
        return response


class PublicServer(web.Server):
    """aiohttp's low-level server; the handler of a caller that leaves is cancelled."""

    def __init__(self, handler: Handler) -> None:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            asked = PublicRequest(request, last=self.last or _is_upgrade(request))
            try:
                reply = await handler(asked)
            finally:
                asked.leave()
            if reply.response is None:
                # A head has left, and what should follow cannot: an end that is seen to be none.
                request.protocol.force_close()
                return web.Response()
            return cast("web.StreamResponse", reply.response)

        super().__init__(handle, handler_cancellation=True)
        self.last = False

    def __call__(self) -> PublicConnection:
        """A protocol for one more connection."""
        return PublicConnection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=wire.KEEPALIVE_S,
            access_log=cast("Logger", None),
        )


class PublicRequest:
    """One request of a caller."""

    def __init__(self, request: web.BaseRequest, *, last: bool) -> None:
        self._request = request
        self._last = last  # the answer is the last on the connection
        self.method = request.method
        self.raw_path = request.raw_path
        self.headers: Mapping[str, str] = request.headers
        self._stream: PublicStream | None = None

    @property
    def path(self) -> str:
        """The target's path, decoded."""
        return self._request.path

    @property
    def query(self) -> Mapping[str, str]:
        """The target's query, decoded; of a repeated name the first."""
        return self._request.query

    @property
    def content_length(self) -> int | None:
        """The body's length where the head says it."""
        return self._request.content_length

    @property
    def complete(self) -> bool:
        """Whether the whole body has come in."""
        return self._request.content.is_eof()

    @property
    def connection(self) -> object:
        """What it came on."""
        return self._request.protocol

    @property
    def work(self) -> Any:
        """What answers it."""
        return self._request.task

    def whole(self) -> bytes | None:
        """The body, where all of it has come in. Raises BadRequestError."""
        content = self._request.content
        if not content.is_eof():
            return None
        try:
            return content.read_nowait()
        except web.RequestPayloadError:
            raise BadRequestError(_BODY) from None

    async def more(self) -> bytes:
        """The next bytes of the body, decoded; b"" at its end. Raises BadRequestError."""
        try:
            return await self._request.content.readany()
        except web.RequestPayloadError:
            raise BadRequestError(_BODY) from None

    def say_continue(self) -> None:
        """Answers `Expect: 100-continue`."""
        wire.say_continue(self.headers, self._request.transport)

    def reply(
        self, status: int, fields: Fields, body: bytes, kind: str, *, close: bool
    ) -> Reply:
        """A whole answer, which aiohttp writes when the handler returns."""
        close = close or self._last
        stay = self._request.keep_alive and not close
        response = web.Response(
            status=status,
            body=body,
            headers=_fields(fields, stay=stay, kind=kind),
        )
        if close:
            response.force_close()
        return Reply(status, keep_alive=not close, response=response)

    def stream(self, status: int, fields: Fields) -> "PublicStream":
        """Begins a streamed answer."""
        request = self._request
        stay = request.keep_alive and request.version >= HttpVersion11
        stay = stay and not self._last
        response = web.StreamResponse(status=status, headers=_fields(fields, stay=stay))
        if self._last:
            response.force_close()
        self._stream = PublicStream(request, response)
        return self._stream

    def leave(self) -> None:
        """The handler is done: nothing more is written."""
        if self._stream is not None:
            self._stream.leave()


class PublicStream:
    """A queue of bytes and the task that writes them."""

    def __init__(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        self._request = request
        self._response = response
        self._waiting: list[bytes] = []
        self._size = 0
        self._flow: Flow | None = None
        self._wanted = asyncio.Event()
        self._ended = False
        self._writer: asyncio.Task[None] | None = None
        self.started = False
        self.chunks_to = None  # aiohttp frames what it is given

    def attach(self, flow: Flow | None) -> None:
        """Who is paused while the caller does not keep up; None: nobody any more."""
        self._flow = flow
        if flow is not None and self._size > wire.WRITE_BUFFER_BYTES:
            flow.pause()

    def write(self, data: bytes) -> None:
        """Hands bytes to the writer."""
        self.started = True
        self._waiting.append(data)
        self._size += len(data)
        if self._flow is not None and self._size > wire.WRITE_BUFFER_BYTES:
            self._flow.pause()
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="caller's stream")
        self._wanted.set()

    async def finish(self, data: bytes) -> Reply:
        """Hands over the last bytes, and waits until all are written."""
        self.attach(None)
        self._ended = True
        self.write(data)
        assert self._writer is not None, "it was started by the write"
        await self._writer
        return Reply(self._response.status, keep_alive=True, response=self._response)

    def leave(self) -> None:
        """Ends the writer."""
        if self._writer is not None:
            self._writer.cancel()

    async def _write(self) -> None:
        try:
            await self._response.prepare(self._request)
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                data, self._waiting = b"".join(self._waiting), []
                if data:
                    await self._response.write(data)
                self._size -= len(data)
                if self._flow is not None and not self._waiting:
                    self._flow.resume()
                if self._ended and not self._waiting:
                    await self._response.write_eof()
                    return
        except ConnectionError:
            self._waiting = []  # the caller has gone; its handler is about to be told


def _is_upgrade(request: web.BaseRequest) -> bool:
    """Whether another protocol is asked for; of what comes behind it aiohttp may lose a part."""
    fields = request.headers
    return request.method == "CONNECT" or (
        "Upgrade" in fields and "upgrade" in fields.get("Connection", "").lower()
    )


def _fields(fields: Fields, *, stay: bool, kind: str | None = None) -> CIMultiDict[str]:
    each = pairs(fields) if isinstance(fields, str) else fields
    first = [] if kind is None else [("Content-Type", kind)]
    after = "keep-alive" if stay else "close"
    return CIMultiDict([*first, *each, ("Connection", after)])
