"""A server of our own around aiohttp's request parser: answers go to the caller's transport as they are.

No task reads requests or waits for the next one: a request's bytes start its handler (see `transport.run`),
and one sweep closes the connections that have been idle for too long.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any, cast

from lowproxy.core.headers import lines
from lowproxy.core.parsing import dumps
from lowproxy.errors import BadRequestError, LowproxyError
from lowproxy.server import wire
from lowproxy.server.parser import HTTP_1_1, BodyError, MalformedError, make_parser
from lowproxy.server.wire import REASONS, Fields, Handler, Reply
from lowproxy.transport.run import Run, current, park
from lowproxy.transport.sink import Flow

# How long a caller that was refused may go on sending, so that it reads why.
_LINGER_S = 10.0
# A body that has come apart cannot be followed by another request.
_MALFORMED = BadRequestError("not a well-formed HTTP request")
_BODY = "the body does not match its length or its content encoding"


class DirectServer:
    """Owns the connections."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.loop = asyncio.get_running_loop()
        self.connections: set[DirectConnection] = set()
        self.last = False
        self._sweep = self.loop.call_later(wire.KEEPALIVE_S / 8, self._close_idle)

    def __call__(self) -> "DirectConnection":
        """A protocol for one more connection."""
        return DirectConnection(self)

    def pre_shutdown(self) -> None:
        """No further request is taken on any connection."""
        for connection in self.connections:
            connection.closing = True

    async def shutdown(self, timeout: float | None = None) -> None:
        """Closes what is open, after at most `timeout` seconds for who is being answered."""
        self._sweep.cancel()
        if any(each.run is not None for each in self.connections):
            await asyncio.sleep(timeout or 0)
        for connection in list(self.connections):
            connection.force_close()
            connection.cancel()

    def _close_idle(self) -> None:
        oldest = self.loop.time() - wire.KEEPALIVE_S
        for connection in list(self.connections):
            if connection.run is None and connection.idle_since <= oldest:
                connection.abort()
        self._sweep = self.loop.call_later(wire.KEEPALIVE_S / 8, self._close_idle)


