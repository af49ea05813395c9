"""The contract's table of streams, row by row, in real bytes."""

import json

import pytest

from lowproxy.core import tail as tail_module
from lowproxy.core.usage import Usage
from tests.shapes import openai_chunk, sse, usage, usage_chunk
from tests.sse_reader import read_chunks
from tests.tails import DONE, MODEL, chunks, cuttings, marked, passed, tail, unmarked

UPSTREAM = b'"model":"upstream-small"'
OURS = b'"model":"acme/small"'


def event(obj):
    return sse(obj, done=False)


def renamed(*events):
    return b"".join(events).replace(UPSTREAM, OURS)


ROLE = event(openai_chunk(delta={"role": "assistant", "content": ""}))
HELLO = event(openai_chunk("Hello"))
THERE = event(openai_chunk(" there"))
STOP = event(openai_chunk(finish_reason="stop"))
STOP_USAGE = event(openai_chunk(finish_reason="stop", usage=usage()))
USAGE = event(usage_chunk())
TEXT = ROLE + HELLO + THERE
ERROR = {"error": {"message": "gone", "type": "upstream_error", "code": "upstream_cut"}}


# --- one test per row --------------------------------------------------------------------------


def test_row_caller_asked_for_usage():
    """The usage chunk is the final chunk and carries `lowrouter`; the finish chunk does not wait."""
    machine = tail(asked=True)

    assert machine.feed(TEXT + STOP) == renamed(TEXT + STOP)
    final = machine.feed(USAGE)
    assert chunks(final) == [
        {**usage_chunk(model=MODEL), "lowrouter": {"usage": [9, 3, "told"]}}
    ]
    assert unmarked(final) == renamed(USAGE)
    assert machine.feed(DONE) == DONE
    assert machine.close() == b""


def test_row_caller_did_not_ask():
    """No chunk has empty `choices`; `lowrouter` is in the chunk with the finish reason."""
    machine = tail()

    assert machine.feed(TEXT) == renamed(TEXT)
    assert machine.feed(STOP) == b""
    waited = machine.holding
    final = machine.feed(USAGE)
    assert (waited, machine.holding) == (True, False)
    assert chunks(final) == [
        {
            **openai_chunk(finish_reason="stop", model=MODEL),
            "lowrouter": {"usage": [9, 3, "told"]},
        }
    ]
    assert unmarked(final) == renamed(STOP)
    assert machine.feed(DONE) == DONE
    assert machine.usage == Usage(9, 3)


@pytest.mark.parametrize("asked", [False, True])
def test_row_usage_inside_the_finish_chunk(asked):
    """That chunk is annotated, and with usage asked for no other is made."""
    out = passed(TEXT + STOP_USAGE + DONE, asked=asked)

    assert unmarked(out) == renamed(TEXT + STOP_USAGE + DONE)
    assert marked(out) == [3]
    assert chunks(out)[3]["lowrouter"] == {"usage": [9, 3, "told"]}


def test_row_usage_inside_the_finish_chunk_and_once_more():
    """Where the caller asked and a usage chunk does follow, that one is the final one."""
    out = passed(TEXT + STOP_USAGE + USAGE + DONE, asked=True)

    assert unmarked(out) == renamed(TEXT + STOP_USAGE + USAGE + DONE)
    assert marked(out) == [4]


@pytest.mark.parametrize("end", [DONE, b""])
def test_row_asked_and_no_usage_at_all(end):
    """A usage chunk is made: `choices: []`, counted tokens, `lowrouter`."""
    out = passed(TEXT + STOP + end, asked=True)

    assert out.startswith(renamed(TEXT + STOP))
    assert out.endswith(DONE)
    assert chunks(out)[4:] == [
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": MODEL,
            "choices": [],
            "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
            "lowrouter": {"usage": [7, 2, "counted"]},
        }
    ]


@pytest.mark.parametrize("end", [DONE, b""])
def test_row_not_asked_and_no_usage(end):
    """The finish chunk is annotated from counted tokens, and says so to who estimates."""
    out = passed(TEXT + STOP + end)

    assert unmarked(out) == renamed(TEXT + STOP) + DONE
    assert chunks(out)[3]["lowrouter"] == {"usage": [7, 2, "counted"]}


@pytest.mark.parametrize("end", [DONE, b""])
def test_row_no_finish_chunk_and_no_usage(end):
    """One chunk of the stream's own shape is added, with an empty delta and no finish reason."""
    out = passed(TEXT + end)

    assert out.startswith(renamed(TEXT))
    assert out.endswith(DONE)
    assert chunks(out)[3:] == [
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": MODEL,
            "choices": [{"index": 0, "delta": {}, "finish_reason": None}],
            "lowrouter": {"usage": [7, 2, "counted"]},
        }
    ]


