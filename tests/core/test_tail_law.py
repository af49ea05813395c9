"""Laws of the tail: for any stream and any split the same bytes, and only what the contract names is changed."""

import json

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sse_reader import comments, read_chunks
from tests.tails import DONE, MODEL, chunks, marked, passed, tail, unmarked

# --- streams as upstreams write them, each event with what becomes of it -----------------------


@attrs.frozen
class Event:
    """One event: what comes, what leaves (annotations apart), and what it is to the caller."""

    came: bytes
    left: bytes
    kind: str  # comment | chunk | finish | empty | other


TEXT = st.text(max_size=6) | st.sampled_from(
    [
        '"usage":',
        "[DONE]",
        "data: ",
        '"model":"m"',
        '"finish_reason":"stop"',
        "\n\n",
        "\\",
    ]
)
NUMBERS = st.sampled_from([b"9007199254740993", b"1e400", b"-0.10E+5", b"1" * 25])
USAGE = b'{"prompt_tokens":9,"completion_tokens":3}'
USAGES = st.sampled_from([None, None, b"null", USAGE, b'{"prompt_tokens":0}'])
NULL = st.sampled_from([None, b"null"])


@st.composite
def _json_string(draw, texts):
    return json.dumps(draw(texts), ensure_ascii=draw(st.booleans())).encode()


def _object(members, colon, comma):
    return b"{" + comma.join(b'"%b"%b%b' % (k, colon, v) for k, v in members) + b"}"


@st.composite
def _choices(draw, colon, comma, finish):
    delta = _object([(b"content", draw(_json_string(TEXT)))], colon, comma)
    members = [(b"index", b"0"), (b"delta", delta)]
    reason = b'"stop"' if finish else draw(NULL)
    if reason is not None:
        members.insert(draw(st.integers(0, 2)), (b"finish_reason", reason))
    return b"[" + _object(members, colon, comma) + b"]"


@st.composite
def _chunk(draw, shape, kind):
    colon, comma, order = shape
    members = {b"id": b'"c-1"', b"model": b'"%b"'}
    if kind == "empty":
        members[b"choices"] = draw(st.sampled_from([b"[]", b"null"]))
    else:
        members[b"choices"] = draw(_choices(colon, comma, kind == "finish"))
    usage = draw(USAGES)
    if usage is not None:
        members[b"usage"] = usage
    if draw(st.booleans()):
        members[b"seed"] = draw(NUMBERS)
    if draw(st.booleans()):
        members[b"x"] = b'{"model":' + draw(_json_string(TEXT)) + b"}"
    if draw(st.integers(0, 5)) == 0:
        del members[b"model"]
    names = [name for name in order if name in members]
    body = _object([(name, members[name]) for name in names], colon, comma)
    return body, kind


ENERGY = b': energy {"energy_joules": 20.44}'
OTHERS = [b"hello", b"[1]", b'{"object":"ping"}', b"{", b'{"usage":1}']


@st.composite
def _event(draw, shape, end, space):
    kind = draw(
        st.sampled_from(["chunk"] * 6 + ["finish", "empty", "comment", "other"])
    )
    if kind == "comment":
        line = draw(
            st.sampled_from([b": x", b":", b"", b"event: ping", b"data:", ENERGY])
        )
        return Event(line + end * 2, line + end * 2, kind)
    if kind == "other":
        body = draw(st.sampled_from(OTHERS))
    else:
        body, kind = draw(_chunk(shape, kind))
    field = b"data:" + space
    lead = draw(st.sampled_from([b"", b"", b"", b"id: 4" + end, b": c" + end]))
    frame = lead + field + b"%b" + end * 2
    theirs, ours = [
        frame % body.replace(b'"%b"', b'"%b"' % model, 1)
        for model in (b"up", MODEL.encode())
    ]
    return Event(theirs, ours, kind)


@st.composite
def streams(draw):
    """A stream in one style, with or without its mark; and where reads end."""
    names = [b"id", b"model", b"choices", b"usage", b"seed", b"x"]
    order = draw(st.sampled_from([names, names[::-1], names[2:] + names[:2]]))
    tight = draw(st.integers(0, 2))
    shape = (b":", b",", order) if tight else (b" : ", b", ", order)
    end = draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"]))
    space = draw(st.sampled_from([b" ", b" ", b""]))
    events = draw(st.lists(_event(shape, end, space), min_size=1, max_size=12))
    done = b"data:" + space + b"[DONE]" + end * 2 if draw(st.booleans()) else b""
    size = sum(len(e.came) for e in events) + len(done)
    cuts = sorted(set(draw(st.lists(st.integers(1, size), max_size=12))))
    return events, done, end, cuts


def pieces(stream, cuts):
    """The stream in reads that end at these places."""
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


# --- laws --------------------------------------------------------------------------------------