class DirectConnection(asyncio.Protocol):
    """One caller's connection: requests are answered one after the other."""

    __slots__ = (
        "_beginning",
        "_full",
        "_parser",
        "_queue",
        "_reading_paused",
        "_request",
        "closing",
        "flow",
        "idle_since",
        "run",
        "server",
        "transport",
        "writing_paused",
    )

    def __init__(self, server: DirectServer) -> None:
        self.server = server
        self._parser = make_parser(self, server.loop)
        self._queue: deque[DirectRequest | None] = deque()  # None: it was malformed
        self._reading_paused = False  # a body is not being read
        self._full = False  # a request waits for the one before it
        self._beginning = False
        self._request: DirectRequest | None = None
        self.run: Run | None = None
        self.closing = False
        self.idle_since = server.loop.time()
        self.transport: asyncio.Transport | None = None
        self.flow: Flow | None = None
        self.writing_paused = False

    # --- what the loop calls -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A caller has come. What is kept for it is bounded."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(wire.WRITE_BUFFER_BYTES)
        self.server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if self.closing and self.run is None:
            return  # refused, and still sending
        try:
            messages, upgraded, _ = self._parser.feed_data(data)
        except MalformedError:
            self._malformed()
            return
        for message, payload in messages:
            self._queue.append(DirectRequest(self, message, payload))
        if upgraded:  # not done here; what follows is in another protocol
            request = self._queue[-1] if self._queue else self._request
            if request is not None:
                request.last = True
        if self.run is None:
            self._begin()
            return
        if self._request is not None and self._request.reading:
            self.run.wake()
        if self._queue and not self._full and self.transport is not None:
            self._full = True
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has left."""
        self.transport = None
        self.closing = True
        self.server.connections.discard(self)
        self.cancel()

    def pause_writing(self) -> None:
        """The caller takes less than the upstream gives."""
        self.writing_paused = True
        if self.flow is not None:
            self.flow.pause()

    def resume_writing(self) -> None:
        """The caller has caught up."""
        self.writing_paused = False
        if self.flow is not None:
            self.flow.resume()

    # --- what a body's reader calls ------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether more may come."""
        return self.transport is not None

    def pause_reading(self) -> None:
        """Enough of the body is here."""
        self._reading_paused = True
        self._parser.pause_reading()
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """The body is wanted again."""
        if not self._reading_paused:
            return
        self._reading_paused = False
        if resume_parser:
            self.data_received(b"")
        if self.transport and not (self._reading_paused or self._full):
            self.transport.resume_reading()

    # --- the end -------------------------------------------------------------------------------

    def force_close(self) -> None:
        """Closes it once what was written has left."""
        self.closing = True
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Closes it now."""
        if self.transport is not None:
            self.transport.abort()

    def cancel(self) -> None:
        """Ends the handler of the request under way, as if the caller had left."""
        if self.run is not None:
            self.run.cancel()

    # --- requests, one after the other ---------------------------------------------------------

    def _begin(self) -> None:
        """Starts the handlers of what is queued, until one has to wait."""
        self._beginning = True
        while self._queue and self.run is None and not self.closing:
            request = self._queue.popleft()
            if request is None:
                self.closing = True
                self._refuse(_MALFORMED)
                break
            self._request = request
            self.run = Run(self.server.handler(request), self._answered)
            self.run.start()
        self._beginning = False
        if self._full and not self._queue and self.transport is not None:
            self._full = False
            if not self._reading_paused:
                self.transport.resume_reading()

    def _answered(self, reply: Reply | None, failure: BaseException | None) -> None:
        request, self._request, self.run = self._request, None, None
        self.idle_since = self.server.loop.time()
        if failure is not None:
            if not isinstance(failure, asyncio.CancelledError | ConnectionError):
                self._refuse(LowproxyError("internal error"))
            self.force_close()
        elif reply is None or not reply.keep_alive or self.closing:
            if request is None or request.complete:
                self.force_close()
            else:
                self._linger()
        elif self._queue and not self._beginning:
            self._begin()

    def _malformed(self) -> None:
        """What came is no HTTP; what was well-formed before it is answered first."""
        if self.run is None and not self._queue:
            self.closing = True
            self._refuse(_MALFORMED)
            return
        self._queue.append(None)
        if self._request is not None and not self._request.complete:
            self._request.broken()
            if self.run is not None:
                self.run.wake()

    def _refuse(self, failure: LowproxyError) -> None:
        """Answers what never became a request; nothing of it is repeated or logged."""
        if self.transport is None or self.transport.is_closing():
            return
        body = dumps(failure.body())
        kind = [("Content-Type", "application/json")]
        length = [("Content-Length", str(len(body)))]
        first = answer_head(failure.status, [*kind, *length], stay=False)
        self.transport.write(first + body)
        self._linger()

    def _linger(self) -> None:
        """Says that nothing more will come, and waits a little for the caller to have read it.

        Closed at once, the caller's kernel would throw away what has arrived there.
        """
        self.closing = True
        self.idle_since = self.server.loop.time() - wire.KEEPALIVE_S + _LINGER_S
        if self.transport is not None and not self.transport.is_closing():
            if self.transport.can_write_eof():
                self.transport.write_eof()
                if self._full or self._reading_paused:
                    self._full = self._reading_paused = False
                    self.transport.resume_reading()
            else:
                self.transport.close()


class DirectRequest:
    """One request of a caller."""

    __slots__ = (
        "_message",
        "_payload",
        "connection",
        "headers",
        "last",
        "method",
        "raw_path",
        "reading",
    )

    def __init__(
        self, connection: DirectConnection, message: Any, payload: Any
    ) -> None:
        self.connection = connection
        self._message = message
        self._payload = payload
        self.method: str = message.method
        self.raw_path: str = message.path
        self.headers: Mapping[str, str] = message.headers
        self.reading = False  # the handler waits for more of the body
        # Whether its answer is the last on the connection.
        self.last: bool = message.should_close or connection.server.last

    @property
    def path(self) -> str:
        """The target's path, decoded."""
        return str(self._message.url.path)

    @property
    def query(self) -> Mapping[str, str]:
        """The target's query, decoded; of a repeated name the first."""
        return cast("Mapping[str, str]", self._message.url.query)

    @property
    def content_length(self) -> int | None:
        """The body's length where the head says it."""
        length = self.headers.get("Content-Length")
        return int(length) if length is not None else None

    @property
    def complete(self) -> bool:
        """Whether the whole body has come in."""
        return bool(self._payload.is_eof())

    @property
    def work(self) -> Run | None:
        """What answers it."""
        return self.connection.run

    async def more(self) -> bytes:
        """The next bytes of the body, decoded; b"" at its end. Raises BadRequestError."""
        payload = self._payload
        try:
            while True:
                # Looked at first: reading may let the rest of the body in.
                ended = payload.is_eof()
                data: bytes = payload.read_nowait()
                if data or ended:
                    return data
                if current() is None:
                    data = await payload.readany()
                    return data
                self.reading = True
                try:
                    await park()
                finally:
                    self.reading = False
        except BodyError:
            raise BadRequestError(_BODY) from None

    def broken(self) -> None:
        """The rest of the body cannot be read."""
        self._payload.set_exception(BodyError(_BODY))

    def say_continue(self) -> None:
        """Answers `Expect: 100-continue`."""
        transport = self.connection.transport
        expects = self.headers.get("Expect", "").lower() == "100-continue"
        if expects and transport is not None:
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def reply(
        self, status: int, fields: Fields, body: bytes, kind: str, *, close: bool
    ) -> Reply:
        """Writes a whole answer."""
        connection = self.connection
        stay = not (close or self.last or connection.closing)
        transport = connection.transport
        if transport is not None:
            text = (
                f"{_opening(status, stay)}Content-Type: {kind}\r\n"
                f"Content-Length: {len(body)}\r\n{lines(fields)}\r\n"
            )
            first = text.encode("utf-8", "surrogateescape")
            transport.write(first if self.method == "HEAD" else first + body)
        return Reply(status, keep_alive=stay)

    def stream(self, status: int, fields: Fields) -> "DirectStream":
        """Begins a streamed answer."""
        # HTTP/1.0 has no chunks: the end of the connection is the end of the answer.
        chunked = self._message.version >= HTTP_1_1
        stay = chunked and not (self.last or self.connection.closing)
        framing = [("Transfer-Encoding", "chunked")] if chunked else []
        first = answer_head(status, [*fields, *framing], stay=stay)
        return DirectStream(
            self.connection, Reply(status, keep_alive=stay), first, chunked=chunked
        )