def test_row_no_finish_chunk_but_usage():
    """The usage chunk is withheld, so the added chunk tells what it said."""
    out = passed(TEXT + USAGE + DONE)

    assert marked(out) == [3]
    assert chunks(out)[3]["lowrouter"] == {"usage": [9, 3, "told"]}
    assert all(chunk["choices"] for chunk in chunks(out))


@pytest.mark.parametrize("usages", [b"", USAGE])
def test_row_several_finish_chunks(usages):
    """With n = 2 the first finish chunk leaves as it came, the last is annotated."""
    first = event(openai_chunk(finish_reason="stop"))
    more = event(openai_chunk(" way", index=1))
    last = event(openai_chunk(finish_reason="length", index=1))
    machine = tail()

    assert machine.feed(TEXT + first) == renamed(TEXT)
    assert machine.feed(more) == renamed(first + more)
    assert machine.feed(last) == b""
    out = machine.feed(usages + DONE)
    assert unmarked(out) == renamed(last) + DONE
    assert marked(out) == [0]
    assert chunks(out)[0]["choices"][0]["finish_reason"] == "length"


def test_row_finish_chunks_in_a_row():
    """A finish chunk releases the one before it."""
    machine = tail()
    second = event(openai_chunk(finish_reason="stop", index=1))

    assert machine.feed(ROLE + STOP + second) == renamed(ROLE + STOP)
    assert unmarked(machine.feed(DONE)) == renamed(second) + DONE


def test_row_content_after_a_finish_chunk():
    """It was not the final one: it leaves unannotated, and the end is annotated after all."""
    out = passed(ROLE + STOP + HELLO + DONE)

    assert out.startswith(renamed(ROLE + STOP + HELLO))
    assert marked(out) == [3]
    assert chunks(out)[3]["choices"][0]["delta"] == {}


def test_row_comments_pass_untouched():
    """Comments and heartbeats leave at once, byte for byte."""
    machine = tail()

    for heartbeat in (
        b": OPENROUTER PROCESSING\n\n",
        b":\n\n",
        b"\n\n",
        b"event: ping\n\n",
        b"data:\n\n",
        b'retry: 10\n: {"choices":[]}\n\n',
    ):
        assert machine.feed(heartbeat) == heartbeat
    assert machine.unreadable == 0


def test_row_comments_behind_a_held_chunk_queue():
    """They release nothing, keep their order, and leave with the chunk that they follow."""
    energy = b': energy {"energy_joules": 20.44}\n\n'
    ping = b"data:\n\n"
    machine = tail()
    machine.feed(TEXT)

    assert machine.feed(STOP) == b""
    assert machine.feed(energy) == b""
    assert machine.feed(ping) == b""
    out = machine.feed(USAGE)
    assert unmarked(out) == renamed(STOP) + energy + ping
    assert machine.feed(energy + DONE) == energy + DONE


def test_row_the_held_chunk_waits_no_longer_than_told():
    """It leaves annotated with what is known; usage that comes later reaches only the record."""
    machine = tail()
    machine.feed(TEXT + STOP + b": still here\n\n")

    out = machine.release()
    assert unmarked(out) == renamed(STOP) + b": still here\n\n"
    assert chunks(out)[0]["lowrouter"] == {"usage": [7, 2, "counted"]}
    assert not machine.holding
    assert machine.release() == b""
    assert machine.feed(USAGE) == b""
    assert machine.known_usage() == Usage(9, 3)
    assert machine.feed(DONE) == DONE


def test_row_a_chunk_released_too_early_was_not_the_final_one():
    """Content after the second has passed: the end carries `lowrouter` again, and a cut is a cut."""
    machine = tail()
    machine.feed(TEXT + STOP)
    machine.release()
    assert machine.feed(HELLO) == renamed(HELLO)
    assert machine.feed(HELLO) == renamed(HELLO)

    [broken] = chunks(machine.fail(ERROR))
    assert broken["error"] == ERROR["error"]
    assert not machine.done

    out = machine_after_release(HELLO + STOP).feed(DONE)
    assert unmarked(out) == renamed(STOP) + DONE
    assert marked(out) == [0]


def machine_after_release(more):
    machine = tail()
    machine.feed(TEXT + STOP)
    machine.release()
    machine.feed(more)
    return machine


