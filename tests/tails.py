"""Streams through the tail: how to feed one, and what came out of it."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from lowproxy.core.tail import TailRewriter
from lowproxy.core.usage import Usage
from tests.sse_reader import read_chunks

MODEL = "acme/small"
DONE = b"data: [DONE]\n\n"

_MARK = re.compile(rb',?"lowrouter":\{"usage":[^}]*\}')


def annotate(usage: Usage | None) -> bytes:
    """A `lowrouter` object that shows which usage it was made from."""
    assert usage is not None
    told = [usage.prompt, usage.completion, "counted" if usage.counted else "told"]
    return json.dumps({"usage": told}, separators=(",", ":")).encode()


def tail(*, asked: bool = False, late: bool = False) -> TailRewriter:
    """A tail for one stream, over seven tokens of prompt.

    `asked` is whether the caller wants usage, `late` whether the upstream's reading follows the usage.
    """
    return TailRewriter(
        model=MODEL,
        wants_usage=asked,
        annotate=annotate,
        prompt_tokens=7,
        reading_is_late=late,
    )


def passed(
    pieces: Iterable[bytes] | bytes, *, asked: bool = False, late: bool = False
) -> bytes:
    """What a caller reads of a stream that ends cleanly after these reads."""
    machine = tail(asked=asked, late=late)
    reads = [pieces] if isinstance(pieces, bytes) else pieces
    out = b"".join([machine.feed(piece) for piece in reads])
    return out + machine.close()


def cuttings(stream: bytes) -> Iterator[list[bytes]]:
    """Each split in two, then pieces of one size, from a byte at a time to a dozen."""
    yield from ([stream[:i], stream[i:]] for i in range(1, len(stream)))
    for size in range(1, 13):
        yield [stream[i : i + size] for i in range(0, len(stream), size)]


def chunks(out: bytes) -> list[dict[str, Any]]:
    """The chunks that a caller parses, `[DONE]` left out."""
    return [chunk for chunk in read_chunks(out) if chunk != "[DONE]"]


def marked(out: bytes) -> list[int]:
    """At which of the chunks `lowrouter` is."""
    said = enumerate(chunks(out))
    return [i for i, chunk in said if isinstance(chunk, dict) and "lowrouter" in chunk]


def unmarked(out: bytes) -> bytes:
    """The stream with the annotations cut out of its bytes."""
    return _MARK.sub(b"", out)
