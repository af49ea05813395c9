"""The short way of a stream's chunks: only what equals the learned one but for its text takes it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.tail import MAX_COMMENT_BYTES, TailRewriter
from lowproxy.core.template import learn

MODEL = b'"acme/large"'
FIRST = (
    '{"id":"c","model":"up","choices":[{"index":0,"delta":{"content":"%s"},'
    '"finish_reason":null}]%s}'
)
LAST = (
    '{"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}],'
    '"model":"up"%s}'
)


def event(form, text="a", more="", end="\n\n"):
    """A chunk as an upstream sends it."""
    return f"data: {form % (json.dumps(text)[1:-1], more)}{end}".encode()


def span(raw):
    """Where the model's value stands."""
    start = raw.index(b'"up"')
    return start, start + 4


def padded(padding):
    """The member with which some hide the lengths of their tokens."""
    return f',"obfuscation":"{padding}"'


@pytest.mark.parametrize("form", [FIRST, LAST])
@pytest.mark.parametrize("padding", [None, "xyz"])
@given(st.text(min_size=1, max_size=20))
def test_another_text(form, padding, text):
    """A chunk with another text and padding becomes what it would have: its model replaced, no more."""
    learned = event(form, "a", padded(padding) if padding else "")
    template = learn(learned, span(learned), MODEL)
    other = event(form, text, padded("0") if padding else "")
    assert template is not None
    assert template.apply(other) == other.replace(b'"up"', MODEL)
    assert template.apply(learned) == learned.replace(b'"up"', MODEL)


@pytest.mark.parametrize("form", [FIRST, LAST])
@pytest.mark.parametrize(
    "differs",
    [
        lambda raw: raw.replace(b"null", b'"stop"'),
        lambda raw: raw.replace(b'"a"', b'""'),
        lambda raw: raw.replace(b'"a"', b"null"),
        lambda raw: raw.replace(b'"index":0', b'"index":1'),
        lambda raw: raw[:-2] + b',"usage":{}}\n\n',
        lambda raw: raw[:-1],
        lambda raw: raw[:-5],
        lambda raw: raw + raw,
        lambda raw: raw + b": c\n\n",
        lambda raw: b": c\n\n" + raw,
        lambda raw: raw.replace(b'"a"', b'"a\n\ndata: b"'),
        lambda raw: raw.replace(b'"a"', b'"a","finish_reason":"stop"'),
        lambda raw: raw.replace(b"\n", b"\r\n"),
        lambda raw: b"",
    ],
)
def test_anything_else_is_looked_at(form, differs):
    """What is not that one chunk, whole and alone, is not passed."""
    learned = event(form)
    template = learn(learned, span(learned), MODEL)
    assert template is not None
    assert template.apply(differs(learned)) is None


def chunked(raw):
    """One chunk of HTTP."""
    return b"%x\r\n%b\r\n" % (len(raw), raw)


@pytest.mark.parametrize("padding", [None, "xyz"])
@given(st.text(min_size=1, max_size=20), st.integers(1, 900))
def test_a_framed_one(padding, text, size):
    """In its framing it becomes what it would without, framed anew, or it is left to be looked at."""
    template = learn(
        raw := event(FIRST, "a", padded(padding) if padding else ""), span(raw), MODEL
    )
    other = event(FIRST, text, padded("0" * size) if padding else "")
    assert template is not None
    framed = template.framed(chunked(other))
    assert framed in (chunked(other.replace(b'"up"', MODEL)), None)
    is_short = len(other.replace(b'"up"', MODEL)) < 1024
    assert (framed is not None) == is_short
    assert (template.pieces, template.size) == (is_short, len(other) * is_short)


@pytest.mark.parametrize("padding", [None, "xyz"])
def test_a_framed_one_at_every_cut(padding):
    """A part of it, more than it, another size line: looked at."""
    raw = event(FIRST, "a", padded(padding) if padding else "")
    template = learn(raw, span(raw), MODEL)
    assert template is not None
    whole = chunked(raw)
    for cut in range(len(whole)):
        assert template.framed(whole[:cut]) is None
        assert template.framed(whole[cut:] + whole[: cut or None]) is None
        for other in (b"", b"0", b'"', b"\n", b"\\"):
            changed = whole[:cut] + other + whole[cut + 1 :]
            passed = template.framed(changed)
            text = whole.index(b'"a"') + 1
            inside = [
                text,
                *([whole.index(b"xyz") + n for n in range(3)] if padding else []),
            ]
            if passed is not None and changed != whole:
                assert (other, cut in inside) in [(b"0", True)]
    assert template.framed(b"0" + whole) is None
    assert template.framed(whole.upper()) is None
    assert template.framed(whole) == chunked(raw.replace(b'"up"', MODEL))


def test_not_framed_where_the_model_comes_last():
    """What is behind the text has to stay as it is."""
    raw = event(LAST)
    template = learn(raw, span(raw), MODEL)
    assert template is not None
    assert not template.frames
    assert template.framed(chunked(raw)) is None
    assert template.apply(raw) == raw.replace(b'"up"', MODEL)
    for other in (b"\ntext", b"\n", b"text", b"\n\n", b"x", b"\nx", b"\n\\x", b"\n\\"):
        assert template.framed(chunked(other)) is None
    assert (template.pieces, template.size) == (0, 0)


def test_no_model():
    """A chunk without a model is passed as it is."""
    raw = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    template = learn(raw, None, MODEL)
    assert template is not None
    assert template.apply(raw.replace(b'"a"', b'"b c"')) == raw.replace(
        b'"a"', b'"b c"'
    )


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (b'data: {"choices":[{"delta":{}}],"model":"up"}\n\n', (35, 39)),
        (event(FIRST, end="\r\n\r\n"), (0, 0)),
        (event(FIRST, end="\n"), (0, 0)),
        # The name is in the text that varies.
        (b'data: {"content":"up","model":1}\n\n', (18, 20)),
    ],
)
def test_not_learned(raw, where):
    """No text, other line ends, an unfinished event: the long way stays."""
    assert learn(raw, where, MODEL) is None


def test_a_stream_that_cannot_be_read_leaves_it():
    """Past the bound everything passes as it came, also what is like the chunks before."""
    chunk = event(FIRST)
    rewriter = TailRewriter(
        model="acme/large", wants_usage=False, annotate=lambda _: b"{}"
    )
    for _ in range(3):
        rewriter.feed(chunk)
    before, comment = rewriter.template, b":" + b"x" * MAX_COMMENT_BYTES
    assert rewriter.feed(comment) == comment
    assert before is not None
    assert rewriter.template is None
    assert rewriter.feed(b"\n\n" + chunk) + rewriter.feed(chunk) == (
        b"\n\n" + chunk + chunk
    )


def test_a_stream_is_on_the_short_way():
    """The first chunk has a role, the others have not: soon they are passed by their likeness."""
    first = b'data: {"id":"c","model":"up","choices":[{"delta":{"role":"assistant","content":"a"}}]}\n\n'
    later = b'data: {"id":"c","model":"up","choices":[{"index":0,"delta":{"content":"b"}}]}\n\n'
    rewriter = TailRewriter(
        model="acme/large", wants_usage=False, annotate=lambda _: b"{}"
    )
    for each in (first, later, later, later):
        assert rewriter.feed(each) == each.replace(b'"up"', MODEL)
    assert rewriter.template is not None
    assert rewriter.template.apply(later) == later.replace(b'"up"', MODEL)
