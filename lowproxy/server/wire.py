"""The caller's side as handlers see it: a request, an answer given whole, an answer streamed.

Two servers stand behind it, by `relay.caller_server`: `direct` writes to the caller's transport itself,
`public` uses documented interfaces of aiohttp alone.
"""

import asyncio
import socket
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from time import time
from typing import Any, Protocol

from lowproxy.transport.sink import Flow

# Longer than the idle time-out of the usual load balancer in front (60 s), so that it closes first.
KEEPALIVE_S = 75.0
# What a caller that does not read may leave with us, beside the kernel's buffers: the least that is not
# nothing, since what one read of the upstream brings comes on top.
WRITE_BUFFER_BYTES = 16 * 1024

# What was written and is not on its way yet, at most, in the kernel: its buffers grow to megabytes otherwise.
UNSENT_BYTES = 64 * 1024
# Linux and macOS have it.
_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", None)

REASONS = {status.value: status.phrase for status in HTTPStatus}

# Pairs, or their lines as sent, from `core.headers.lines` or of parts that were checked by it.
Fields = str | Iterable[tuple[str, str]]


def bound_unsent(transport: asyncio.BaseTransport) -> None:
    """Lets the kernel keep `UNSENT_BYTES` for a caller, beside what is on its way."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX and _NOTSENT_LOWAT:
        sock.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, UNSENT_BYTES)


class Reply:
    """What a handler returns: that an answer has been given. `response` is for the public server."""

    __slots__ = ("keep_alive", "response", "status")

    def __init__(self, status: int, *, keep_alive: bool, response: Any = None) -> None:
        self.status = status
        self.keep_alive = keep_alive
        self.response = response


class CallerStream(Protocol):
    """The caller's side of a stream. The head leaves with the first bytes."""

    started: bool

    @property
    def chunks_to(self) -> asyncio.WriteTransport | None:
        """Where whole chunks of HTTP may be written past it, once it has started; None: nowhere."""

    def attach(self, flow: Flow | None) -> None:
        """Who is paused while the caller does not keep up; None: nobody any more."""

    def write(self, data: bytes) -> None:
        """Sends bytes of the body; never blocks."""

    async def finish(self, data: bytes) -> Reply:
        """Sends the last bytes and the end of the body."""


class Request(Protocol):
    """One request of a caller."""

    @property
    def method(self) -> str:
        """As sent: GET."""

    @property
    def raw_path(self) -> str:
        """The request target as sent."""

    @property
    def path(self) -> str:
        """The target's path, decoded."""

    @property
    def query(self) -> Mapping[str, str]:
        """The target's query, decoded; of a repeated name the first."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Looked up without regard to case."""

    @property
    def content_length(self) -> int | None:
        """The body's length where the head says it."""

    @property
    def complete(self) -> bool:
        """Whether the whole body has come in."""

    def whole(self) -> bytes | None:
        """The body, decoded, where all of it has come in; else None. Raises BadRequestError."""

    async def more(self) -> bytes:
        """The next bytes of the body, decoded; b"" at its end. Raises BadRequestError."""

    @property
    def connection(self) -> object:
        """What it came on."""

    @property
    def work(self) -> Any:
        """What answers it; its `cancel()` ends it as if the caller had left."""

    def reply(
        self, status: int, fields: Fields, body: bytes, kind: str, *, close: bool
    ) -> Reply:
        """Gives a whole answer of the content type `kind`."""

    def stream(self, status: int, fields: Fields) -> CallerStream:
        """Begins a streamed answer."""

    def say_continue(self) -> None:
        """Answers `Expect: 100-continue`, without which curl waits a second before a large body."""


Handler = Callable[[Request], Coroutine[Any, Any, Reply]]


class Server(Protocol):
    """Makes a protocol for every connection."""

    # Once set, every answer tells its caller to come back on another connection.
    last: bool

    @property
    def connections(self) -> Collection[Any]:
        """Those that are open."""

    def __call__(self) -> asyncio.Protocol:
        """A protocol for one more connection."""

    def pre_shutdown(self) -> None:
        """No further request is taken on any connection."""

    async def shutdown(self, timeout: float | None = None) -> None:
        """Closes what is open, after at most `timeout` seconds for who is being answered."""


def send(
    request: Request,
    status: int,
    fields: Fields,
    body: bytes,
    *,
    content_type: str = "application/json",
    close: bool = False,
) -> Reply:
    """Gives a whole answer; what it returns is the handler's result."""
    return request.reply(status, fields, body, content_type, close=close)


class Finished(Exception):
    """An answer has been given deep inside; `reply` is the handler's result."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


_last_date = (0, "")


def date() -> str:
    """The `Date` field's value now; rendered once a second."""
    global _last_date
    now = int(time())
    if _last_date[0] != now:
        _last_date = (now, formatdate(now, usegmt=True))
    return _last_date[1]


def say_continue(
    headers: Mapping[str, str], transport: asyncio.WriteTransport | None
) -> None:
    """Answers `Expect: 100-continue`, without which curl waits a second before a large body."""
    if headers.get("Expect", "").lower() == "100-continue" and transport is not None:
        transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
