"""Read HTTP/1.1 responses: the head, and bodies framed by chunks, by length or by the end of the connection.

Pure and incremental, for the fast way up. Only what a gateway asks of a head is looked for; a head that
contradicts itself about its framing is refused, since a guess would mix two answers (RFC 9112, section 6.3).
"""

import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

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


# A space before the colon is taken away (RFC 9112, section 5.1): the field counts all the same.
_FIELD = re.compile(r"\r\n([^:\s]+)[ \t]*:[ \t]*([^\r\n]*)")
# More digits are no length, and a number of thousands of them Python does not read.
_MAX_LENGTH_DIGITS = 18


class Head:
    """Status, fields, and how the body is framed: its length, CHUNKED or UNTIL_CLOSE."""

    __slots__ = ("fields", "keep_alive", "length", "status")

    def __init__(self, raw: bytes) -> None:
        """`raw` is the head up to and with the CRLF of its last line. Raises Http1Error."""
        line_end = raw.index(b"\r\n")
        if not raw.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")) or not raw[9:12].isdigit():
            raise Http1Error("the answer does not begin with an HTTP/1 status line")
        self.status = int(raw[9:12])
        text = raw[line_end:].decode("latin-1")
        self.fields = Fields(text)
        connection = (self.fields.get("connection") or "").lower()
        self.keep_alive = "close" not in connection and (
            raw[7:8] == b"1" or "keep-alive" in connection
        )
        self.length = self._framing()
        if self.length == UNTIL_CLOSE:
            self.keep_alive = False

    def _framing(self) -> int:
        if self.status < 200 or self.status in (204, 304):
            return 0
        coding = self.fields.get("transfer-encoding")
        if coding is not None:
            if (
                coding.lower() != "chunked"
                or self.fields.get("content-length") is not None
            ):
                raise Http1Error("the answer's transfer coding is not chunked alone")
            return CHUNKED
        length = self.fields.get("content-length")
        if length is None:
            return UNTIL_CLOSE
        if (
            not (length.isascii() and length.isdigit())
            or len(length) > _MAX_LENGTH_DIGITS
        ):
            raise Http1Error("the answer's content length is not one number")
        return int(length)


class Fields(Mapping[str, str]):
    """Header fields by lower-case names; of a field that is repeated the first counts.

    Those that nearly every answer is asked for are read at once, the others when somebody asks.
    """

    __slots__ = ("_every", "_text", "_wanted")

    def __init__(self, text: str) -> None:
        """`text` begins and ends with CRLF. Raises Http1Error where framing is repeated with a difference."""
        self._text = text
        self._every: dict[str, str] | None = None
        self._wanted: dict[str, str] = {}
        lines = text.split("\r\n")
        ends = len(lines) - 1
        if (
            " :" in text
            or "\t:" in text
            or not ends == text.count("\n") == text.count("\r")
        ):
            self._wanted = {n: v for n, v in self._read().items() if n in _WANTED}
            return
        wanted = self._wanted
        for line in lines:
            name, _, value = line.partition(":")
            name = name.lower()
            if name in _WANTED:
                value = value.strip(" \t")
                if wanted.setdefault(name, value) != value and name in _FRAMING:
                    raise Http1Error(
                        f"the answer has several fields {name} that differ"
                    )

    def get(self, name: str, default: Any = None) -> Any:
        """The field's value; `name` in lower case."""
        if name in _WANTED:
            return self._wanted.get(name, default)
        return self._read().get(name, default)

    def __getitem__(self, name: str) -> str:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def _read(self) -> dict[str, str]:
        if self._every is None:
            found = _FIELD.findall(self._text)
            self._every = {
                name.lower(): value.rstrip() for name, value in reversed(found)
            }
            if len(found) != len(self._every):
                _check_repeated(found)
        return self._every


_FRAMING = frozenset(("content-length", "transfer-encoding"))
_WANTED = _FRAMING | {
    "cf-aig-cache-status",
    "connection",
    "content-encoding",
    "content-type",
    "helicone-cache",
    "openai-processing-ms",
    "openai-version",
    "retry-after",
    "x-energy-joules",
    "x-energy-method",
    "x-portkey-cache-status",
    "x-request-id",
}


def _check_repeated(found: list[tuple[str, str]]) -> None:
    for framing in _FRAMING:
        values = {value.strip() for name, value in found if name.lower() == framing}
        if len(values) > 1:
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
