"""A request is read once, refused with the member that is wrong, and changed only where it must be."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core import chat as chat_module
from lowproxy.core import splice
from lowproxy.core.chat import ChatRequest
from lowproxy.core.preferences import Preferences
from lowproxy.core.splice import members
from lowproxy.errors import BadRequestError

HI = [{"role": "user", "content": "hi"}]


def body(**fields):
    """A request's bytes; fields that are None are left out."""
    whole = {"model": "acme/small", "messages": HI, **fields}
    return json.dumps({k: v for k, v in whole.items() if v is not ...}).encode()


def parse(**fields):
    return ChatRequest.parse(body(**fields))


# --- reading -----------------------------------------------------------------------------------


def test_the_plainest_request():
    """What is not said is at its default."""
    chat = parse()

    assert chat.model == "acme/small"
    assert chat.models == ("acme/small",)
    assert not chat.stream
    assert not chat.wants_usage
    assert chat.preferences == Preferences()
    assert chat.needs == frozenset()
    assert chat.prompt_bytes == 2
    assert chat.max_tokens is None
    assert chat.user is None


def test_what_is_read():
    """Each field that decides something here."""
    chat = parse(
        stream=True,
        stream_options={"include_usage": True},
        models=["b/one", "acme/small", "b/two", "b/one"],
        max_tokens=10,
        max_completion_tokens=20,
        user="u-1",
        tools=[{"type": "function"}],
        response_format={"type": "json_schema", "json_schema": {}},
        route={"region": "eu-west"},
    )

    assert chat.models == ("acme/small", "b/one", "b/two")
    assert chat.stream
    assert chat.wants_usage
    assert chat.max_tokens == 20
    assert chat.user == "u-1"
    assert chat.needs == {"tools", "structured_output"}
    assert chat.preferences.region == "eu-west"


def test_usage_is_a_streams():
    """Outside a stream the wish for a usage chunk has no meaning."""
    assert not parse(stream_options={"include_usage": True}).wants_usage
    assert not parse(stream=True, stream_options=None).wants_usage
    assert not parse(stream=True, stream_options={}).wants_usage
    assert not parse(stream=None).stream


@pytest.mark.parametrize(
    ("content", "size", "needs"),
    [
        ("héllo", 6, set()),
        ("漢字", 6, set()),
        ("\ud83d", 3, set()),
        (None, 0, set()),
        ([{"type": "text", "text": "é"}, {"type": "text", "text": "ab"}], 4, set()),
        (
            [{"type": "image_url", "image_url": {"url": "data:" + "x" * 999}}],
            0,
            {"vision"},
        ),
        (["odd", 5, {"type": "text"}], 0, set()),
    ],
)
def test_the_prompt_is_measured_in_bytes(content, size, needs):
    """UTF-8, and pictures are not text."""
    chat = parse(messages=[{"role": "user", "content": content}] * 2)

    assert chat.prompt_bytes == 2 * size
    assert chat.needs == needs


@pytest.mark.parametrize("limit", [None, True, "10", 1.5, []])
def test_a_limit_that_is_none(limit):
    """The upstream will say what it thinks of it."""
    assert parse(max_tokens=limit).max_tokens is None


def test_the_region_header():
    """Counts where the body pins nothing; the body wins."""
    assert ChatRequest.parse(body(), "eu-west").preferences.region == "eu-west"
    pinned = body(route={"region": "us-east"})
    assert ChatRequest.parse(pinned, "eu-west").preferences.region == "us-east"


def test_prompt_and_user_are_not_shown():
    """Neither in a log line nor in a traceback."""
    chat = parse(messages=[{"role": "user", "content": "canary"}], user="canary")

    assert "canary" not in repr(chat)


@pytest.mark.parametrize(
    ("data", "param", "words"),
    [
        (b"", None, "not valid JSON"),
        (b"{", None, "not valid JSON (at line 1 column 2)"),
        (b'{"model": "canary', None, "not valid JSON"),
        ('{"model":"m"}'.encode("utf-16"), None, "not valid JSON"),
        (b"[]", None, "must be a JSON object, not empty"),
        (b'"canary"', None, "must be a JSON object, not a string"),
        (b"5", None, "must be a JSON object, not a number"),
        (body(model=...), "model", "missing"),
        (body(model=None), "model", "missing or null"),
        (body(model=""), "model", "empty"),
        (body(model=5), "model", "a number"),
        (body(model=["canary"]), "model", "a list"),
        (body(messages=...), "messages", "missing"),
        (body(messages=[]), "messages", "empty"),
        (body(messages="canary"), "messages", "a string"),
        (body(messages=[{}, "canary"]), "messages[1]", "a string"),
        (body(stream="yes"), "stream", "true or false, not a string"),
        (body(stream=1), "stream", "true or false, not a number"),
        (body(stream_options=[1]), "stream_options", "an object, not a list"),
        (
            body(stream_options={"include_usage": "canary"}),
            "stream_options.include_usage",
            "true or false",
        ),
        (body(models="canary"), "models", "a list"),
        (body(models=["a", 5]), "models[1]", "a model id"),
        (body(models=[""]), "models[0]", "a model id"),
        (body(route=[]), "route", "an object"),
    ],
)
def test_what_is_refused(data, param, words):
    """400, with the member and what would be right, and nothing of what it held."""
    with pytest.raises(BadRequestError) as caught:
        ChatRequest.parse(data)

    assert caught.value.status == 400
    assert caught.value.param == param
    assert words in caught.value.message
    assert "canary" not in caught.value.message


# --- rewriting ---------------------------------------------------------------------------------

