"""An upstream's answer whose bytes go from the socket into a sink, in the callback that brought them."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from lowproxy.config import Timeouts
from lowproxy.core.http1 import ChunkedBody, Inflater, PlainBody, body_of
from lowproxy.core.http1_head import MAX_HEAD_BYTES, Http1Error, read_head
from lowproxy.errors import (
    UpstreamCutError,
    UpstreamTimeoutError,
    UpstreamUnreadableError,
)
from lowproxy.transport.deadline import Deadline
from lowproxy.transport.pool import Connection
from lowproxy.transport.run import Wakeable, wait
from lowproxy.transport.sink import Sink

# Heads before the answer's own (100 Continue, 103 Early Hints); each is read within the one before.
MAX_INTERIM = 32


class FastAnswer:
    """One answer on a connection: pulled by `more` until it is told to `pump`.

    What an answer mostly leaves as it is stands here, once for all of them.
    """

    status = 0  # until the head has come
    fields: Mapping[str, str] = MappingProxyType({})
    down = ""
    began = False  # a byte of the answer has come
    ended = False
    whole: bytes | None = None
    waiter: Wakeable | None = None
    _head = b""
    _interim = 0  # heads that announced another
    _body: PlainBody | ChunkedBody | None = (
        None  # None: the head is to come, or all came at once
    )
    _inflater: Inflater | None = None
    _ready: list[bytes] | None = None
    _sink: Sink | None = None
    _deadline: Deadline | None = None
    _failure: Exception | None = None
    _paused = False

    def __init__(
        self, connection: Connection, name: str, timeouts: Timeouts, started: float
    ) -> None:
        """`started` is when the request began, on the loop's clock."""
        self._connection: Connection | None = connection
        self._name = name
        self._timeouts = timeouts
        self._started = started

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
                if self._ready is None:
                    self._ready = []
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
        elif self._inflater is None and body.between_chunks:
            self._shorten(sink)

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

    def check(self) -> None:
        """Raises the UpstreamError that it ended with, unless there is still something before it."""
        if self._failure is not None and not self._ready:
            raise self._failure

    async def more(self) -> bytes:
        """The next bytes of the body, b"" at its clean end. Raises UpstreamError."""
        while not self._ready and not self.ended:
            await self._wait()
        ready, self._ready = self._ready or (), None
        return ready[0] if len(ready) == 1 else b"".join(ready)

    async def pump(self, sink: Sink) -> None:
        """Writes the rest of the body into `sink`, returns at its clean end. Raises UpstreamError."""
        sink.attach(self)
        for data in self._ready or ():
            sink.write(data)
        self._ready = None
        self._sink = sink
        if not self.ended:
            self._deadline = Deadline(
                asyncio.get_running_loop(),
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
            if self._connection is not None:
                self._connection.short = None
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
            connection.answer = connection.short = None
            connection.transport.abort()

    # --- helpers -------------------------------------------------------------------------------

    def _receive_head(self, data: bytes) -> None:
        self.began = True
        if self._head:
            data, self._head = self._head + data, b""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > MAX_HEAD_BYTES:
                raise Http1Error("the answer's head does not end")
            self._head = data
            return
        head = read_head(data[: end + 2])
        status, fields, down, length, stays = head
        rest = data[end + 4 :]
        if status < 200:  # 100 Continue, 103 Early Hints: the answer is still to come
            if status == 101:
                raise Http1Error("the answer switches protocols")
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise Http1Error("the answer does not begin, whatever is announced")
            if rest:
                self._receive_head(rest)
            return
        if length and "content-encoding" in fields:
            coding = fields["content-encoding"].lower()
            if coding not in ("", "identity"):
                self._inflater = Inflater(coding)
        self.status, self.fields, self.down = status, fields, down
        if not stays and self._connection is not None:
            self._connection.reusable = False
        if length == len(rest) and self._inflater is None:
            # All of it in one read, as nearly every answer that is no stream.
            if rest:
                self.whole, self._ready = rest, [rest]
            self.ended = True
            self._let_go(b"")
        else:
            self._body = body_of(head)
            if rest:
                self.receive(rest)
        if self.waiter is not None:
            self.waiter.wake()

    def _shorten(self, sink: Sink) -> None:
        """The next reads may go past this answer, if the sink knows them by their likeness."""
        connection, short = self._connection, sink.short()
        if short is not None and connection is not None and self._deadline is not None:
            connection.short, connection.deadline = short, self._deadline

    def _end(self) -> None:
        """The body is complete: the connection may serve another."""
        if self._inflater is not None and not self._inflater.ended:
            self._fail(self._cut())
            return
        self.ended = True
        self._let_go(self._body.rest if self._body is not None else b"")

    def _let_go(self, rest: bytes) -> None:
        """Gives the connection back, unless `rest` or something else speaks against it."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.answer = None
        if self._paused:
            connection.transport.resume_reading()
        if (
            rest
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
        if self.waiter is not None:
            self.waiter.wake()

    async def _wait(self) -> None:
        self.check()
        await wait(self)
        self.check()