@pytest.mark.parametrize("held", [b"", STOP])
@pytest.mark.parametrize("asked", [False, True])
def test_row_error_after_the_first_event(held, asked):
    """A held chunk is flushed, the error follows with `lowrouter`, and nothing after it."""
    machine = tail(asked=asked)
    out = machine.feed(TEXT + held)

    failed = machine.fail(ERROR)
    out += failed
    assert out.startswith(renamed(TEXT + held))
    *_, last = read_chunks(out)
    assert last == {**ERROR, "lowrouter": {"usage": [7, 2, "counted"]}}
    assert machine.error == ERROR["error"]
    assert machine.feed(HELLO + DONE) == b""
    assert machine.close() == b""
    assert machine.fail(ERROR) == b""


def test_row_error_of_the_upstream_in_band():
    """The upstream's own error event gets `lowrouter` and ends the stream: no success is invented."""
    told = event({"error": {"message": "overloaded", "code": 529}})
    machine = tail()

    out = machine.feed(TEXT + STOP + told + HELLO + HELLO + USAGE + DONE)
    out += machine.close()
    assert unmarked(out) == renamed(TEXT + STOP) + told
    assert marked(out) == [4]
    assert machine.error == {"message": "overloaded", "code": 529}
    assert machine.fail(ERROR) == b""


def test_row_error_within_a_chunk():
    """So does one that comes in a chunk with choices."""
    told = event(
        openai_chunk("", finish_reason="error", error={"code": "server_error"})
    )

    out = passed(HELLO + told + DONE)

    assert unmarked(out) == renamed(HELLO + told)
    assert marked(out) == [1]


def test_row_error_after_everything_was_said():
    """Once the final chunk has left, a broken connection costs the caller nothing."""
    machine = tail(asked=True)
    machine.feed(TEXT + STOP + USAGE)

    assert machine.fail(ERROR) == DONE
    assert machine.done
    assert machine.close() == b""


@pytest.mark.parametrize("asked", [False, True])
def test_row_the_upstream_ended_without_done(asked):
    """`[DONE]` is added after a final chunk."""
    out = passed(TEXT + STOP + USAGE, asked=asked)

    assert out == passed(TEXT + STOP + USAGE + DONE, asked=asked)


@pytest.mark.parametrize("done", [b"data: [DONE]", b"data: [DONE]\n", b"data:[DONE]"])
def test_row_done_without_its_blank_line(done):
    """It is the mark all the same, and is completed."""
    out = passed(TEXT + STOP + done)

    assert unmarked(out) == renamed(TEXT + STOP) + done.rstrip() + b"\n\n"


@pytest.mark.parametrize("rest", [STOP.rstrip(), STOP[:-1]])
def test_row_the_last_event_without_its_blank_line(rest):
    """A whole chunk at the end of the stream counts."""
    out = passed(TEXT + rest)

    assert unmarked(out) == renamed(TEXT + STOP) + DONE


@pytest.mark.parametrize(
    "rest",
    [
        b'data: {"id":"chatcm',
        b"data: [DO",
        b"dat",
        b"event: message\nda",
        b"event: x\n",
    ],
)
def test_row_the_stream_ended_within_an_event(rest):
    """That is no clean end: the part of an event does not leave, and `fail` is to follow."""
    machine = tail()
    machine.feed(TEXT + rest)

    assert machine.close() == b""
    assert machine.truncated
    [last] = chunks(machine.fail(ERROR))
    assert last["error"] == ERROR["error"]


def test_row_an_end_within_a_comment_is_an_end():
    """Nothing of the answer is missing; the comment is ended before what is added."""
    out = passed(TEXT + STOP + b": pi")

    assert unmarked(out) == renamed(TEXT + STOP) + b": pi\n\n" + DONE


def test_row_whatever_follows_done_is_not_missed():
    """After the mark the stream is complete, however it breaks off."""
    machine = tail()
    out = machine.feed(TEXT + STOP + DONE + HELLO + b"data: {")
    out += machine.close()

    assert unmarked(out) == renamed(TEXT + STOP) + DONE + HELLO + b"data: {"
    assert not machine.truncated
    assert machine.fail(ERROR) == b""


def test_row_the_caller_goes_away():
    """The tokens seen so far are known at any moment."""
    machine = tail()
    machine.feed(TEXT + HELLO[:-1])
    assert machine.known_usage() == Usage(7, 2, counted=True)

    machine.feed(b"\n" + HELLO)
    assert machine.known_usage() == Usage(7, 4, counted=True)