MANY = settings(max_examples=200)
CALLERS = st.fixed_dictionaries({"asked": st.booleans(), "late": st.booleans()})


@MANY
@given(streams(), CALLERS)
def test_the_split_does_not_show(drawn, caller):
    """Wherever the network cuts the stream, the caller reads the same bytes."""
    events, done, _, cuts = drawn
    stream = b"".join(e.came for e in events) + done

    whole = passed(stream, **caller)

    assert passed(pieces(stream, cuts), **caller) == whole
    assert passed(pieces(stream, range(1, len(stream))), **caller) == whole


@MANY
@given(streams(), CALLERS)
def test_only_what_the_contract_names_is_changed(drawn, caller):
    """Each event leaves to the byte but for the value of `model`; what is withheld and added is known."""
    asked = caller["asked"]
    events, done, end, _ = drawn
    out = passed(b"".join(e.came for e in events) + done, **caller)

    kept = b"".join(e.left for e in events if asked or e.kind != "empty")
    bare = unmarked(out)
    assert bare.startswith(kept)
    added = bare[len(kept) :]
    if not any(e.kind in ("chunk", "finish", "empty") for e in events):
        assert added == done
        return
    mark = done or DONE.replace(b"\n", end)
    assert added.endswith(mark)
    made = chunks(added)
    assert len(made) <= 1
    for chunk in made:
        assert chunk["choices"] == (
            [] if asked else [{"index": 0, "delta": {}, "finish_reason": None}]
        )
        assert ("usage" in chunk) == asked


@MANY
@given(streams(), CALLERS)
def test_the_last_chunk_carries_lowrouter(drawn, caller):
    """In a stream of chunks the final one does; nothing but chunks does; the SDK's loop can read them."""
    asked = caller["asked"]
    events, done, _, _ = drawn
    machine = tail(**caller)
    out = machine.feed(b"".join(e.came for e in events) + done) + machine.close()

    objects = [chunk for chunk in chunks(out) if isinstance(chunk, dict)]
    if not asked:
        assert all(chunk["choices"] for chunk in objects if "choices" in chunk)
    # An empty chunk without usage says nothing, so it may stand behind the final one.
    said = [c for c in objects if c.get("choices") or "lowrouter" in c]
    where = [i for i, chunk in enumerate(said) if "lowrouter" in chunk]
    if said:
        assert where[-1] == len(said) - 1
        assert all("choices" in said[i] for i in where)
    if done or said:
        assert read_chunks(out)[-1] == "[DONE]"
    known = machine.known_usage()
    if not known.counted and where:
        assert said[where[-1]]["lowrouter"]["usage"][:2] == [9, 3]


@MANY
@given(streams(), CALLERS)
def test_nothing_waits_but_the_finish_chunk(drawn, caller):
    """Fed event by event, each has left before the next comes, unless a chunk is held."""
    asked = caller["asked"]
    events, _, _, _ = drawn
    machine = tail(**caller)
    fed = out = b""
    for event in events:
        fed += event.left if asked or event.kind != "empty" else b""
        out += machine.feed(event.came)
        if not machine.holding:
            assert unmarked(out) == fed
        elif event.kind not in ("comment", "empty"):
            assert event.kind == "finish"


@MANY
@given(streams(), CALLERS, st.booleans())
def test_a_break_anywhere_ends_in_an_error_or_after_everything(drawn, caller, release):
    """Whatever was held leaves, half an event does not, and no cut is silent."""
    events, done, _, cuts = drawn
    stream = b"".join(e.came for e in events) + done
    machine = tail(**caller)
    out = b"".join(machine.feed(piece) for piece in pieces(stream, cuts)[:-1])
    if release:
        out += machine.release()
    was_done = machine.done
    out += machine.fail({"error": {"message": "cut"}})

    told = read_chunks(out)
    if was_done or machine.done:
        assert told[-1] == "[DONE]"
    else:
        assert told[-1]["error"] == {"message": "cut"}
        assert "lowrouter" in told[-1]
    assert machine.feed(stream) == b"" or machine.done
    assert machine.close() == b"" or machine.done


@MANY
@given(streams(), CALLERS)
def test_comments_are_kept(drawn, caller):
    """Each comment of the stream reaches the caller, in order."""
    events, done, _, _ = drawn
    stream = b"".join(e.came for e in events if e.kind != "empty") + done

    assert comments(passed(stream, **caller)) == comments(stream)


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"data: ", b"\n\n", b"{}"])))
def test_any_bytes_pass(reads):
    """What is no stream of chunks passes as it is, and never raises."""
    machine = tail()

    out = b"".join(machine.feed(read) for read in reads) + machine.close()

    if not marked(out):
        assert out.rstrip(b"\r\n") == b"".join(reads).rstrip(b"\r\n")
