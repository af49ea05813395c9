"""What the chunks of one stream have in common, learned from one of them.

Between two chunks of an answer mostly one string differs, or two where the upstream pads them to hide their
lengths. A read that is one such chunk, and that is equal to the learned one everywhere else, needs no
searching: what was known of the learned one holds for it.
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


# Gives what becomes of a read; None where it is not one chunk of the learned form.
Apply = Callable[[bytes], bytes | None]


def learn(event: bytes, span: tuple[int, int] | None, model: bytes) -> Apply | None:
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
    return _unpadded(*made[:4]) if padding is None else _padded(*made)


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