@pytest.mark.parametrize(
    "stream",
    [
        b"data: hello\n\ndata: {'a':1}\n\ndata: [1]\n\ndata: 5\n\n",
        b"data: \xff\xfe\n\n",
        b"<html><body>502</body></html>",
        b"data: {",
        b"hello\n\nworld\n\n",
        b"\x00\x01\x02" * 100,
    ],
)
@pytest.mark.parametrize("asked", [False, True])
def test_row_the_stream_cannot_be_read(stream, asked):
    """Its bytes pass as they are, without `lowrouter` and without a mark of ours."""
    assert passed(stream, asked=asked) == stream


def test_row_one_event_cannot_be_read():
    """It passes, releases what is held, is counted, and the rest of the stream is read on."""
    machine = tail()

    out = machine.feed(TEXT + STOP + b"data: {oops}\n\n" + HELLO + STOP + USAGE + DONE)
    assert unmarked(out) == renamed(TEXT, STOP, b"data: {oops}\n\n", HELLO, STOP, DONE)
    assert marked(b"".join(out.split(b"data: {oops}\n\n"))) == [5]
    assert machine.unreadable == 1


def test_row_an_event_past_the_bound(monkeypatch):
    """Looking stops: the bytes pass as they come, nothing is added, memory stays bounded."""
    monkeypatch.setattr(tail_module, "MAX_EVENT_BYTES", 100_000)
    machine = tail()
    out = machine.feed(TEXT + STOP)
    start = b'data: {"choices":[{"delta":{"content":"'
    pieces = [start, *[b"x" * 1000] * 300, b'"}}]}\n\n', USAGE, DONE]

    for sent, piece in enumerate(pieces):
        out += machine.feed(piece)
        assert len(out) >= len(TEXT) + sent * 1000 - 101_000
    out += machine.close()
    assert out == renamed(TEXT + STOP) + b"".join(pieces)
    assert machine.unreadable == 1
    assert machine.known_usage().completion > 300_000 // 5
    assert machine.known_usage().counted


def test_row_a_break_past_the_bound(monkeypatch):
    """The error event is not glued to what was half sent."""
    monkeypatch.setattr(tail_module, "MAX_EVENT_BYTES", 100_000)
    machine = tail()
    machine.feed(TEXT + b"data: " + b"x" * 100_001)

    out = machine.fail(ERROR)
    assert out.startswith(b"\n\n")
    assert chunks(out)[0]["error"] == ERROR["error"]


def test_row_a_comment_past_its_bound():
    """A comment is never final, so a long one is not held to its end."""
    machine = tail()
    machine.feed(TEXT)

    out = machine.feed(b": " + b"x" * 65_536)
    assert out == b": " + b"x" * 65_536
    assert machine.feed(b"yz\n\n" + USAGE) == b"yz\n\n" + USAGE


def test_the_bounds_are_the_contracts():
    """8 MiB for an event that may be the final one, far less for any other."""
    assert tail_module.MAX_EVENT_BYTES == 8 * 1024 * 1024
    assert tail_module.MAX_COMMENT_BYTES <= 64 * 1024


# --- sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1000, 65_536, 10_000_000])
def test_an_event_of_five_megabytes(size):
    """It is read whole, also as the final one, and leaves to the byte."""
    big = event(openai_chunk("x" * 5_000_000))
    final = event(
        openai_chunk("y" * 5_000_000, finish_reason="stop", usage=usage(9, 10**6))
    )
    stream = ROLE + big + final + DONE

    out = passed([stream[i : i + size] for i in range(0, len(stream), size)])

    assert unmarked(out) == renamed(stream)
    assert marked(out) == [2]
    assert chunks(out)[2]["lowrouter"] == {"usage": [9, 10**6, "told"]}


def test_comments_behind_a_held_chunk_are_bounded():
    """An upstream that only comments does not fill memory: the chunk leaves as after its second."""
    machine = tail()
    machine.feed(TEXT + STOP)
    out = b""
    comment = b": " + b"x" * 998 + b"\n\n"
    for _ in range(100):
        out += machine.feed(comment)

    assert unmarked(out) == renamed(STOP) + comment * 100
    assert marked(out) == [0]
    assert machine.feed(USAGE + DONE) == DONE


def test_a_large_event_is_not_kept():
    """Where the model stands behind megabytes of text, those are not what the next event is compared to."""
    big = json.dumps({"choices": [{"delta": {"content": "x" * 10**6}}], "model": "m"})
    machine = tail()
    machine.feed(b"data: " + big.encode() + b"\n\n")

    held = sum(
        len(value)
        for name in type(machine).__slots__
        if isinstance(value := getattr(machine, name), bytes)
    )
    assert held < 10_000


