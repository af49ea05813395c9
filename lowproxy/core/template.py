"""What the chunks of one stream have in common, learned from one of them.

Between two chunks of an answer mostly one string differs, or two where the upstream pads them to hide their
lengths. An event that is one such chunk, and that is equal to the learned one everywhere else, needs no
searching: what was known of the learned one holds for it. So does a read of the socket that is one such
event in one chunk of HTTP.
"""

import re
from collections.abc import Callable

# The strings that vary. Inside a string the quotes would be escaped, so only a member is found.
_TEXT = re.compile(
    rb'"(?:content|reasoning_content|reasoning|arguments|text)"[ ]?:[ ]?"'
)
_PADDING = re.compile(rb'"obfuscation"[ ]?:[ ]?"')
# The rest of a string up to its closing quote, on one line.
string_rest = re.compile(rb'[^"\\\r\n]*+(?:\\[^\r\n][^"\\\r\n]*+)*+').match

# The size lines of HTTP's chunks up to one kilobyte, as nearly everybody writes them; and by the length of a
# read that is one whole chunk, the size line that it has to begin with.
SIZE_LINES = [b"%x\r\n" % size for size in range(1024)]
_LINE_OF = [b""] * 1031
for _line in SIZE_LINES[1:]:
    _LINE_OF[len(_line) + int(_line, 16) + 2] = _line

# Gives what becomes of an event; None where it is not one chunk of the learned form.
Apply = Callable[[bytes], bytes | None]


class Template:
    """What one chunk of one choice that is passed on as it is but for its model has in common with others.

    `apply` is for events, `framed` for reads that still have the framing of HTTP's chunks; `pieces` and
    `size` tell how many events `framed` has passed, and how many bytes they had. `frames` says whether it can
    take any.
    """

    __slots__ = (
        "_grows",
        "_last",
        "_last_size",
        "_lead",
        "_middle",
        "_new_lead",
        "apply",
        "frames",
        "pieces",
        "size",
    )

    def __init__(self, apply: Apply, parts: tuple[bytes, ...] | None) -> None:
        """`parts`: what stands before the text, its replacement, between text and padding (b"" without
        padding), behind it. None: `framed` takes nothing.
        """
        self.apply = apply
        self.pieces = self.size = 0
        self.frames = parts is not None
        # What ends a text is never a letter: nothing is like that.
        nothing = b"\n", b"", b"", b"x"
        self._lead, self._new_lead, self._middle, last = parts or nothing
        self._last = last + b"\r\n"
        self._last_size = -len(self._last)
        self._grows = len(self._new_lead) - len(self._lead)

    def framed(self, read: bytes) -> bytes | None:
        """What becomes of a read of the socket, framed anew; None where it has to be looked at."""
        size = len(read)
        line = _LINE_OF[size] if size < len(_LINE_OF) else b""
        start = line + self._lead
        at = len(start)
        if not line or read[:at] != start:
            return None
        end = string_rest(read, at).end()  # type: ignore[union-attr] # matches nothing at the least
        if end == at:
            return None
        middle = self._middle
        if middle:
            pad, after = end + len(middle), self._last_size
            # Padding of anything but letters and digits is left to `apply`.
            if (
                read[after:] != self._last
                or read[end:pad] != middle
                or not read[pad:after].isalnum()
            ):
                return None
        elif read[end:] != self._last:
            return None
        size -= len(line) + 2
        grown = size + self._grows
        if grown >= len(SIZE_LINES):
            return None
        self.pieces += 1
        self.size += size
        return SIZE_LINES[grown] + self._new_lead + read[at:]


def learn(event: bytes, span: tuple[int, int] | None, model: bytes) -> Template | None:
    """The template of a chunk of one choice that is passed on as it is but for its model.

    `span` is where the model's value stands, and `model` what takes its place, as JSON. None: no template.
    """
    found = _TEXT.search(event)
    if found is None or b"\r" in event or not event.endswith(b"\n\n"):
        return None
    at = found.end()
    end = string_rest(event, at).end()  # type: ignore[union-attr]
    parts = [(0, at)]
    padding = _PADDING.search(event, end)
    if padding is None:
        parts += [(end, len(event)), (len(event), len(event))]
    else:
        after = string_rest(event, padding.end()).end()  # type: ignore[union-attr]
        parts += [(end, padding.end()), (after, len(event))]
    made: list[bytes] = []
    replaced = span is None
    for start, stop in parts:
        old = new = event[start:stop]
        if span is not None and start <= span[0] and span[1] <= stop and not replaced:
            new = old[: span[0] - start] + model + old[span[1] - start :]
            replaced = True
        made += old, new
    if not replaced:
        return None
    lead, new_lead, middle, new_middle, last, new_last = made
    framed = None
    if middle == new_middle and last == new_last:  # the model stands before the text
        framed = (lead, new_lead) + (
            (b"", middle) if padding is None else (middle, last)
        )
    if padding is None:
        return Template(_unpadded(*made[:4]), framed)
    return Template(_padded(*made), framed)


def _unpadded(lead: bytes, new_lead: bytes, middle: bytes, new_middle: bytes) -> Apply:
    """`lead` + text + `middle`, and what the two become."""
    at, size = len(lead), len(middle)
    keeps_middle = new_middle == middle

    def apply(data: bytes) -> bytes | None:
        if not data.startswith(lead):
            return None
        end = string_rest(data, at).end()  # type: ignore[union-attr] # matches nothing at the least
        if end == at or len(data) != end + size or not data.endswith(middle):
            return None
        if keeps_middle:
            return new_lead + data[at:]
        return b"%b%b%b" % (new_lead, data[at:end], new_middle)

    return apply


def _padded(
    lead: bytes,
    new_lead: bytes,
    middle: bytes,
    new_middle: bytes,
    last: bytes,
    new_last: bytes,
) -> Apply:
    """`lead` + text + `middle` + padding + `last`, and what the three become."""
    at, size = len(lead), len(middle)
    keeps_rest = new_last == last and new_middle == middle

    def apply(data: bytes) -> bytes | None:
        if not data.startswith(lead):
            return None
        end = string_rest(data, at).end()  # type: ignore[union-attr]
        if end == at or not data.startswith(middle, end):
            return None
        pad = end + size
        after = string_rest(data, pad).end()  # type: ignore[union-attr]
        if data[after:] != last:
            return None
        if keeps_rest:
            return new_lead + data[at:]
        text, padding = data[at:end], data[pad:after]
        return b"".join((new_lead, text, new_middle, padding, new_last))

    return apply
