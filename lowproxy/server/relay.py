"""Move the bytes of a stream from the upstream to the caller, and end it well whatever happens."""

import asyncio
import time

from lowproxy.core.tail import TailRewriter
from lowproxy.errors import (
    LowproxyError,
    OverloadedError,
    UpstreamCutError,
    UpstreamError,
)
from lowproxy.server import books
from lowproxy.server.exchange import Exchange
from lowproxy.server.parts import Parts
from lowproxy.server.wire import CallerStream, Reply
from lowproxy.transport.dispatch import Stream
from lowproxy.transport.sink import Flow, Short

# How long the finish chunk waits for the usage that follows it.
HOLD_S = 1.0


class _Over(Exception):
    """The upstream has said in band that it failed: what it sends after that is nothing."""


class Relay:
    """The sink of one stream: upstream bytes in, through the tail, out to the caller."""

    __slots__ = ("_begun", "_caller", "_exchange", "_hold", "_holds", "_tail")

    def __init__(
        self, tail: TailRewriter, caller: CallerStream, exchange: Exchange
    ) -> None:
        self._tail = tail
        self._caller = caller
        self._exchange = exchange
        self._begun = False  # the first bytes have left
        self._hold: asyncio.TimerHandle | None = None
        self._holds = 0  # which held chunk the timer is for

    def attach(self, flow: Flow) -> None:
        """The upstream side that is paused while the caller does not keep up."""
        self._caller.attach(flow)

    def write(self, data: bytes) -> None:
        """One read of the upstream; at most one write to the caller."""
        tail = self._tail
        out = tail.feed(data)
        if out:
            if tail.template is not None and self._hold is None and self._begun:
                # On the short way nothing is held back and nothing has failed.
                self._caller.write(out)
                return
            self._send(out)
        if tail.error is not None:
            raise _Over
        if tail.holding or self._hold is not None:
            self._time()

    def short(self) -> Short | None:
        """Open where chunks pass by their likeness and the caller gets chunks of HTTP, too."""
        tail, transport = self._tail, self._caller.chunks_to
        template = tail.template
        if (
            transport is None
            or template is None
            or not template.frames
            or self._hold is not None
            or not (self._begun and tail.between_events)
        ):
            return None
        return template.framed, transport

    def stop(self) -> None:
        """The stream is over: no timer stays, nobody is paused."""
        if self._hold is not None:
            self._hold.cancel()
        self._caller.attach(None)

    def _time(self) -> None:
        """Each held chunk has a second of its own."""
        if self._hold is not None and not (
            self._tail.holding and self._holds == self._tail.holds
        ):
            self._hold.cancel()
            self._hold = None
        if self._tail.holding and self._hold is None:
            self._holds = self._tail.holds
            self._hold = asyncio.get_running_loop().call_later(HOLD_S, self._release)

    def _release(self) -> None:
        self._hold = None
        if out := self._tail.release():
            self._send(out)

    def _send(self, out: bytes) -> None:
        self._begun = True
        if self._exchange.first_byte is None:
            self._exchange.first_byte = time.monotonic()
        self._caller.write(out)


class _Reader:
    """The sink of a stream whose caller has left: only the tail still looks."""

    def __init__(self, tail: TailRewriter) -> None:
        self._tail = tail

    def attach(self, flow: Flow) -> None:
        """Nobody is slow any more."""
        flow.resume()

    def write(self, data: bytes) -> None:
        """Looked at for usage, sent nowhere."""
        self._tail.feed(data)

    def short(self) -> None:
        """Every read is looked at."""


async def relay(
    parts: Parts,
    stream: Stream,
    tail: TailRewriter,
    exchange: Exchange,
    caller: CallerStream,
) -> Reply:
    """Passes the stream on until it ends. A failure on the way becomes its last event.

    When the caller leaves this is cancelled; then the upstream is closed, or read on as configured.
    """
    sink = Relay(tail, caller, exchange)
    exchange.http_status = stream.answer.status
    parts.metrics.open_streams += 1
    kept = False
    try:
        last = await _pump(parts, stream, sink, tail, exchange, stream.first)
        if exchange.first_byte is None:
            exchange.first_byte = time.monotonic()
        return await caller.finish(last)
    except asyncio.CancelledError:
        exchange.outcome = "partial"
        if parts.life.cutting:
            # Not the caller has left but we are: never a silent cut.
            stopping = OverloadedError("this gateway is stopping")
            await caller.finish(tail.fail(stopping.body()))
        else:
            kept = parts.aftermath.keeps
        raise
    finally:
        parts.metrics.open_streams -= 1
        sink.stop()
        if kept:
            exchange.deferred = True
            work = _read_on(parts, stream, tail, exchange)
            parts.aftermath.adopt(work, f"read on {exchange.generation_id}")
        else:
            _note(stream, tail, exchange)


async def _pump(
    parts: Parts,
    stream: Stream,
    sink: Relay | _Reader,
    tail: TailRewriter,
    exchange: Exchange,
    first: bytes = b"",
) -> bytes:
    """Moves the rest of the stream behind `first`; what has to leave after it."""
    failure: LowproxyError
    try:
        if first:
            sink.write(first)
        await stream.answer.pump(sink)
    except _Over:
        _report(parts, stream, well=False)
        return b""
    except UpstreamError as exc:
        failure = exc
    else:
        last = tail.close()
        if not tail.truncated:
            # What cannot be read passes; but where nothing could be read it was no stream.
            broken = tail.error is not None or not (tail.done or tail.pieces)
            _report(parts, stream, well=not broken)
            return last
        name = stream.candidate.endpoint.id
        failure = UpstreamCutError(f"{name}: the stream ended within an event")
    _report(parts, stream, well=False)
    exchange.failed(failure, stream.answer.status)
    return tail.fail(failure.body())


def _report(parts: Parts, stream: Stream, *, well: bool) -> None:
    """How the stream went, for the health of who sent it; a caller who leaves says nothing of that."""
    now, name = time.monotonic(), stream.candidate.id
    total_s = parts.config.timeouts.total_s
    if well:
        parts.health.ended(name, stream.began, now)
    elif not 0 < total_s <= now - stream.began:  # else the limit was ours
        parts.health.failed(name, stream.began, now)


async def _read_on(
    parts: Parts, stream: Stream, tail: TailRewriter, exchange: Exchange
) -> None:
    try:
        await _pump(parts, stream, _Reader(tail), tail, exchange)
    finally:
        exchange.outcome = "partial"
        _note(stream, tail, exchange)
        books.write_down(parts, exchange)


def _note(stream: Stream, tail: TailRewriter, exchange: Exchange) -> None:
    stream.answer.close()
    exchange.usage = tail.known_usage()
    exchange.unreadable_events = tail.unreadable
    if tail.error is not None and exchange.outcome == "ok":
        exchange.outcome, exchange.error = "upstream_error", "upstream_stream_error"