def test_many_events_in_one_read():
    """As many as come in a read leave in one piece, in order."""
    words = b"".join(event(openai_chunk(f"{i} ")) for i in range(5000))

    assert tail().feed(ROLE + words) == renamed(ROLE + words)


# --- counting ----------------------------------------------------------------------------------


def counted(*events, asked=False):
    machine = tail(asked=asked)
    for each in events:
        machine.feed(each)
    return machine.known_usage().completion


def test_a_piece_is_a_token():
    """Chunks that carry text are counted; the role, the finish and comments are not."""
    assert counted(ROLE, HELLO, THERE, STOP) == 2
    assert counted(ROLE, b": " + b"x" * 5000 + b"\n\n", HELLO) == 1
    assert counted(b": x\n\n" * 100, ROLE) == 0


def test_a_role_in_every_delta_is_no_text():
    """Nor are the ids and types of tool calls: some upstreams repeat them."""
    delta = {"role": "assistant", "content": "ab"}
    call = {"index": 0, "id": "call_0123456789", "type": "function"}
    tool = {"tool_calls": [{**call, "function": {"arguments": "{"}}]}

    assert counted(*[event(openai_chunk(delta=delta))] * 50) == 50
    assert counted(ROLE, *[event(openai_chunk(delta=delta))] * 50) == 50
    assert counted(ROLE, *[event(openai_chunk(delta=tool))] * 50) == 50


def test_long_pieces_are_counted_by_their_bytes():
    """Four bytes to a token, whichever chunk the text is in, also the first."""
    long = event(openai_chunk("x" * 4000))
    first = event(openai_chunk(delta={"role": "assistant", "content": "x" * 4000}))

    for events in (
        [ROLE, long, long],
        [long, long],
        [first, long],
        [long, HELLO, long],
    ):
        assert 1990 <= counted(*events) <= 2010


def test_spaced_chunks_are_counted_alike():
    """Spaces between the tokens of JSON are no text."""
    spaced = [
        b"data: " + json.dumps(openai_chunk(word)).encode() + b"\n\n"
        for word in ["ab"] * 100
    ]
    assert 100 <= counted(*spaced) <= 110


def test_counting_survives_what_only_the_lenient_reader_takes():
    """A lone surrogate and an integer beyond 64 bits in a delta."""
    odd = b'data: {"choices":[{"delta":{"content":"\\ud83d","n":%d}}]}\n\n' % 10**30

    assert counted(odd, odd) >= 2


# --- framing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("space", [b" ", b""])
def test_framing(end, space, asked):
    """LF, CRLF, CR, with a space and without: the same chunks, in the framing of the stream."""

    def framed(stream):
        return stream.replace(b"data: ", b"data:" + space).replace(b"\n", end)

    stream = TEXT + b": ping\n\n" + STOP + b": ping\n\n" + USAGE + DONE
    out = passed(framed(stream), asked=asked)

    assert unmarked(out) == framed(unmarked(passed(stream, asked=asked)))
    for pieces in cuttings(framed(stream)):
        assert passed(pieces, asked=asked) == out


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("stream", [TEXT, TEXT + STOP, TEXT + STOP + b"data: [DONE]"])
def test_what_is_added_has_the_streams_line_ends(end, stream):
    """A reader that looks for one kind of blank line finds it in our chunks too."""
    for asked in (False, True):
        whole = passed(stream, asked=asked)
        framed = stream.replace(b"\n", end)
        assert passed(framed, asked=asked) == whole.replace(b"\n", end)
        broken = tail(asked=asked)
        broken.feed(framed)
        assert broken.fail(ERROR).endswith(b"}" + end * 2)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_done_with_half_its_blank_line(end):
    """Whatever of `[DONE]`'s line ends is missing is completed: a blank line ends the stream."""
    stream = (TEXT + STOP + DONE).replace(b"\n", end)
    for missing in range(1, 2 * len(end) + 1):
        out = passed(stream[:-missing], asked=True)
        assert read_chunks(out)[-1] == "[DONE]"
        assert len(chunks(out)) == 5


def test_the_first_event_may_have_a_byte_order_mark():
    """It stays where it is."""
    out = passed(b"\xef\xbb\xbf" + TEXT + STOP + DONE)

    assert unmarked(out) == b"\xef\xbb\xbf" + renamed(TEXT + STOP) + DONE


