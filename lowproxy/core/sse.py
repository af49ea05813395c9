"""Cut a byte stream into server-sent events, wherever the network cut it.

An event here is its bytes, blank line included: joining the events gives the stream back. Line ends may be
LF, CRLF or CR (WHATWG HTML, section 9.2.6), also mixed, also split across two reads.
"""

import re

# Two line ends in a row. `?+` is possessive: a CRLF must not be given up and counted as two.
_BLANK = re.compile(rb"(?:\r\n?+|\n){2}")
_LINE = re.compile(rb"[^\r\n]*(?:\r\n?+|\n|$)")
_BOM = b"\xef\xbb\xbf"

# The LF of a CRLF whose CR has already ended an event in an earlier read. It shares that event's fate.
LATE_LF = b"\n"


class Cutter:
    """Holds the unfinished event and gives out the finished ones."""

    __slots__ = ("_after_cr", "_cr", "carry")

    def __init__(self) -> None:
        self.carry = bytearray()
        self._cr = False  # a CR has been seen: line ends are no longer LF alone
        self._after_cr = False

    def feed(self, data: bytes) -> list[bytes]:
        """The events that `data` completes, in order."""
        if self._cr or b"\r" in data:
            return self._feed_any(data)
        if self.carry:
            # Look only at what is new (and one byte before), so that an event of megabytes in many
            # reads stays linear.
            seen = max(0, len(self.carry) - 1)
            self.carry += data
            if self.carry.find(b"\n\n", seen) < 0:
                return []
            data = bytes(self.carry)
            self.carry.clear()
        events = []
        start = 0
        while (i := data.find(b"\n\n", start)) >= 0:
            events.append(data[start : i + 2])
            start = i + 2
        if start < len(data):
            self.carry += data[start:]
        return events

    def _feed_any(self, data: bytes) -> list[bytes]:
        self._cr = True
        events = []
        if self._after_cr:
            self._after_cr = False
            if data.startswith(b"\n"):
                events.append(LATE_LF)
                data = data[1:]
        seen = max(0, len(self.carry) - 3)
        self.carry += data
        start = 0
        while match := _BLANK.search(self.carry, max(start, seen)):
            events.append(bytes(self.carry[start : match.end()]))
            start = match.end()
        del self.carry[:start]
        if start and not self.carry:
            self._after_cr = events[-1].endswith(b"\r")
        return events

    @property
    def pending(self) -> int:
        """Bytes of the unfinished event."""
        return len(self.carry)

    @property
    def pending_is_comment(self) -> bool:
        """Whether the unfinished event begins as a comment."""
        return self.carry.startswith(b":")

    def rest(self) -> bytes:
        """Takes out the unfinished event."""
        rest = bytes(self.carry)
        self.carry.clear()
        return rest


def payload(event: bytes) -> bytes | None:
    """The event with everything but its data blanked out by spaces, offsets unchanged; None without data.

    JSON ignores the spaces, so the payload can be parsed and what was found can be changed in the event
    itself, also when it has other fields or several data lines.
    """
    # One LF-ended line: nearly every event there is.
    if (
        event.startswith(b"data: ")
        and event.find(b"\n") == len(event) - 2
        and b"\r" not in event
    ):
        return b"      " + event[6:]
    return _payload_of_lines(event)


def _payload_of_lines(event: bytes) -> bytes | None:
    parts = []
    found = False
    at = 0
    while at < len(event):
        match = _LINE.match(event, at)
        if match is None or match.end() == at:
            break
        line = match.group()
        skip = len(_BOM) if at == 0 and line.startswith(_BOM) else 0
        text = line.rstrip(b"\r\n")
        field, colon, _ = text[skip:].partition(b":")
        blank = skip + len(field) + len(colon) if field == b"data" else len(text)
        found = found or field == b"data"
        parts.append(b" " * blank + line[blank:])
        at = match.end()
    return b"".join(parts) if found else None
