"""Requests whose head came before, on the same connection, but for the length of its body.

A caller's library sends the same head with every request. Once aiohttp's parser has read one, a head equal to
it to the byte means the same, so it is not parsed again, and its body is taken as it comes: `Content-Length`
says where it ends. Whatever differs goes to the parser.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, Protocol

from multidict import CIMultiDict, CIMultiDictProxy

from lowproxy.server.gathered import Gathered

# How much of a body is kept for a handler that does not read, twice what the parser is told.
BUFFER_BYTES = 512 * 1024
# Longer numbers are the parser's to refuse.
_DIGITS = 15
_LENGTH = re.compile(rb"(?i)\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r\n")


class Reading(Protocol):
    """The connection a body comes on."""

    def pause_reading(self, *, pause_parser: bool) -> None:
        """Enough of it is here."""

    def resume_reading(self, *, resume_parser: bool) -> None:
        """It is wanted again."""


class Body:
    """A body of known length, given whole. To a handler it is what the parser's payload is."""

    __slots__ = (
        "_connection",
        "_gathered",
        "_left",
        "_paused",
        "_waiter",
        "_wanted",
        "_whole",
        "length",
    )

    def __init__(self, connection: Reading, length: int) -> None:
        self._connection = connection
        self.length = self._left = length
        self._gathered: Gathered | None = None
        self._whole = b""
        self._wanted = self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, data: bytes, start: int = 0) -> bytes:
        """Takes what is its own of `data[start:]`; gives what is behind it."""
        end = start + self._left
        size = len(data)
        gathered = self._gathered
        if gathered is None and end <= size:
            self._left = 0
            self._whole = data[start:end]
            return data[end:] if end < size else b""
        if gathered is None:
            gathered = self._gathered = Gathered()
        self._left = max(end - size, 0)
        gathered.add(memoryview(data)[start:end])
        if not self._left:
            self._whole, self._gathered = gathered.whole(), None
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)
        elif gathered.size > BUFFER_BYTES and not (self._wanted or self._paused):
            self._paused = True
            self._connection.pause_reading(pause_parser=False)
        return data[end:] if end < size else b""

    def is_eof(self) -> bool:
        """Whether all of it has come in."""
        return not self._left

    def read_nowait(self) -> bytes:
        """The body, once; b"" before all of it is here, and afterwards."""
        data, self._whole = self._whole, b""
        self._wanted = True
        if self._paused:
            self._paused = False
            self._connection.resume_reading(resume_parser=False)
        return data

    async def readany(self) -> bytes:
        """The body, once; b"" afterwards."""
        if self._left:
            self.read_nowait()  # which says that it is wanted
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self.read_nowait()


class Repeats:
    """The last head of one connection, while it is known that its parser is between two requests."""

    __slots__ = ("_after", "_before", "_is_new", "_left", "_message", "_payload")

    def __init__(self) -> None:
        self._before = self._after = b""  # the head, around the digits of its length
        self._message: Any = None
        self._is_new = False  # the message still has what is its request's alone
        # What the parser has not been given of the request it is in; -1: it is not known where it is.
        self._left = 0
        self._payload: Any = None

    def take(self, data: bytes, connection: Reading) -> tuple[Any, Body, bytes] | None:
        """Message and body of a request whose head is known, and what is behind it. None: it is to be parsed."""
        before = self._before
        if self._left or not before or not data.startswith(before):
            return None
        start = len(before)
        end = data.find(b"\r", start, start + _DIGITS + 1)
        digits = data[start:end] if end > 0 else b""
        if not digits.isdigit() or not data.startswith(self._after, end):
            return None
        body = Body(connection, int(digits))
        rest = body.feed(data, end + len(self._after))
        if self._is_new:
            # Not before: a connection's first request is often its last, or a long stream.
            self._is_new = False
            fields = CIMultiDict(self._message.headers)
            del fields["Content-Length"]
            self._message = self._message._replace(headers=CIMultiDictProxy(fields))
        return self._message, body, rest

    def parsed(self, data: bytes, pairs: Sequence[tuple[Any, Any]]) -> None:
        """What the parser made of the data."""
        if self._left == 0 and data:
            self._left = self._learned(data, pairs)
        elif pairs:
            self._left = -1
        if self._left < 0 or not data:
            return
        self._left = max(self._left - len(data), -1)
        if self._left == 0 and not self._payload.is_eof():
            self._left = -1
        if self._left <= 0:
            self._payload = None

    def _learned(self, data: bytes, pairs: Sequence[tuple[Any, Any]]) -> int:
        """Keeps the head that the data begins with; the bytes of its request, -1 where that is not certain."""
        end = data.find(b"\r\n\r\n") + 4
        if len(pairs) != 1 or end < 4:
            return -1
        message, self._payload = pairs[0]
        fields, lines = message.headers, len(message.raw_headers) + 2
        is_plain = data.count(b"\n", 0, end) == data.count(b"\r", 0, end) == lines
        if not is_plain or message.chunked or message.upgrade or message.should_close:
            return -1
        if message.compression or "Expect" in fields or "Transfer-Encoding" in fields:
            return -1
        lengths = fields.getall("Content-Length", ())
        if not lengths:
            return end
        found = _LENGTH.search(data, 0, end)
        if found is None or len(lengths) != 1:
            return -1
        self._message, self._is_new = message._replace(raw_headers=()), True
        self._before, self._after = data[: found.start(1)], data[found.end(1) : end]
        return end + int(found[1])