def test_fields_beside_the_data():
    """`event`, `id` and `retry` stay in their events, annotated or not."""

    def named(number, chunk):
        return b"id: %d\nevent: message\n%bretry: 5\n\n" % (number, chunk[:-1])

    stream = named(1, HELLO) + named(2, THERE) + named(3, STOP) + DONE
    out = passed(stream)

    assert unmarked(out) == renamed(stream)
    assert marked(out) == [2]


def test_data_over_several_lines():
    """Such an event is read and annotated like any other, its lines and fields kept."""
    parts = json.dumps(openai_chunk(finish_reason="stop"), indent=1).split("\n")
    lines = b"".join(b"data: " + part.encode() + b"\n" for part in parts)
    stream = TEXT + b"id: 3\n" + lines + b"\n" + DONE

    out = passed(stream)

    assert unmarked(out) == renamed(stream).replace(
        b'"model": "upstream-small"', b'"model": "acme/small"'
    )
    assert marked(out) == [3]


def test_an_upstreams_own_lowrouter_is_replaced_over_several_lines():
    """Also there, and the other fields of the event stay."""
    stream = (
        b'id: 3\ndata: {"choices":[{"finish_reason":"stop"}],"lowrouter":\n'
        b'data: {"eco":1},"model":"m"}\nretry: 9\n\n'
    )
    out = passed(stream)

    assert out == (
        b'id: 3\ndata: {"choices":[{"finish_reason":"stop"}],"model":"acme/small",'
        b'"lowrouter":{"usage":[7,0,"counted"]}}\nretry: 9\n\n' + DONE
    )


# --- what chunks may hold ----------------------------------------------------------------------


def test_text_that_looks_like_the_protocol():
    """An answer about this protocol is text: nothing in it is taken for a field."""
    traps = [
        '"usage":',
        '{"usage":{"prompt_tokens":1}}',
        "[DONE]",
        "data: [DONE]\n\n",
        "data: ",
        '"lowrouter"',
        '"lowrouter":{}',
        '"model":"x"',
        '"model":"upstream-small"',
        '"finish_reason":"stop"',
        '"error"',
        '"choices":[]',
        '"choices":[{',
        "\r\n\r\n",
        "\u2028",
        "\\",
        '\\"model\\":\\"x\\"',
        "usage",
        "error",
        "model",
    ]
    events = [event(openai_chunk(trap)) for trap in traps]
    stream = ROLE + b"".join(events) + STOP + USAGE + DONE
    machine = tail()

    out = machine.feed(stream)

    plain = renamed(ROLE, *events, STOP, DONE)
    expected = unmarked(out)
    assert [c["choices"][0]["delta"].get("content") for c in chunks(out)] == [
        "",
        *traps,
        None,
    ]
    for each in events:
        head, _, body = each.partition(UPSTREAM)
        assert head + OURS + body in expected
    assert len(expected) == len(plain)
    assert marked(out) == [len(chunks(out)) - 1]
    assert machine.usage == Usage(9, 3)