class DirectStream:
    """The caller's side of a stream: chunk framing, the head in one write with the first bytes."""

    __slots__ = ("_chunked", "_connection", "_head", "_reply", "_transport", "started")

    def __init__(
        self, connection: DirectConnection, reply: Reply, first: bytes, *, chunked: bool
    ) -> None:
        self._connection = connection
        self._transport = connection.transport
        self._chunked = chunked
        self._reply = reply
        self._head = first
        self.started = False

    def attach(self, flow: Flow | None) -> None:
        """Who is paused while the caller does not keep up; None: nobody any more."""
        self._connection.flow = flow
        if flow is not None and self._connection.writing_paused:
            flow.pause()

    def write(self, data: bytes) -> None:
        """Sends bytes of the body, the head before them if it is still here."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return  # the caller has gone; its handler is about to be told
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if not self.started:
            self.started = True
            data = self._head + data
            self._head = b""
        transport.write(data)

    async def finish(self, data: bytes) -> Reply:
        """Sends the last bytes and the end of the body."""
        self.attach(None)
        transport = self._transport
        if transport is None or transport.is_closing():
            return Reply(self._reply.status, keep_alive=False)
        end = b"0\r\n\r\n" if self._chunked else b""
        if data and self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if not self.started:
            self.started = True
            data = self._head + data
        transport.write(data + end)
        return self._reply


def answer_head(status: int, fields: list[tuple[str, str]], *, stay: bool) -> bytes:
    """The head of an answer, blank line included."""
    text = f"{_opening(status, stay)}{lines(fields)}\r\n"
    return text.encode("utf-8", "surrogateescape")


# Status line, date and connection, which the answers of a second share: by status and whether it stays.
_openings: dict[tuple[int, bool], tuple[str, str]] = {}


def _opening(status: int, stay: bool) -> str:
    now = wire.date()
    date, text = _openings.get((status, stay), ("", ""))
    if date != now:
        after = "keep-alive" if stay else "close"
        reason = REASONS.get(status, "")
        text = f"HTTP/1.1 {status} {reason}\r\nDate: {now}\r\nConnection: {after}\r\n"
        _openings[status, stay] = (now, text)
    return text
