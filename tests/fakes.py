"""A fake upstream that puts every byte on the wire as a test says; a settable clock.

It is a raw-socket HTTP/1.1 server, so that a test decides where a read ends, what is
malformed and when the connection breaks. Every wait ends after LIMIT_S: what hangs fails.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Self

import attrs

from tests.callers import LIMIT_S, RawCaller, Reply
from tests.shapes import (
    default_stream,
    openai_chunk,
    openai_completion,
    sse,
    usage,
    usage_chunk,
)
from tests.wire import JSON_TYPE, SSE_TYPE, Line, Seen, Wire

__all__ = [
    "LIMIT_S",
    "Answer",
    "Clock",
    "FakeUpstream",
    "RawCaller",
    "Reply",
    "Seen",
    "Tally",
    "Wire",
    "deaf_port",
    "default_stream",
    "openai_chunk",
    "openai_completion",
    "refusing_port",
    "sse",
    "usage",
    "usage_chunk",
]


class Clock:
    """A clock that stands still until it is told; in seconds."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Tally:
    """Counts what happened, and lets a test wait for it."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Event()

    def hit(self) -> None:
        self.count += 1
        self._changed.set()

    async def wait(self, count: int = 1) -> None:
        """Returns once it has happened `count` times in all."""
        async with asyncio.timeout(LIMIT_S):
            while self.count < count:
                self._changed.clear()
                await self._changed.wait()


@attrs.frozen
class Answer:
    """A scripted answer: a `body` with its length, or chunked `pieces`.

    An event among the pieces holds what follows until it is set; `cut` resets the
    connection instead of ending the answer.
    """

    body: bytes = b""
    status: int = 200
    headers: Sequence[tuple[str, str]] = (JSON_TYPE,)
    pieces: Sequence[bytes | asyncio.Event] | None = None
    cut: bool = False

    @classmethod
    def of(cls, obj: object, status: int = 200, **headers: str) -> Self:
        """A JSON answer; `Retry_After="1"` is the header field Retry-After."""
        fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return cls(json.dumps(obj).encode(), status, [JSON_TYPE, *fields])

    @classmethod
    def stream(cls, *pieces: bytes | asyncio.Event, cut: bool = False) -> Self:
        """An event stream, one HTTP chunk per piece."""
        return cls(headers=(SSE_TYPE,), pieces=pieces, cut=cut)

    async def play(self, wire: Wire) -> None:
        """Put it on the wire."""
        if self.pieces is None:
            await wire.head(self.status, self.headers, length=len(self.body))
            if not self.cut:
                await wire.raw(self.body, last=True)
        else:
            await wire.head(self.status, self.headers, chunked=True)
            for piece in self.pieces:
                await (
                    wire.chunk(piece) if isinstance(piece, bytes) else wire.hold(piece)
                )
        await (wire.cut() if self.cut else wire.end())


Script = Callable[[Seen, Wire], Awaitable[None]]


class FakeUpstream:
    """An upstream on a port of its own: `async with FakeUpstream() as up`.

    Each request is answered by `on_request` if there is one, else by the next of
    `script`, else by an ordinary completion or stream, as its body asks. A script that
    fails makes the test fail as the upstream closes; a peer that leaves does not.
    """

    def __init__(self, *, sndbuf: int | None = None) -> None:
        self.script: list[Answer] = []
        self.on_request: Script | None = None
        self.seen: list[Seen] = []
        self.requests = Tally()
        self.connections = Tally()  # ever accepted
        self.closed = Tally()
        self.aborted = Tally()  # the peer left before its answer had ended
        self.base_url = ""
        self.port = 0
        self._sndbuf = sndbuf
        self._failures: list[Exception] = []
        self._serving: dict[asyncio.Task[None], Line] = {}

    @property
    def open_connections(self) -> int:
        """Connections that neither side has closed."""
        return self.connections.count - self.closed.count

    async def all_closed(self) -> None:
        """Returns when no connection is open any more."""
        await self.closed.wait(self.connections.count)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        serving = dict(self._serving)
        for task, line in serving.items():
            task.cancel()
            line.shut()  # a task that never ran has no `finally`
        await asyncio.gather(*serving, return_exceptions=True)
        await self._server.wait_closed()
        if self._failures:
            raise self._failures[0]

    def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # Not a coroutine: Python 3.11 logs an error when its task is cancelled.
        self.connections.hit()
        line = Line(reader, writer, self.aborted.hit, self._sndbuf)
        task = asyncio.create_task(self._serve(line), name="fake upstream")
        self._serving[task] = line
        task.add_done_callback(self._serving.pop)

    async def _serve(self, line: Line) -> None:
        try:
            while (seen := await line.request()) is not None:
                await self._answer(seen, line)
        except ConnectionError:
            pass
        except Exception as failure:  # noqa: BLE001 - raised as the upstream closes
            self._failures.append(failure)
        finally:
            self.closed.hit()
            await line.close()

    async def _answer(self, seen: Seen, line: Line) -> None:
        line.answering = True
        self.seen.append(seen)
        self.requests.hit()
        wire = Wire(line)
        if self.on_request is not None:
            await self.on_request(seen, wire)
        elif self.script:
            await self.script.pop(0).play(wire)
        else:
            await _usual(seen).play(wire)
        line.answering = False


def _usual(seen: Seen) -> Answer:
    if seen.method == "POST" and seen.json().get("stream"):
        return Answer.stream(*default_stream())
    return Answer.of(openai_completion())


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """A port of 127.0.0.1 that is taken and refuses every connection."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port of 127.0.0.1 where a connection is neither made nor refused: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
