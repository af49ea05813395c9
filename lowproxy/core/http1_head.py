"""Read the heads of HTTP/1.1 responses, for the fast way up.

Only what a gateway asks of a head is looked for; a head that contradicts itself about its framing is refused,
since a guess would mix two answers (RFC 9112, section 6.3).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lowproxy.core.headers import DOWN

# Far more than any provider sends; a head that does not end must not make us buffer for ever.
MAX_HEAD_BYTES = 64 * 1024

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


# Lines that were read before, and what was made of them: most of one upstream's lines are the same in every
# answer. Those of a field that keeps changing (a time, a count, the request's name) are not kept: its name is.
_MOST_LINES = 1024
_MOST_LINE_BYTES = 256
_MOST_LINES_OF_A_NAME = 16
_MOST_NAMES = 256
_MOST_NAME_BYTES = 64
# Somebody's secret.
_NOT_KEPT = b"set-cookie"


class _Name:
    """A field's key ("" where nobody wants it), if it is sent on, and how many of its lines are still kept."""

    __slots__ = ("key", "left", "sent")

    def __init__(self, name: bytes) -> None:
        # A space before the colon is taken away (RFC 9112, section 5.1): the field counts all the same.
        name = name.rstrip(b" \t").lower()
        self.key = _WANTED.get(name, "")
        self.sent = self.key in _SENT_KEYS
        self.left = _MOST_LINES_OF_A_NAME if name != _NOT_KEPT else 0


class _Lines(dict[bytes, _Said]):
    """What field lines say."""

    def __missing__(self, line: bytes) -> _Said:
        name, _, value = line.partition(b":")
        if name in _DROPPED:
            return ()
        known = _name_of(name) or _remember(name)
        said = _said(known, value) if known.key else ()
        if known.left:
            if len(line) <= _MOST_LINE_BYTES:
                known.left -= 1
                if len(self) >= _MOST_LINES:
                    self.clear()
                self[line] = said
        elif not said and len(_DROPPED) < _MOST_NAMES and len(name) <= _MOST_NAME_BYTES:
            _DROPPED.add(name)
        return said


def _remember(name: bytes) -> _Name:
    known = _Name(name)
    if len(name) <= _MOST_NAME_BYTES:
        if len(_NAMES) >= _MOST_NAMES:
            _NAMES.clear()
        _NAMES[name] = known
    return known


def _said(known: _Name, value: bytes) -> _Said:
    if 10 in value or 13 in value or 0 in value:  # RFC 9110, section 5.5
        raise Http1Error("a field of the answer has a line break or a zero byte within")
    value = value.strip(b" \t")
    try:
        text = value.decode()
    except UnicodeDecodeError:  # as the servers write it again, to the byte
        text = value.decode("utf-8", "surrogateescape")
    key = known.key
    if known.sent:
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
_NAMES: dict[bytes, _Name] = {}
_name_of = _NAMES.get
_DROPPED: set[bytes] = set()  # the names that are not wanted, and change
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