def test_tool_calls_pass_to_the_byte():
    """Arguments in pieces, two calls, and the reason `tool_calls`."""
    pieces = ['{"ci', 'ty":"', '"usage":', "}"]
    calls = [
        event(
            openai_chunk(
                delta={"tool_calls": [{"index": i, "function": {"arguments": piece}}]}
            )
        )
        for i in (0, 1)
        for piece in pieces
    ]
    finish = event(openai_chunk(finish_reason="tool_calls"))
    out = passed(ROLE + b"".join(calls) + finish + DONE)

    assert unmarked(out) == renamed(ROLE, *calls, finish, DONE)
    assert chunks(out)[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("asked", [False, True])
def test_usage_on_every_chunk(asked):
    """It stays where it is, the last one counts, and no content chunk waits or is annotated."""
    events = [
        event(openai_chunk(word, usage=usage(9, i)))
        for i, word in enumerate(("a", "b", "c"), 1)
    ]
    machine = tail(asked=asked)
    for each in events:
        assert machine.feed(each) == renamed(each)
    out = machine.feed(STOP_USAGE + DONE)

    assert unmarked(out) == renamed(STOP_USAGE + DONE)
    assert marked(out) == [0]
    assert machine.usage == Usage(9, 3)


def test_usage_null_is_no_usage():
    """OpenAI sends it in each chunk but the last."""
    events = [event(openai_chunk(word, usage=None)) for word in ("a", "b")]
    stop = event(openai_chunk(finish_reason="stop", usage=None))
    machine = tail(asked=True)

    assert machine.feed(b"".join(events) + stop) == renamed(*events, stop)
    assert machine.usage is None


@pytest.mark.parametrize("choices", [b"null", b"[]"])
def test_choices_null_or_empty(choices):
    """A chunk without a choice reaches only who asked for usage; one with usage is the usage chunk."""
    first = b'data: {"id":"","model":"","choices":%b,"prompt_filter":[]}\n\n' % choices
    last = USAGE.replace(b'"choices":[]', b'"choices":' + choices)
    stream = first + TEXT + STOP + last + DONE

    out = passed(stream)
    assert unmarked(out) == renamed(TEXT + STOP) + DONE
    assert chunks(out)[-1]["lowrouter"] == {"usage": [9, 3, "told"]}
    asked = passed(stream, asked=True)
    assert unmarked(asked) == renamed(stream).replace(b'"model":""', OURS)
    assert marked(asked) == [5]


def test_a_usage_chunk_without_choices():
    """One that leaves `choices` out altogether is a usage chunk no less."""
    bare = b'data: {"id":"1","usage":{"prompt_tokens":9,"completion_tokens":3}}\n\n'

    assert unmarked(passed(TEXT + STOP + bare + DONE)) == renamed(TEXT + STOP) + DONE
    asked = passed(TEXT + STOP + bare + DONE, asked=True)
    assert unmarked(asked) == renamed(TEXT + STOP) + bare + DONE
    assert marked(asked) == [4]


def test_usage_in_a_chunk_with_choices_after_the_finish():
    """Where the caller asked, one more chunk says it with `choices: []`, which is what is looked for."""
    odd = event(openai_chunk("", usage=usage()))

    out = passed(TEXT + STOP + odd + DONE, asked=True)
    assert out.startswith(renamed(TEXT + STOP + odd))
    assert chunks(out)[-1]["choices"] == []
    assert chunks(out)[-1]["usage"] == usage()
    assert marked(out) == [5]
    assert marked(passed(TEXT + STOP + odd + DONE)) == [5]


def test_usage_that_was_never_filled_in():
    """Zeros for an answer that has text are no usage: nothing is told as zero that is not."""
    empty = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    events = [event(openai_chunk(word, usage=empty)) for word in ("a", "b")]
    stop = event(openai_chunk(finish_reason="stop", usage=empty))

    out = passed(b"".join(events) + stop + DONE)

    assert chunks(out)[-1]["lowrouter"] == {"usage": [7, 2, "counted"]}


def test_an_empty_finish_reason_is_none():
    """Some upstreams send `""` until the last chunk: those chunks do not wait for each other."""
    events = [event(openai_chunk(word, finish_reason="")) for word in ("a", "b")]
    machine = tail()

    for each in events:
        assert machine.feed(each) == renamed(each)
    assert machine.feed(STOP) == b""


@pytest.mark.parametrize("asked", [False, True])
def test_an_upstreams_own_lowrouter_field_is_replaced(asked):
    """In the annotated chunk there is one, ours; elsewhere the upstream's bytes stay."""
    theirs = {"eco": {"energy_wh": 1}, "provider": "other"}
    stop = event(openai_chunk(finish_reason="stop", lowrouter=theirs, usage=usage()))
    hello = event(openai_chunk("Hello", lowrouter=theirs))

    out = passed(hello + stop + DONE, asked=asked)

    assert out.startswith(renamed(hello))
    final = chunks(out)[-1]
    assert final["lowrouter"] == {"usage": [9, 3, "told"]}
    assert out.count(b'"lowrouter"') == 2
    assert final["choices"][0]["finish_reason"] == "stop"


def test_bytes_that_a_parser_would_change():
    """Big integers, floats, escapes, key order, repeated and unknown keys, odd spacing."""
    odd = (
        b'data: {"zz":9007199254740993, "id" : "\\u00e9\\/\\ud83d", "n":1e400 ,'
        b'"n":-0.10E+05,"choices" :[ {"delta":{"content":"x\\u2028"},'
        b'"seed":123456789012345678901234567890,"finish_reason" : %b } ] ,'
        b'"model" :\t"upstream"%b}\n\n'
    )
    content = odd % (b"null", b' , "a":{"model":"inner"}')
    final = odd % (b'"stop"', b"")
    out = passed(content + content + final + DONE)

    assert unmarked(out) == (content + content + final + DONE).replace(
        b'"upstream"', b'"acme/small"'
    )
    assert marked(out) == [2]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (b'"model":"x"', OURS),
        (b'"mod\\u0065l":"x"', b'"mod\\u0065l":"acme/small"'),
        (b'"model":"x\\"y"', OURS),
        (b'"model":null', b'"model":null'),
        (b'"model":5', b'"model":5'),
        (b'"model":"x","model":"y"', OURS + b"," + OURS),
        (b'"\\ud83d":1,"model":"x"', b'"\\ud83d":1,' + OURS),
        (b'"a":{"model":"x"},"model":"y"', b'"a":{"model":"x"},' + OURS),
        (b'"a":{"model":"x"}', b'"a":{"model":"x"}'),
        (b'"a":["model"],"model":"y"', b'"a":["model"],' + OURS),
    ],
)
@pytest.mark.parametrize("place", ["front", "back"])
def test_the_model(model, expected, place):
    """A string at the top level becomes the catalogue's id, in every chunk and every spelling."""
    choices = b'"choices":[{"delta":{"content":"a"},"finish_reason":null}]'
    parts = (b"%b", choices) if place == "front" else (choices, b"%b")
    chunk = b'data: {"id":"1",' + b",".join(parts) + b"}\n\n"

    assert tail().feed((chunk % model) * 3) == (chunk % expected) * 3


