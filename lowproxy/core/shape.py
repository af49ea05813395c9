"""What the events of a stream look like, so that one made here looks no different."""

import json
from typing import Any

from lowproxy.core.chunks import line_end
from lowproxy.core.usage import Usage

_NAMES = ("id", "object", "created")


class Shape:
    """The line ends of a stream and the members that its chunks share."""

    __slots__ = ("_like", "_settled", "end")

    def __init__(self) -> None:
        self._like: dict[str, Any] | None = None
        self._settled = False  # learned from a chunk with choices
        self.end = b"\n"  # of a line

    @property
    def known(self) -> bool:
        """Whether a chunk has been seen at all: else this is no stream of chunks."""
        return self._like is not None

    def learn(self, event: bytes, chunk: dict[str, Any], model: bytes) -> None:
        """Takes a chunk for an example; best one that has choices. `model` is JSON."""
        if self._settled:
            return
        # Some send a report with empty ids first: it stands in only where nothing follows.
        self._settled = bool(chunk.get("choices"))
        self.end = line_end(event)
        self._like = {name: chunk[name] for name in _NAMES if name in chunk}
        if "model" in chunk:
            self._like["model"] = json.loads(model)

    def event(self, data: bytes) -> bytes:
        """An event with one line of data."""
        return b"data: " + data + self.end * 2

    def final_chunk(self, usage: Usage | None) -> bytes:
        """A usage chunk; without usage a chunk that adds nothing to the answer."""
        if usage is None:
            last: dict[str, Any] = {
                "choices": [{"index": 0, "delta": {}, "finish_reason": None}]
            }
        else:
            last = {"choices": [], "usage": usage.as_openai()}
        # Not orjson: an id may be what only the lenient reader took.
        made = json.dumps({**(self._like or {}), **last}, separators=(",", ":"))
        return self.event(made.encode())
