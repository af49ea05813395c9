"""Move the bytes of a stream from the upstream to the caller, and end it well whatever happens."""

import asyncio
import time
from collections.abc import Callable

from aiohttp import web

from lowproxy.core.tail import TailRewriter
from lowproxy.errors import UpstreamCutError, UpstreamError
from lowproxy.server.exchange import Exchange
from lowproxy.server.wire import CallerStream
from lowproxy.transport.dispatch import Stream
from lowproxy.transport.sink import Flow

# How long the finish chunk waits for the usage that follows it.
HOLD_S = 1.0


class Relay:
    """The sink of one stream: upstream bytes in, through the tail, out to the caller."""

    __slots__ = ("_caller", "_first", "_hold", "_tail")

    def __init__(
        self, tail: TailRewriter, caller: CallerStream, first: Callable[[], None]
    ) -> None:
        self._tail = tail
        self._caller = caller
        self._first = first  # told once, when the head has left
        self._hold: asyncio.TimerHandle | None = None

    def attach(self, flow: Flow) -> None:
        """The upstream side that is paused while the caller does not keep up."""
        self._caller.attach(flow)

    def write(self, data: bytes) -> None:
        """One read of the upstream; at most one write to the caller."""
        out = self._tail.feed(data)
        if out:
            if not self._caller.started:
                self._first()
            self._caller.write(out)
        if self._tail.holding and self._hold is None:
            self._hold = asyncio.get_running_loop().call_later(HOLD_S, self._release)

    def stop(self) -> None:
        """The stream is over: no timer stays, nobody is paused."""
        if self._hold is not None:
            self._hold.cancel()

    def _release(self) -> None:
        self._hold = None
        if out := self._tail.release():
            self._caller.write(out)


async def relay(
    request: web.BaseRequest,
    stream: Stream,
    tail: TailRewriter,
    exchange: Exchange,
    fields: list[tuple[str, str]],
) -> web.StreamResponse:
    """Passes the stream on until it ends. A failure on the way becomes its last event.

    When the caller leaves, this is cancelled: the upstream is closed and what was seen is noted.
    """
    caller = CallerStream(request, stream.answer.status, fields)
    exchange.http_status = stream.answer.status

    def first() -> None:
        exchange.first_byte = time.monotonic()

    sink = Relay(tail, caller, first)
    try:
        try:
            sink.write(stream.first)
            await stream.answer.pump(sink)
        except UpstreamError as failure:
            exchange.failed(failure, stream.answer.status)
            return caller.finish(tail.fail(failure.body()))
        last = tail.close()
        if tail.truncated:
            cut = UpstreamCutError(
                f"{stream.candidate.endpoint.id}: the stream ended within an event"
            )
            exchange.failed(cut, stream.answer.status)
            last = tail.fail(cut.body())
        return caller.finish(last)
    except asyncio.CancelledError:
        exchange.outcome = "partial"
        raise
    finally:
        sink.stop()
        caller.attach(None)
        stream.answer.close()
        exchange.usage = tail.known_usage()
        exchange.unreadable_events = tail.unreadable
        if tail.error is not None and exchange.outcome == "ok":
            exchange.outcome, exchange.error = "upstream_error", "upstream_stream_error"
