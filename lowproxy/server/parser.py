"""aiohttp's request parser, used without its server: the one module that leans on what it does not document.

What is assumed is tried out when this is imported; `WHY_NOT` says what did not hold, and then the `public`
server is used in place of the `direct` one. The assumptions:

- `HttpRequestParser(protocol, loop, limit, ...)` takes the bounds named in `make_parser`;
- `feed_data(bytes)` gives (message, payload) pairs, whether the protocol switches, and the rest;
- a message has `method, path, version, headers, raw_headers, should_close, compression, upgrade, chunked, url`,
  and `_replace` for some of them;
- a payload has `is_eof, read_nowait, set_exception`, is at its end as soon as the body is, and slows its
  protocol through `pause_reading()` and `resume_reading(resume_parser=...)`, `connected` and `_reading_paused`;
- `pause_reading()` of the parser makes it stop within one read, `feed_data(b"")` makes it go on.
"""

import asyncio
from typing import Any

from aiohttp import HttpVersion11, web
from aiohttp.http import HttpProcessingError, HttpRequestParser

MalformedError = HttpProcessingError
BodyError = web.RequestPayloadError
HTTP_1_1 = HttpVersion11

# How much of a body is kept for a handler that does not read, and the bounds of a head, as aiohttp's server has them.
_BUFFER_BYTES = 256 * 1024
_LINE_BYTES = 8190
_FIELDS = 128


def make_parser(protocol: Any, loop: asyncio.AbstractEventLoop) -> Any:
    """A parser whose payloads slow `protocol` down."""
    return HttpRequestParser(
        protocol,
        loop,
        _BUFFER_BYTES,
        max_line_size=_LINE_BYTES,
        max_field_size=_LINE_BYTES,
        max_headers=_FIELDS,
        payload_exception=BodyError,
        auto_decompress=True,
    )


class _Probe:
    """A protocol that counts."""

    connected = True
    _reading_paused = False
    paused = 0

    def pause_reading(self) -> None:
        self.paused += 1
        self._reading_paused = True

    def resume_reading(self, resume_parser: bool = True) -> None:
        self._reading_paused = False


def _try_out(loop: asyncio.AbstractEventLoop) -> str | None:
    """Says which assumption does not hold; None: all do."""
    probe = _Probe()
    parser = make_parser(probe, loop)
    head = b"POST /a?b=c HTTP/1.1\r\nHost: h\r\nX-Y: z\r\nContent-Length: 4\r\n\r\n"
    pairs, upgraded, rest = parser.feed_data(head + b"ab")
    ((message, payload),) = pairs
    read = (message.method, message.path, message.version, message.headers["x-y"])
    if read != ("POST", "/a?b=c", HTTP_1_1, "z") or upgraded or rest:
        return "the parser reads a request differently"
    if message.should_close or dict(message.url.query) != {"b": "c"}:
        return "the message's members differ"
    odd = (message.compression, message.upgrade, message.chunked)
    bare = message._replace(headers={}, raw_headers=())
    if any(odd) or len(message.raw_headers) != 3 or bare.headers or bare.raw_headers:
        return "the message's members differ"
    if payload.is_eof() or payload.read_nowait() != b"ab" or payload.read_nowait():
        return "the payload's members differ"
    if parser.feed_data(b"cd")[0] or not payload.is_eof():
        return "a body's end is not seen"
    if payload.read_nowait() != b"cd":
        return "a body's last bytes are not seen"
    long = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n"
    parser.feed_data(long + bytes(3 * _BUFFER_BYTES))
    if probe.paused != 1:
        return "a body does not slow its connection down"
    try:
        make_parser(probe, loop).feed_data(b"canary\r\n\r\n")
    except MalformedError:
        return None
    return "a malformed request is not refused"


def _why_not() -> str | None:
    loop = asyncio.new_event_loop()
    try:
        return _try_out(loop)
    except Exception as exc:  # noqa: BLE001 - whatever another version does
        return f"{type(exc).__name__}: {exc}"
    finally:
        loop.close()


WHY_NOT = _why_not()
