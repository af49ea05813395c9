"""Events are the same wherever the network cuts the stream, and joined they are the stream."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lowproxy.core.parsing import loads
from lowproxy.core.sse import LATE_LF, Cutter, payload
from tests.sse_reader import read_events


def cut(pieces):
    """The events that a cutter gives for these reads, and what it still holds."""
    cutter = Cutter()
    events = [event for piece in pieces for event in cutter.feed(piece)]
    return events, cutter.rest()


def settled(events):
    """The events with a late LF put back to the event whose CRLF it ends."""
    whole: list[bytes] = []
    for event in events:
        if event == LATE_LF and whole and whole[-1].endswith(b"\r"):
            whole[-1] += event
        else:
            whole.append(event)
    return whole


def cuttings(stream):
    """Each two-part split, then pieces of each small size."""
    yield from ([stream[:i], stream[i:]] for i in range(len(stream) + 1))
    for size in range(1, 9):
        yield [stream[i : i + size] for i in range(0, len(stream), size)]


STREAMS = {
    "LF": b'data: {"a":1}\n\ndata: {"a":2}\n\ndata: [DONE]\n\n',
    "CRLF": b'data: {"a":1}\r\n\r\ndata: {"a":2}\r\n\r\ndata: [DONE]\r\n\r\n',
    "CR": b'data: {"a":1}\r\rdata: {"a":2}\r\rdata: [DONE]\r\r',
    "mixed": b"data: 1\n\r\ndata: 2\r\n\ndata: 3\r\rdata: 4\n\rdata: 5\r\n\r",
    "no space": b'data:{"a":1}\n\ndata:[DONE]\n\n',
    "comments": b": hi\n\n:\n\ndata: 1\n\n: x\ndata: 2\n: y\n\n",
    "fields": b"event: a\nid: 7\nretry: 10\ndata: 1\n\nid: 8\n\nevent: b\n\n",
    "several lines": b'data: {"a":\ndata: 1}\n\ndata\ndata:\n\n',
    "byte order mark": b"\xef\xbb\xbfdata: 1\n\ndata: 2\n\n",
    "characters": 'data: "é漢😀"\n\ndata: "é漢😀"\r\n\r\n'.encode(),
    "extra blank lines": b"\n\n\ndata: 1\n\n\n\ndata: 2\n\n\n\r\n\r\r",
    "unfinished": b'data: {"a":1}\n\ndata: {"a"',
    "unfinished line": b'data: {"a":1}\r\n\r\ndata: [DONE]\r\n',
    "LF and then CR": b'data: {"a":1}\n\ndata: {"a":2}\r\n\r\ndata: 3\n\n',
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_the_cut_does_not_show(stream):
    """Each split gives the same events, and nothing is lost or added."""
    whole, rest = cut([stream])

    assert b"".join(whole) + rest == stream
    for pieces in cuttings(stream):
        events, left = cut(pieces)
        assert settled(events) == whole
        assert left == rest


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_events_end_where_the_standard_ends_them(stream):
    """Read one by one, the events say what the standard reads in the stream."""
    events, _ = cut([stream])
    has_data = [event for event in events if payload(event) is not None]

    assert len(has_data) == len(read_events(stream))
    for event, read in zip(has_data, read_events(stream), strict=True):
        [alone] = read_events(event)
        assert alone.data == read.data
        assert alone.type == read.type


LINES = st.sampled_from(
    [b"", b"", b"data: 1", b"data:{}", b": c", b":", b"id: 1", b"data", b"x\xc3\xa9"]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(
    st.lists(st.tuples(LINES, ENDS), max_size=12),
    st.lists(st.integers(0, 60), max_size=8),
)
@example([(b"data: 1", b"\n"), (b"", b"\r\n"), (b"data: 2", b"\n"), (b"", b"\n")], [9])
def test_any_lines_and_any_split(lines, places):
    """Line ends may be mixed and reads may end anywhere: same events, same bytes."""
    stream = b"".join(line + end for line, end in lines)
    places = sorted({place for place in places if place < len(stream)})
    pieces = [
        stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)
    ]

    whole, rest = cut([stream])
    events, left = cut(pieces)

    assert b"".join(events) + left == stream
    assert settled(events) == whole
    assert left == rest
    assert [read_events(e)[0].data for e in whole if payload(e) is not None] == [
        event.data for event in read_events(stream)
    ]


def test_an_event_leaves_with_the_read_that_completes_it():
    """Nothing waits for a later read, also where the last LF of a CRLF is still to come."""
    cutter = Cutter()

    assert cutter.feed(b"data: 1\n") == []
    assert cutter.feed(b"\n") == [b"data: 1\n\n"]
    assert cutter.feed(b"data: 2\r\n\r") == [b"data: 2\r\n\r"]
    assert cutter.feed(b"\ndata: 3\r\n\r\n") == [LATE_LF, b"data: 3\r\n\r\n"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_large_event_in_small_reads(end):
    """Five megabytes in reads of 1000 bytes: each byte is looked at once, not once per read."""
    event = b'data: {"a":"' + b"x" * 5_000_000 + b'"}' + end * 2
    stream = b"data: 1" + end * 2 + event

    events, rest = cut([stream[i : i + 1000] for i in range(0, len(stream), 1000)])

    assert settled(events) == [b"data: 1" + end * 2, event]
    assert rest == b""


def test_what_is_held_can_be_seen_and_taken():
    """The bound is kept by whoever owns the cutter; here is what it needs to know."""
    cutter = Cutter()
    cutter.feed(b"data: 1\n\n: a comment")

    assert cutter.pending == 11
    assert cutter.pending_is_comment
    assert cutter.rest() == b": a comment"
    assert cutter.pending == 0
    assert not cutter.pending_is_comment


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b'data: {"a":1}\n\n', b'      {"a":1}'),
        (b'data:{"a":1}\n\n', b'     {"a":1}'),
        (b'data: {"a":1}\r\n\r\n', b'      {"a":1}'),
        (b'data: {"a":1}\r\r', b'      {"a":1}'),
        (b'\ndata: {"a":1}\n\n', b' \n     {"a":1}'),
        (b'\xef\xbb\xbfdata: {"a":1}\n\n', b'         {"a":1}'),
        (b'event: x\ndata: {"a":1}\nid: {2}\n\n', b'              {"a":1}'),
        (b': {"b":2}\ndata: {"a":1}\n\n', b'               {"a":1}'),
        (b'data: {"a":1}\rid: 5\n\n', b'      {"a":1}'),
        (b'data: {"a":1}\r: {}\n\n', b'      {"a":1}'),
        (b'data: {"a":\ndata: 1}\n\n', b'      {"a":       1}'),
        (b"data: [DONE]\n\n", b"      [DONE]"),
        (b"data:\n\n", b""),
    ],
)
def test_payload(event, data):
    """Everything but the data is blanked out, and every offset stays."""
    body = payload(event)

    assert body is not None
    assert len(body) == len(event)
    assert body.split() == data.split()
    for i, byte in enumerate(body):
        assert byte == event[i] or byte == 0x20
    if data.strip().startswith(b"{"):
        assert loads(body) == json.loads(read_events(event)[0].data)


@pytest.mark.parametrize(
    "event",
    [b": a: data: b\n\n", b"\n\n", LATE_LF, b"event: ping\n\n", b"database: 1\n\n"],
)
def test_no_payload(event):
    """A comment, a blank line, an event of other fields: there is no data."""
    assert payload(event) is None