TEXT = st.text(string.printable + "é漢😀", max_size=5) | st.sampled_from(
    ['"model"', '{"route":1}', "stream_options"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["model", "route", "x"]), inner, max_size=2)
    ),
    max_leaves=5,
)
OPTIONS = st.sampled_from(
    [None, {}, {"include_usage": False}, {"include_usage": True}, {"x": 1},
     {"include_usage": None, "include_obfuscation": False}]
)  # fmt: skip
OURS = {
    "route": {"region": "eu-west", "fallback": False},
    "models": ["acme/large"],
    "provider": {"order": ["acme"]},
}


@st.composite
def requests(draw):
    """A request's members in any order, some twice, some spelled with escapes."""
    extra = draw(st.dictionaries(st.sampled_from(["x", "seed", "n", "é"]), VALUES))
    fields = {"model": "acme/small", "messages": HI, **extra}
    fields["stream"] = draw(st.sampled_from([True, False, None]))
    if draw(st.booleans()):
        fields["stream_options"] = draw(OPTIONS)
    for name in draw(st.sets(st.sampled_from(sorted(OURS)))):
        fields[name] = OURS[name]
    names = draw(st.permutations(sorted(fields)))
    if draw(st.booleans()):
        names = [draw(st.sampled_from(names)), *names]
    colon, comma = draw(st.sampled_from([(":", ","), (" : ", " ,\n")]))
    ascii_only = draw(st.booleans())
    parts = []
    for name in names:
        key = json.dumps(name)
        if draw(st.integers(0, 4)) == 0:
            key = '"' + "".join(f"\\u{ord(char):04x}" for char in name) + '"'
        parts.append(key + colon + json.dumps(fields[name], ensure_ascii=ascii_only))
    return ("{" + comma.join(parts) + "}").encode()


def raw(data):
    """Each member with its own bytes."""
    return [(m.key, data[m.value_start : m.value_end]) for m in members(data)]


@given(requests(), st.booleans())
def test_what_goes_up(data, ask_usage):
    """The upstream's model, nothing of ours, usage asked for when it should be; the rest to the byte."""
    chat = ChatRequest.parse(data)

    sent = chat.rewritten("small-2026", ask_usage=ask_usage)

    told = json.loads(sent)
    assert told["model"] == "small-2026"
    assert not OURS.keys() & told.keys()
    asks = bool((told.get("stream_options") or {}).get("include_usage"))
    theirs = bool((json.loads(data).get("stream_options") or {}).get("include_usage"))
    # A provider that refuses the field is not sent the caller's own either.
    assert asks == (ask_usage and (theirs or chat.stream))
    changed = {"model", *OURS}
    if asks != theirs or not ask_usage:
        changed.add("stream_options")
    rest = [member for member in raw(sent) if member[0] not in changed]
    assert rest == [member for member in raw(data) if member[0] not in changed]
    assert all(value == b'"small-2026"' for key, value in raw(sent) if key == "model")


@given(
    requests(),
    st.sampled_from(
        ["x", '"model":"acme/small",', "\\", "\\u006d", 'a"', "é", "\U0001f600"]
    ),
    st.integers(0, 9) | st.integers(300, 900),
    st.booleans(),
)
def test_the_pieces_of_a_long_body_are_what_is_rewritten(data, unit, times, ask_usage):
    """A text that takes most of a body is passed over without being searched, and it makes no difference."""
    long = json.dumps(HI).encode(), json.dumps([{"content": unit * times}]).encode()
    data = data.replace(*long)
    with pytest.MonkeyPatch.context() as patch:
        # As if it were so long that it pays.
        patch.setattr(chat_module, "_WORTH_BYTES", 0)
        patch.setattr(splice, "_WORTH_CUTTING", 0)
        chat = ChatRequest.parse(data)
        pieces = chat.pieces("small-2026", ask_usage=ask_usage)

    rows = [m for m in members(data) if m.key == "model"]
    values = [(m.value_start, m.value_end, b'"small-2026"') for m in rows]
    assert b"".join(pieces) == chat.rewritten("small-2026", ask_usage=ask_usage)
    if not (chat.has_ours or chat.has_stream_options or (ask_usage and chat.stream)):
        assert b"".join(pieces) == splice.changed(data, values)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (b"null", b'{"include_usage":true}'),
        (b"{}", b'{"include_usage":true}'),
        (b'{"include_usage":false}', b'{"include_usage":true}'),
        (b'{ "x" : 1.10 }', b'{ "x" : 1.10 ,"include_usage":true}'),
        (b'{"include_usage":null,"x":2}', b'{"x":2,"include_usage":true}'),
    ],
)
def test_the_wish_keeps_the_callers_other_options(options, expected):
    """Only `include_usage` is set."""
    start = b'{"model":"m","messages":[{}],"stream":true,"stream_options":'

    chat = ChatRequest.parse(start + options + b"}")

    expected = start.replace(b'"m"', b'"up"') + expected + b"}"
    assert chat.rewritten("up", ask_usage=True) == expected


def test_a_request_that_needs_no_change_but_the_model():
    """Big integers, escapes, spaces, trailing line ends: the bytes of the caller."""
    data = (
        b' {"seed": 9007199254740993, "messages":[{"content":"\\u00e9\\/"}],\n'
        b'"n":1e400,"a":{"model":"x"}, "model" : "acme/small" }\r\n'
    )

    sent = ChatRequest.parse(data).rewritten('up"stream', ask_usage=True)

    assert sent == data.replace(b'"acme/small"', b'"up\\"stream"')


def test_members_repeated_many_times():
    """A hostile body costs one pass, whatever it repeats."""
    options = b',"stream_options":{"a":1}' * 2000
    data = b'{"model":"m","messages":[{}],"stream":true' + options + b"}"

    sent = ChatRequest.parse(data).rewritten("up", ask_usage=True)

    assert sent.count(b'{"a":1,"include_usage":true}') == 2000
