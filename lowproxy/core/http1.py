"""Read HTTP/1.1 responses: the head, and bodies framed by chunks, by length or by the end of the connection.

Pure and incremental, for the fast way up. Only what a gateway asks of a head is looked for; a head that
contradicts itself about its framing is refused, since a guess would mix two answers (RFC 9112, section 6.3).
"""

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from lowproxy.core.headers import DOWN

# Far more than any provider sends; a head that does not end must not make us buffer for ever.
MAX_HEAD_BYTES = 64 * 1024
# A chunk-size line with extensions, or a trailer line.
_MAX_LINE_BYTES = 8 * 1024
# What one read may expand to where an upstream compresses although it was asked not to.
_MAX_INFLATED_BYTES = 16 * 1024 * 1024

CHUNKED = -1
UNTIL_CLOSE = -2


class Http1Error(ValueError):
    """The upstream's bytes are not an HTTP/1.1 response; the text quotes none of them."""


# More digits are no length, and a number of thousands of them Python does not read.
_MAX_LENGTH_DIGITS = 18

_FRAMING = frozenset(("content-length", "transfer-encoding"))
# What we look at ourselves.
_READ = {
    name.encode(): name
    for name in (
        *_FRAMING,
        "cf-aig-cache-status",
        "connection",
        "content-encoding",
        "content-type",
        "helicone-cache",
        "retry-after",
        "x-energy-joules",
        "x-energy-method",
        "x-portkey-cache-status",
    )
}
# What the caller gets: the line that is sent is kept, under a key that is no field's name.
_SENT = {name.encode(): f"{name}: " for name in DOWN}
_SENT_KEYS = tuple(_SENT.values())

_WANTED = {**_READ, **_SENT}
_ID, _MS, _VERSION = _SENT_KEYS

# Name or key, and value or line; () of a field that nobody wants.
_Said = tuple[str, str] | tuple[()]


# Lines that were read before, and what was made of them: those of one upstream's answers are nearly all the same.
_MOST_LINES = 1024
_MOST_LINE_BYTES = 256
# Never the same again, and somebody's secret.
_NOT_KEPT = b"set-cookie"


class _Lines(dict[bytes, _Said]):
    """What field lines say."""

    def __missing__(self, line: bytes) -> _Said:
        name, _, value = line.partition(b":")
        # A space before the colon is taken away (RFC 9112, section 5.1): the field counts all the same.
        name = name.rstrip(b" \t").lower()
        key = _WANTED.get(name)
        said = _said(key, value) if key is not None else ()
        if len(line) <= _MOST_LINE_BYTES and name != _NOT_KEPT:
            if len(self) >= _MOST_LINES:
                self.clear()
            self[line] = said
        return said


def _said(key: str, value: bytes) -> _Said:
    if 10 in value or 13 in value:  # RFC 9110, section 5.5
        raise Http1Error("a field of the answer has a line break within")
    # As the servers write it again, to the byte.
    text = value.strip(b" \t").decode("utf-8", "surrogateescape")
    if key in _SENT_KEYS:
        return key, f"{key}{text}\r\n"
    if key == "content-length" and not (
        text.isascii() and text.isdigit() and len(text) <= _MAX_LENGTH_DIGITS
    ):
        return key, ""  # not one number
    return key, text


class _Starts(dict[bytes, tuple[int, bool]]):
    """The status, and whether the connection stays unless a field says otherwise, by status lines."""

    def __missing__(self, line: bytes) -> tuple[int, bool]:
        status = line[9:12]
        is_http = line.startswith((b"HTTP/1.1 ", b"HTTP/1.0 "))
        if not (is_http and len(status) == 3 and status.isdigit()):
            raise Http1Error("the answer does not begin with an HTTP/1 status line")
        made = int(status), line[7:8] == b"1"
        if len(line) <= _MOST_LINE_BYTES and len(self) < _MOST_LINES:
            self[line] = made
        return made


_STARTS = _Starts()
_LINES = _Lines()
_known = _LINES.__getitem__
_new: Any = tuple.__new__  # a third of what `Head(...)` costs


class Head(NamedTuple):
    """What a response's head says.

    `fields` are those that somebody here reads, by lower-case names; `down` those that the caller gets, as
    lines. Of a field that is repeated the first counts. `length` is the body's, CHUNKED or UNTIL_CLOSE.
    """

    status: int
    fields: dict[str, str]
    down: str
    length: int
    keep_alive: bool


def read_head(raw: bytes) -> Head:
    """`raw` is the head up to and with the CRLF of its last line. Raises Http1Error."""
    lines = raw.split(b"\r\n")
    status, stays = _STARTS[lines.pop(0)]
    said: list[Any] = [*filter(None, map(_known, lines))]
    fields: dict[str, str] = dict(said)
    if len(fields) != len(said):
        _check_repeated(said)
        fields = dict(reversed(said))
    if "connection" in fields:
        connection = fields["connection"].lower()
        stays = "close" not in connection and (stays or "keep-alive" in connection)
    get = fields.get
    told = get("content-length")
    if told and status == 200 and "transfer-encoding" not in fields:  # as most
        length = int(told)
    else:
        length = _framing(status, fields)
        stays = stays and length != UNTIL_CLOSE
    down = get(_ID, "") + get(_MS, "") + get(_VERSION, "")
    return _new(Head, (status, fields, down, length, stays))  # type: ignore[no-any-return]


