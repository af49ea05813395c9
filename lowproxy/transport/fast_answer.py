"""An upstream's answer whose bytes go from the socket into a sink, in the callback that brought them."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from lowproxy.config import Timeouts
from lowproxy.core.http1 import (
    MAX_HEAD_BYTES,
    ChunkedBody,
    Head,
    Http1Error,
    Inflater,
    PlainBody,
    body_of,
)
from lowproxy.errors import (
    UpstreamCutError,
    UpstreamTimeoutError,
    UpstreamUnreadableError,
)
from lowproxy.transport.deadline import Deadline
from lowproxy.transport.pool import Connection
from lowproxy.transport.run import current, park
from lowproxy.transport.sink import Sink


class FastAnswer:
    """One answer on a connection: pulled by `more` until it is told to `pump`."""

    __slots__ = (
        "_body",
        "_connection",
        "_deadline",
        "_failure",
        "_head",
        "_inflater",
        "_loop",
        "_name",
        "_paused",
        "_ready",
        "_sink",
        "_started",
        "_timeouts",
        "_waiter",
        "began",
        "ended",
        "fields",
        "status",
    )

    def __init__(
        self,
        connection: Connection,
        name: str,
        timeouts: Timeouts,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._connection: Connection | None = connection
        self._name = name
        self._timeouts = timeouts
        self._loop = loop
        self._started = loop.time()
        self._head = b""
        self._body: PlainBody | ChunkedBody | None = None
        self._inflater: Inflater | None = None
        self._ready: list[bytes] = []
        self._waiter: Callable[[], None] | None = None
        self._sink: Sink | None = None
        self._deadline: Deadline | None = None
        self._failure: Exception | None = None
        self._paused = False
        self.began = False  # a byte of the answer has come
        self.ended = False
        self.status = 0
        self.fields: Mapping[str, str] = {}

    # --- what the protocol calls ---------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes from the socket."""
        body = self._body
        try:
            if body is None:
                self._receive_head(data)
                return
            data = body.feed(data)
            if self._inflater is not None:
                data = self._inflater.feed(data)
        except Http1Error as exc:
            self._fail(UpstreamUnreadableError(f"{self._name}: {exc}"))
            return
        sink = self._sink
        if sink is None:
            if data:
                self._ready.append(data)
            if body.done:
                self._end()
            self._wake()
            return
        if self._deadline is not None:
            self._deadline.touch()
        try:
            if data:
                sink.write(data)
        except Exception as exc:  # noqa: BLE001 - a bug of ours belongs to the handler, not to the loop
            self._fail(exc)
            return
        if body.done:
            self._end()
            self._wake()

    def lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._connection = None
        if self.ended or self._failure is not None:
            return
        if exc is None and self._body is not None and self._body.close():
            self._end()
            self._wake()
        else:
            self._fail(self._cut())

    # --- what the rooms call -------------------------------------------------------------------

    async def head(self) -> None:
        """Returns when status and fields are there. Raises UpstreamError."""
        while self._body is None:
            await self._wait()

    async def more(self) -> bytes:
        """The next bytes of the body, b"" at its clean end. Raises UpstreamError."""
        while not self._ready and not self.ended:
            await self._wait()
        ready, self._ready = self._ready, []
        return ready[0] if len(ready) == 1 else b"".join(ready)

    async def pump(self, sink: Sink) -> None:
        """Writes the rest of the body into `sink`, returns at its clean end. Raises UpstreamError."""
        sink.attach(self)
        for data in self._ready:
            sink.write(data)
        self._ready = []
        self._sink = sink
        if not self.ended:
            self._deadline = Deadline(
                self._loop,
                idle_s=self._timeouts.idle_s,
                total_s=self._timeouts.total_s,
                started=self._started,
                expired=self._expire,
            )
            if self._paused:
                self._deadline.pause()
        try:
            while not self.ended:
                await self._wait()
        finally:
            self._sink = None
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    def pause(self) -> None:
        """Read no more until `resume`."""
        if not self._paused:
            self._paused = True
            if self._connection is not None:
                self._connection.transport.pause_reading()
            if self._deadline is not None:
                self._deadline.pause()

    def resume(self) -> None:
        """Read on."""
        if self._paused:
            self._paused = False
            if self._connection is not None:
                self._connection.transport.resume_reading()
            if self._deadline is not None:
                self._deadline.resume()

    def close(self) -> None:
        """Closes the connection unless the body has ended."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.answer = None
            connection.transport.abort()

    # --- helpers -------------------------------------------------------------------------------

    def _receive_head(self, data: bytes) -> None:
        self.began = True
        raw = self._head + data if self._head else data
        end = raw.find(b"\r\n\r\n")
        if end < 0:
            if len(raw) > MAX_HEAD_BYTES:
                raise Http1Error("the answer's head does not end")
            self._head = raw
            return
        parsed = Head(raw[: end + 2])
        rest = raw[end + 4 :]
        self._head = b""
        if (
            parsed.status < 200
        ):  # 100 Continue, 103 Early Hints: the answer is still to come
            if parsed.status == 101:
                raise Http1Error("the answer switches protocols")
            if rest:
                self._receive_head(rest)
            return
        coding = (parsed.fields.get("content-encoding") or "identity").lower()
        if coding != "identity" and parsed.length != 0:
            self._inflater = Inflater(coding)
        self.status = parsed.status
        self.fields = parsed.fields
        connection = self._connection
        if connection is not None and not parsed.keep_alive:
            connection.reusable = False
        self._body = body_of(parsed)
        if rest:
            self.receive(rest)
        elif self._body.done:
            self._end()
        self._wake()

    def _end(self) -> None:
        """The body is complete: the connection may serve another."""
        if self._inflater is not None and not self._inflater.ended:
            self._fail(self._cut())
            return
        self.ended = True
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.answer = None
        if self._paused:
            connection.transport.resume_reading()
        assert self._body is not None, "a body ends after its head"
        if (
            self._body.rest
            or not (connection.reusable and connection.open)
            # Answered before it had read the request: what it has not taken stands before the next one.
            or connection.transport.get_write_buffer_size()
        ):
            connection.transport.abort()
        else:
            connection.pool.put(connection)

    def _fail(self, failure: Exception) -> None:
        self._failure = failure
        self.close()
        self._wake()

    def _cut(self) -> UpstreamCutError:
        return UpstreamCutError(f"{self._name}: the connection ended early")

    def _expire(self, option: str) -> None:
        limit_s = getattr(self._timeouts, option)
        self._fail(
            UpstreamTimeoutError(
                f"{self._name}: the stream ran into {option} ({limit_s:g} s)"
            )
        )

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            waiter()

    def _raise(self) -> None:
        if self._failure is not None and not self._ready:
            raise self._failure

    async def _wait(self) -> None:
        self._raise()
        run = current()
        try:
            if run is not None:
                self._waiter = run.wake
                await park()
            else:
                future = self._loop.create_future()
                self._waiter = partial(_settle, future)
                await future
        finally:
            self._waiter = None
        self._raise()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
