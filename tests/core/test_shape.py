"""An event made here looks like those of its stream."""

import json

import pytest

from lowproxy.core.shape import Shape
from lowproxy.core.usage import Usage

MODEL = b'"acme/small"'
CHUNK = {"id": "c-1", "object": "chat.completion.chunk", "created": 5, "model": "up"}
FULL = {**CHUNK, "choices": [{}], "system_fingerprint": "fp"}


def made(shape, usage=None):
    event = shape.final_chunk(usage)
    assert event.startswith(b"data: ")
    return json.loads(event[6:])


def test_before_anything_was_seen():
    """There is nothing to look like, and no stream of chunks."""
    assert not Shape().known
    assert Shape().event(b"[DONE]") == b"data: [DONE]\n\n"


def test_a_final_chunk():
    """The shared members under our model, and usage or an empty delta."""
    shape = Shape()
    shape.learn(b"data: x\n\n", FULL, MODEL)

    assert shape.known
    shared = {**CHUNK, "model": "acme/small"}
    assert made(shape) == {
        **shared,
        "choices": [{"index": 0, "delta": {}, "finish_reason": None}],
    }
    assert made(shape, Usage(9, 3)) == {
        **shared,
        "choices": [],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }


def test_a_chunk_with_choices_is_the_better_example():
    """A report with empty ids in front counts only where nothing follows."""
    report = {"choices": [], "id": "", "created": 0, "model": ""}
    shape = Shape()
    shape.learn(b"data: x\n\n", report, MODEL)
    assert made(shape)["id"] == ""

    shape.learn(b"data: x\n\n", FULL, MODEL)
    shape.learn(b"data: x\n\n", {**FULL, "id": "c-2"}, MODEL)
    assert made(shape)["id"] == "c-1"


def test_no_member_is_invented():
    """What the stream's chunks do not have, ours do not have."""
    shape = Shape()
    shape.learn(b"data: x\n\n", {"choices": [{}]}, MODEL)

    assert set(made(shape)) == {"choices"}


def test_what_only_a_lenient_reader_takes():
    """A lone surrogate, an integer beyond 64 bits."""
    shape = Shape()
    shape.learn(b"data: x\n\n", {"id": "\ud83d", "created": 2**70}, MODEL)

    assert made(shape)["id"] == "\ud83d"
    assert made(shape)["created"] == 2**70


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends(end):
    """Those of the stream."""
    shape = Shape()
    shape.learn(b"data: x" + end * 2, FULL, MODEL)

    assert shape.end == end
    assert shape.event(b"[DONE]") == b"data: [DONE]" + end * 2
