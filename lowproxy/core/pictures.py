"""Leave out of a long body what need not be parsed: the base64 of pictures and sound.

A parser copies every string, and ten megabytes of one keep everybody else waiting for longer than all the
rest of a request takes. What is left out is not looked at here: whether it is well-formed, the provider says.
"""

# Below this a whole parse is soon done.
LONG = 1 << 18
# A run without a quote that is twice as long is found.
STRIDE = 1 << 16
_START = b"data:"


def without_pictures(body: bytes) -> tuple[bytes, int]:
    """JSON text with each long data URL emptied to `""`, and the bytes of the longest; the same object and 0 where there is none.

    A run without a quote or a backslash that follows a quote and begins with `data:` is a whole string in any
    JSON text, unless the quote is an escaped one.
    """
    if len(body) < LONG:
        return body, 0
    kept, at, place, longest = [], 0, 0, 0
    while place < len(body):
        end = body.find(b'"', place, place + STRIDE)
        if end >= 0:
            place += STRIDE
            continue
        begin, end = body.rfind(b'"', at, place), body.find(b'"', place)
        if begin < 1 or end < 0:
            break
        if (
            body.startswith(_START, begin + 1)
            and body[begin - 1] != 0x5C
            and body.find(b"\\", begin, end) < 0
        ):
            kept.append(body[at : begin + 1])
            longest = max(longest, end - begin - 1)
            at = end
        place = end
    if not kept:
        return body, 0
    kept.append(body[at:])
    return b"".join(kept), longest
