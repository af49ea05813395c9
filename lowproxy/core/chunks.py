"""What one event of a chat completion stream says: by byte searches where that is enough, else parsed."""

import re

from lowproxy.core.parsing import loads
from lowproxy.core.sse import payload

_LINE_ENDS = re.compile(rb"[\r\n]+")
# Strings of a delta that the model did not write.
_NO_TEXT = ("role", "id", "type")


def is_plain(event: bytes, at: int) -> bool:
    """Whether byte searches alone show that a chunk has choices, no finish reason and no usage.

    `at` is where to begin: behind a part that is known. A quote inside a JSON string is escaped, so none of
    these needles occurs in the text of an answer. An upstream that spaces its JSON otherwise fails the test
    and is parsed: slower, never wrong.
    """
    return (
        event.find(b'"choices":[{', at) >= 0
        and event.count(b'"finish_reason"', at)
        == event.count(b'"finish_reason":null', at)
        and event.count(b'"usage"', at) == event.count(b'"usage":null', at)
        and event.find(b'"error"', at) < 0
    )


def finishes(choices: object) -> bool:
    """Whether a choice has a finish reason; some upstreams send an empty one until then."""
    return isinstance(choices, list) and any(
        isinstance(choice, dict) and choice.get("finish_reason") for choice in choices
    )


def pieces_and_bytes(choices: object) -> tuple[int, int]:
    """How many deltas carry something (a role alone is nothing), and the bytes of text in all of them."""
    pieces = size = 0
    for choice in choices if isinstance(choices, list) else ():
        delta = choice.get("delta") if isinstance(choice, dict) else None
        if isinstance(delta, dict):
            pieces += any(value for key, value in delta.items() if key != "role")
            size += text_bytes(delta)
    return pieces, size


def line_end(event: bytes) -> bytes:
    """How the lines of an event end: LF, CRLF or CR."""
    if b"\r\n" in event:
        return b"\r\n"
    return b"\r" if event.endswith(b"\r") else b"\n"


def ended(rest: bytes, end: bytes) -> bytes:
    """An event that the stream left without its blank line, with it."""
    if rest.endswith(b"\r"):  # which an LF would make one CRLF
        return rest + (b"\n\r\n" if end == b"\r\n" else b"\r")
    return rest + (end if rest.endswith(b"\n") else end * 2)


def is_whole(rest: bytes) -> bool:
    """Whether what the stream left is a complete event or comment but for its blank line."""
    body = payload(rest)
    if body is None:
        return all(line[:1] in (b"", b":") for line in _LINE_ENDS.split(rest))
    if body.strip() == b"[DONE]":
        return True
    try:
        loads(body)
    except ValueError:
        return False
    return True


def text_bytes(delta: dict[str, object]) -> int:
    """The bytes of text in a delta, or in a whole message: whatever the model may have written."""
    size = 0
    todo: list[object] = [delta]
    while todo:  # not by recursion: an upstream may nest deeper than a stack
        value = todo.pop()
        if isinstance(value, str):
            size += len(value.encode("utf-8", "surrogatepass"))
        elif isinstance(value, list):
            todo += value
        elif isinstance(value, dict):
            todo += [part for key, part in value.items() if key not in _NO_TEXT]
    return size
