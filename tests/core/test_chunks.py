"""What byte searches say of an event is what a parser says; the rest is read as it is meant."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core import chunks
from lowproxy.core.usage import Usage
from tests.sse_reader import read_events

VALUES: st.SearchStrategy[object] = st.sampled_from(
    [None, "", "stop", "usage", "error", '"usage":', '"error"', 0, [], {}, {"error": 1}]
)
DELTAS = st.dictionaries(st.sampled_from(["content", "usage", "error"]), VALUES)


@st.composite
def objects(draw):
    choice = {"index": 0, "delta": draw(DELTAS)}
    if draw(st.booleans()):
        choice["finish_reason"] = draw(VALUES)
    members = {"choices": draw(st.sampled_from([[choice], [choice, choice], [], None]))}
    for name in ("usage", "error", "finish_reason", "x"):
        if draw(st.booleans()):
            members[name] = draw(VALUES)
    if members.get("usage") == {}:
        members["usage"] = {"prompt_tokens": 1, "completion_tokens": 1}
    return members


@given(objects(), st.booleans())
def test_plain_is_never_wrong(members, spaced):
    """An event that goes the short way has choices, no finish reason, no usage and no error."""
    separators = (", ", ": ") if spaced else (",", ":")
    lead = b'data: {"model":"m",'
    rest = json.dumps(members, separators=separators).encode()[1:] + b"\n\n"

    if chunks.is_plain(lead + rest, len(lead)):
        assert members["choices"]
        assert not chunks.finishes(members["choices"])
        assert Usage.read(members.get("usage")) is None
        assert not members.get("error")


def test_ordinary_chunks_are_plain():
    """With usage null, without it, with a quote of the protocol in the text."""
    head = b'data: {"id":"1","model":"m"'
    for tail in (
        b',"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n',
        b',"choices":[{"index":0,"delta":{"content":"a"}}],"usage":null}\n\n',
        b',"choices":[{"delta":{"content":"\\"usage\\": \\"finish_reason\\""}}]}\n\n',
    ):
        assert chunks.is_plain(head + tail, len(head))
    for tail in (
        b',"choices":[]}\n\n',
        b',"choices": [{"delta":{}}]}\n\n',
        b',"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
        b',"choices":[{"finish_reason":null},{"finish_reason" : "stop"}]}\n\n',
        b',"choices":[{"delta":{}}],"usage":null,"usage":{"prompt_tokens":1}}\n\n',
        b',"choices":[{"delta":{}}],"error":{}}\n\n',
    ):
        assert not chunks.is_plain(head + tail, len(head))


@pytest.mark.parametrize(
    ("choices", "pieces", "size"),
    [
        ([{"delta": {"content": "Hello"}}], 1, 5),
        ([{"delta": {"role": "assistant", "content": ""}}], 0, 0),
        ([{"delta": {"role": "assistant", "content": "é"}}], 1, 2),
        ([{"delta": {"content": "a"}}, {"delta": {"content": "bc"}}], 2, 3),
        ([{"delta": {"reasoning_content": "hm", "content": None}}], 1, 2),
        ([{"delta": {}}], 0, 0),
        ([{"delta": {"content": "\ud83d"}}], 1, 3),
        ([{"delta": {"tool_calls": [{"id": "x", "function": {"name": "ab"}}]}}], 1, 2),
        ([None, 5, {"delta": None}, {"delta": "x"}, {}], 0, 0),
        ("text", 0, 0),
        (None, 0, 0),
    ],
)
def test_pieces_and_bytes(choices, pieces, size):
    """Deltas that carry something, and the text in them."""
    assert chunks.pieces_and_bytes(choices) == (pieces, size)


@pytest.mark.parametrize(
    ("choices", "finishes"),
    [
        ([{"finish_reason": "stop"}], True),
        ([{"finish_reason": None}, {"finish_reason": "length"}], True),
        ([{"finish_reason": ""}], False),
        ([{"finish_reason": None}], False),
        ([{}, None, "finish_reason"], False),
        ({"finish_reason": "stop"}, False),
    ],
)
def test_finishes(choices, finishes):
    """Any choice with a reason; null and the empty string are none."""
    assert chunks.finishes(choices) is finishes


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends(end):
    """An event shows how its stream's lines end, however much of the last is still to come."""
    event = b"data: {}" + end * 2
    assert chunks.line_end(event) == end
    assert (
        chunks.line_end(event.removesuffix(b"\n") if end == b"\r\n" else event) == end
    )
    for missing in range(1, 2 * len(end) + 1):
        rest = event[:-missing]
        [read] = read_events(chunks.ended(rest, end))
        assert read.data == "{}"


@pytest.mark.parametrize(
    ("rest", "whole"),
    [
        (b'data: {"a":1}', True),
        (b"data: [DONE]\r\n", True),
        (b": comment", True),
        (b"\n", True),
        (b": a\n\r: b\r", True),
        (b'data: {"a":', False),
        (b"data: [DONE", False),
        (b"dat", False),
        (b"id: 4\n", False),
        (b": a\nevent: x", False),
    ],
)
def test_is_whole(rest, whole):
    """Only a blank line may be missing."""
    assert chunks.is_whole(rest) is whole