def _framing(status: int, fields: Mapping[str, str]) -> int:
    if status < 200 or status in (204, 304):
        return 0
    length = fields.get("content-length")
    if "transfer-encoding" in fields:
        if fields["transfer-encoding"].lower() != "chunked" or length is not None:
            raise Http1Error("the answer's transfer coding is not chunked alone")
        return CHUNKED
    if length is None:
        return UNTIL_CLOSE
    if not length:
        raise Http1Error("the answer's content length is not one number")
    return int(length)


def _check_repeated(said: list[tuple[str, str]]) -> None:
    for framing in _FRAMING:
        if len({value for name, value in said if name == framing}) > 1:
            raise Http1Error(f"the answer has several fields {framing} that differ")


class Body:
    """Takes a body's bytes as they come, gives its content; `done` at its end, `rest` is what follows it."""

    __slots__ = ("_buffer", "_left", "_trailer", "done", "rest")

    def __init__(self, length: int) -> None:
        """`length` as in `Head.length`."""
        self._left = length  # bytes to come: of the body, or (chunked: CHUNKED at a boundary) of a chunk
        self._buffer = b""
        self._trailer = False
        self.done = length == 0
        self.rest = b""

    def close(self) -> bool:
        """The connection has ended; whether that is where the body ends."""
        return self.done or self._left == UNTIL_CLOSE


class PlainBody(Body):
    """A body by its length, or up to the end of the connection."""

    __slots__ = ()
    between_chunks = False

    def feed(self, data: bytes) -> bytes:
        """The content in `data`."""
        left = self._left
        if left == UNTIL_CLOSE:
            return data
        if len(data) < left:
            self._left = left - len(data)
            return data
        self.done = True
        self.rest = data[left:]
        return data[:left]


# Size lines as they were read before: the chunks of a stream are of few sizes.
_SIZES: dict[bytes, int] = {}
_MOST_SIZES = 4096


class ChunkedBody(Body):
    """A body in chunks (RFC 9112, section 7.1)."""

    __slots__ = ()

    @property
    def between_chunks(self) -> bool:
        """Whether the next byte is the first of a size line."""
        return self._left == CHUNKED and not (self._buffer or self._trailer)

    def feed(self, data: bytes) -> bytes:
        """The content in `data`. Raises Http1Error."""
        if self._left == CHUNKED and not self._buffer and not self._trailer:
            # Nearly always one read brings whole chunks, and mostly one.
            end = data.find(b"\r\n")
            line = data[:end]
            size = _SIZES.get(line)
            if size is None and 0 < end < 16 and line.isalnum():
                size = _size(line)
                if len(_SIZES) < _MOST_SIZES:
                    _SIZES[line] = size
            if size and len(data) == end + size + 4:
                if not data.endswith(b"\r\n"):
                    raise Http1Error("a chunk does not end where its size says")
                return data[end + 2 : -2]
        return self._feed(data)

    def _feed(self, data: bytes) -> bytes:
        data, self._buffer = self._buffer + data, b""
        out = []
        at = 0
        while at < len(data) and not self.done:
            if self._trailer:
                at = self._line(data, at)
            elif self._left > 0:
                piece = data[at : at + self._left]
                out.append(piece)
                at += len(piece)
                self._left -= len(piece)
            elif self._left == 0:  # the CRLF behind a chunk's content
                if len(data) - at < 2:
                    break
                if data[at : at + 2] != b"\r\n":
                    raise Http1Error("a chunk does not end where its size says")
                at += 2
                self._left = CHUNKED
            else:
                at = self._line(data, at)
            if at < 0:
                return b"".join(out)
        if self.done:
            self.rest = data[at:]
        else:
            self._buffer = data[at:]
        return b"".join(out)

    def _line(self, data: bytes, at: int) -> int:
        """Reads a size or trailer line at `at`; gives where it ends, -1 (and keeps it) where it does not yet."""
        end = data.find(b"\r\n", at)
        if end < 0:
            if len(data) - at > _MAX_LINE_BYTES:
                raise Http1Error("a chunk's size line does not end")
            self._buffer = data[at:]
            return -1
        if self._trailer:
            self.done = end == at
        else:
            size = _size(data[at:end].partition(b";")[0].strip())
            self._left, self._trailer = size, size == 0
        return end + 2


class Inflater:
    """Undoes gzip or deflate, for an upstream that compresses unasked. Raises Http1Error."""

    def __init__(self, coding: str) -> None:
        if coding not in ("gzip", "x-gzip", "deflate"):
            raise Http1Error(
                "the answer's content coding was not asked for and is not known"
            )
        self._zlib = zlib.decompressobj(wbits=47 if coding != "deflate" else 15)

    def feed(self, data: bytes) -> bytes:
        """The plain bytes."""
        try:
            out = self._zlib.decompress(data, _MAX_INFLATED_BYTES)
        except zlib.error:
            raise Http1Error("the answer's compression is broken") from None
        if self._zlib.unconsumed_tail:
            raise Http1Error("the answer's compression expands beyond bounds")
        return out

    @property
    def ended(self) -> bool:
        """Whether the compressed data came to its own end."""
        return self._zlib.eof


def body_of(head: Head) -> PlainBody | ChunkedBody:
    """The reader for a head's body."""
    return ChunkedBody(CHUNKED) if head.length == CHUNKED else PlainBody(head.length)


def _size(text: bytes) -> int:
    if not 0 < len(text) <= 16 or text.strip(b"0123456789abcdefABCDEF"):
        raise Http1Error("a chunk's size is not a hexadecimal number")
    return int(text, 16)
