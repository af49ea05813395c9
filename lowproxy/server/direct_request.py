"""One request of a caller at the direct server, and its answers: written to the transport as they are."""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol, cast

from lowproxy.core.headers import lines
from lowproxy.errors import BadRequestError
from lowproxy.server import wire
from lowproxy.server.parser import HTTP_1_1, BodyError
from lowproxy.server.repeated import Body
from lowproxy.server.wire import REASONS, Fields, Reply
from lowproxy.transport.run import Run, current, park
from lowproxy.transport.sink import Flow

_BODY = "the body does not match its length or its content encoding"


class _Read:
    """A body that has been read to its end; the one that it was is let go, with its buffers."""

    length = 0

    def is_eof(self) -> bool:
        """All of it has come."""
        return True

    def read_nowait(self) -> bytes:
        """There is no more."""
        return b""

    def set_exception(self, exc: BaseException) -> None:
        """It is too late for that."""


_READ = _Read()


class Connection(Protocol):
    """What a request needs of what it came on."""

    server: Any  # whose `last` says that answers end their connections

    transport: asyncio.Transport | None
    run: Run | None
    closing: bool
    flow: Flow | None
    writing_paused: bool


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

    def __init__(self, connection: Connection, message: Any, payload: Any) -> None:
        self.connection = connection
        self._message = message
        self._payload = payload
        self.method: str = message.method
        self.raw_path: str = message.path
        self.headers: Mapping[str, str] = message.headers
        self.reading = False  # the handler waits for more of the body
        # Whether its answer is the last on the connection. As it is where another protocol is asked for:
        # none is spoken here, and of what comes in the same read behind it the parser loses a part.
        self.last: bool = (
            message.should_close or message.upgrade or connection.server.last
        )

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
        if isinstance(self._payload, Body):
            return self._payload.length
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

    def whole(self) -> bytes | None:
        """The body, where all of it has come in. Raises BadRequestError."""
        payload = self._payload
        if not payload.is_eof():
            return None
        try:
            data: bytes = payload.read_nowait()
            self._payload = _READ
        except BodyError:
            raise BadRequestError(_BODY) from None
        return data

    async def more(self) -> bytes:
        """The next bytes of the body, decoded; b"" at its end. Raises BadRequestError."""
        payload = self._payload
        try:
            while True:
                # Looked at first: reading may let the rest of the body in.
                ended = payload.is_eof()
                data: bytes = payload.read_nowait()
                if ended:
                    self._payload = _READ
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
        wire.say_continue(self.headers, self.connection.transport)

    def reply(
        self, status: int, fields: Fields, body: bytes, kind: str, *, close: bool
    ) -> Reply:
        """Writes a whole answer."""
        connection = self.connection
        stay = not (close or self.last or connection.closing)
        transport = connection.transport
        known = _openings.get((status, stay, kind))
        if known is None or known[0] is not wire.date():
            known = _open_whole(status, stay, kind)
        _, opening, told = known
        if transport is not None:
            if not isinstance(fields, str):
                fields = lines(fields)
            text = f"{opening}{len(body)}\r\n{fields}\r\n"
            first = text.encode("utf-8", "surrogateescape")
            transport.write(first if self.method == "HEAD" else first + body)
        return told

    def stream(self, status: int, fields: Fields) -> "DirectStream":
        """Begins a streamed answer."""
        # HTTP/1.0 has no chunks: the end of the connection is the end of the answer.
        chunked = self._message.version >= HTTP_1_1
        stay = chunked and not (self.last or self.connection.closing)
        text = lines(fields)
        if chunked:
            text += "Transfer-Encoding: chunked\r\n"
        first = answer_head(status, text, stay=stay)
        return DirectStream(
            self.connection, Reply(status, keep_alive=stay), first, chunked=chunked
        )


class DirectStream:
    """The caller's side of a stream: chunk framing, the head in one write with the first bytes."""

    __slots__ = ("_chunked", "_connection", "_head", "_reply", "_transport", "started")

    def __init__(
        self, connection: Connection, reply: Reply, first: bytes, *, chunked: bool
    ) -> None:
        self._connection = connection
        self._transport = connection.transport
        self._chunked = chunked
        self._reply = reply
        self._head = first
        self.started = False

    @property
    def chunks_to(self) -> asyncio.WriteTransport | None:
        """The transport, as long as it is one of chunks."""
        return self._transport if self._chunked and self.started else None

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
        if not data:
            return  # an empty chunk would be the end of the body
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


def answer_head(status: int, fields: Fields, *, stay: bool) -> bytes:
    """The head of an answer, blank line included."""
    text = f"{_opening(status, stay)}{lines(fields)}\r\n"
    return text.encode("utf-8", "surrogateescape")


def _opening(status: int, stay: bool) -> str:
    """Status line, date and connection."""
    after, reason = "keep-alive" if stay else "close", REASONS.get(status, "")
    return (
        f"HTTP/1.1 {status} {reason}\r\nDate: {wire.date()}\r\nConnection: {after}\r\n"
    )


# What the whole answers of a second share, up to the number of their length; and what is said of them here.
_openings: dict[tuple[int, bool, str], tuple[str, str, Reply]] = {}


def _open_whole(status: int, stay: bool, kind: str) -> tuple[str, str, Reply]:
    opening = f"{_opening(status, stay)}Content-Type: {kind}\r\nContent-Length: "
    made = wire.date(), opening, Reply(status, keep_alive=stay)
    _openings[status, stay, kind] = made
    return made
