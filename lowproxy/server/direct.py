"""A server of our own around aiohttp's request parser: answers go to the caller's transport as they are.

No task reads requests or waits for the next one: a request's bytes start its handler (see `transport.run`),
and one sweep closes the connections that have been idle for too long.
"""

import asyncio
from typing import cast

from lowproxy.core.parsing import dumps
from lowproxy.errors import BadRequestError, LowproxyError
from lowproxy.server import wire
from lowproxy.server.direct_request import DirectRequest, answer_head
from lowproxy.server.parser import MalformedError, make_parser
from lowproxy.server.repeated import Body, Repeats
from lowproxy.server.wire import Handler, Reply
from lowproxy.transport.run import Run
from lowproxy.transport.sink import Flow

# How long a caller that was refused may go on sending, so that it reads why.
_LINGER_S = 10.0
# A read may bring thousands of requests: after as many everybody else has a turn.
_AT_ONCE = 16
# A body that has come apart cannot be followed by another request.
_MALFORMED = BadRequestError("not a well-formed HTTP request")


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
        "_body",
        "_full",
        "_parser",
        "_queue",
        "_reading_paused",
        "_repeats",
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
        self._repeats = Repeats()
        self._body: Body | None = None  # what comes is its rest
        # None: it was malformed. A list: an empty deque takes 760 bytes.
        self._queue: list[DirectRequest | None] = []
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
        wire.bound_unsent(transport)
        self.server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if self.closing and self.run is None:
            return  # refused, and still sending
        while data:
            if self._body is None:
                taken = self._repeats.take(data, self)
                if taken is None:
                    self._parse(data)
                    break
                message, body, data = taken
                self._queue.append(DirectRequest(self, message, body))
            else:
                body = self._body
                data = body.feed(data)
                if not body.is_eof():
                    return  # which nobody can do anything with yet
            self._body = None if body.is_eof() else body
        self._go_on()

    def _parse(self, data: bytes) -> None:
        try:
            messages, _, _ = self._parser.feed_data(data)
        except MalformedError:
            self._malformed()
            return
        self._repeats.parsed(data, messages)
        for message, payload in messages:
            # Without the fields as bytes: as long as a stream lives they would, too.
            lean = message._replace(raw_headers=())
            self._queue.append(DirectRequest(self, lean, payload))

    def _go_on(self) -> None:
        """Something has come in."""
        if self.run is None:
            self._begin()
            return
        if self._request is not None and self._request.reading:
            self.run.wake()
        if self._queue:
            self._wait_behind()

    def _wait_behind(self) -> None:
        """Reads no further requests until the queue is empty."""
        if not self._full and self.transport is not None:
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

    def pause_reading(self, *, pause_parser: bool = True) -> None:
        """Enough of the body is here."""
        self._reading_paused = True
        if pause_parser:
            self._parser.pause_reading()
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """The body is wanted again."""
        if not self._reading_paused:
            return
        self._reading_paused = False
        if resume_parser:
            self._parse(b"")
            self._go_on()
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
        for _ in range(_AT_ONCE):
            if not self._queue or self.run is not None or self.closing:
                break
            request = self._queue.pop(0)
            if request is None:
                self.closing = True
                self._refuse(_MALFORMED)
                break
            self._request = request
            self.run = Run(self.server.handler(request), self._answered)
            self.run.start()
        else:
            if self._queue:
                self._wait_behind()
                self.server.loop.call_soon(self._begin)
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
