"""Read the bodies of HTTP/1.1 responses: framed by chunks, by length or by the end of the connection.

Pure and incremental, for the fast way up.
"""

import zlib

from lowproxy.core.http1_head import CHUNKED, UNTIL_CLOSE, Head, Http1Error

# A chunk-size line with extensions, or a trailer line.
_MAX_LINE_BYTES = 8 * 1024
# What one read may expand to where an upstream compresses although it was asked not to.
_MAX_INFLATED_BYTES = 16 * 1024 * 1024


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