def test_model_names_that_need_escapes():
    """An id with a quote or a character beyond ASCII is written as JSON."""
    machine = tail_module.TailRewriter(
        model='a"\\é', wants_usage=False, annotate=lambda _usage: b"{}"
    )
    out = machine.feed(HELLO + HELLO)

    assert [chunk["model"] for chunk in chunks(out)] == ['a"\\é'] * 2
    [made] = chunks(machine.feed(DONE))
    assert made["model"] == 'a"\\é'


def test_chunks_whose_opening_changes():
    """A new id or model within a stream is seen; the old opening matches nothing else."""
    streams = [
        HELLO,
        HELLO,
        event(openai_chunk("x", model="upstream-small-2")),
        event({**openai_chunk("y"), "id": "chatcmpl-2"}),
        event({**openai_chunk("z"), "system_fingerprint": "fp"}),
        HELLO,
    ]
    out = tail().feed(b"".join(streams))

    assert {chunk["model"] for chunk in chunks(out)} == {MODEL}
    assert out == renamed(*streams).replace(b"upstream-small-2", b"acme/small")


def test_a_chunk_made_by_us_looks_like_the_streams_own():
    """Not like the filter report with empty ids that Azure sends first."""
    azure = event({"choices": [], "created": 0, "id": "", "model": "", "object": ""})

    [*_, made] = chunks(passed(azure + TEXT + DONE))

    assert (made["id"], made["created"]) == ("chatcmpl-1", 1)
    assert made["object"] == "chat.completion.chunk"


def test_a_chunk_made_by_us_has_no_more_than_the_streams_own():
    """A stream without ids gets a chunk without ids; odd ids do not break it."""
    [_, made] = chunks(passed(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'))
    assert set(made) == {"choices", "lowrouter"}

    odd = b'data: {"id":"\\ud83d","created":%d,"choices":[{"delta":{}}]}\n\n' % 10**30
    out = passed(odd)
    assert chunks(out)[1]["id"] == "\ud83d"


@pytest.mark.parametrize(
    "odd",
    [
        b'{"choices":{}}',
        b'{"choices":"x"}',
        b'{"choices":5}',
        b'{"choices":[null,5,"x"]}',
        b'{"choices":[{"delta":null}]}',
        b'{"choices":[{"delta":{"content":null},"finish_reason":false}]}',
        b'{"choices":[{"finish_reason":{"a":1}}]}',
        b'{"choices":[{}],"usage":[]}',
        b'{"choices":[{}],"usage":{"prompt_tokens":"9"}}',
        b'{"choices":[{}],"error":null,"model":{}}',
        b'{"object":"ping"}',
        b"{}",
        b'{"choices":[{}],"choices":[]}',
        b'{"choices":[' + b"[" * 900 + b"]" * 900 + b"]}",
        b'{"choices":[{"delta":{"a":' + b"[" * 900 + b"]" * 900 + b"}}]}",
    ],
)
@pytest.mark.parametrize("asked", [False, True])
def test_odd_chunks_never_fail_a_stream(odd, asked):
    """Whatever an upstream makes of the format, the stream goes on and ends as it should."""
    stream = HELLO + b"data: " + odd + b"\n\n" + STOP + USAGE + DONE
    out = passed(stream, asked=asked)

    assert out.endswith(DONE)
    assert len(marked(out)) == 1
    assert "lowrouter" in chunks(out)[-1]
    for pieces in ([stream[i : i + 7] for i in range(0, len(stream), 7)],):
        assert passed(pieces, asked=asked) == out
