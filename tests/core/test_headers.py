"""What crosses the gateway is named here; nothing breaks out of its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from lowproxy.core.headers import (
    DOWN,
    UP,
    bearer,
    forwarded,
    head,
    lines,
    media_type,
    pairs,
)


def test_only_what_is_allowed_goes_up():
    """No credential, no cookie, no hop-by-hop field, whatever the caller sends."""
    fields = CIMultiDict(
        {
            "Authorization": "Bearer canary",
            "X-Api-Key": "canary",
            "Api-Key": "canary",
            "Cookie": "canary",
            "Proxy-Authorization": "canary",
            "OpenAI-Organization": "canary",
            "Host": "canary",
            "Connection": "traceparent",
            "Transfer-Encoding": "chunked",
            "Content-Length": "5",
            "X-LowRouter-Region": "canary",
            "X-Forwarded-For": "canary",
            "TraceParent": "00-1-2-01",
            "Idempotency-Key": "k-1",
        }
    )

    assert forwarded(fields, UP) == [
        ("traceparent", "00-1-2-01"),
        ("idempotency-key", "k-1"),
    ]


def test_only_what_is_allowed_comes_down():
    """No limits of the account, no cookies, no framing of the upstream's."""
    fields = CIMultiDict(
        {
            "Set-Cookie": "canary",
            "X-RateLimit-Remaining-Requests": "canary",
            "OpenAI-Organization": "canary",
            "Content-Encoding": "gzip",
            "X-LowRouter-Region": "canary",
            "Location": "canary",
            "X-Request-ID": "req_1",
        }
    )

    assert forwarded(fields, DOWN) == [("x-request-id", "req_1")]
    assert forwarded({}, DOWN) == []


@pytest.mark.parametrize("names", [UP, DOWN])
def test_the_lists_hold_nothing_dangerous(names):
    """Whoever adds a field meets this test."""
    for name in names:
        assert name == name.lower()
        for part in ("auth", "key", "cookie", "token", "connection", "length"):
            assert part not in name or name == "idempotency-key"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        (" text/event-stream ;x=y", "text/event-stream"),
        ("", ""),
        (None, ""),
    ],
)
def test_media_type(value, kind):
    """Without parameters and case."""
    fields = CIMultiDict({} if value is None else {"Content-Type": value})

    assert media_type(fields) == kind


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("Bearer lr-sk-1", "lr-sk-1"),
        ("bearer   lr-sk-1 ", "lr-sk-1"),
        ("BEARER x", "x"),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic lr-sk-1", None),
        ("lr-sk-1", None),
        ("", None),
        (None, None),
    ],
)
def test_bearer(value, token):
    """The token, whatever the case of the scheme."""
    assert bearer(value) == token


def test_head():
    """A start line, a line for each field, a blank line."""
    assert head("HTTP/1.1 200 OK", [("A", "1"), ("B", "é")]) == (
        "HTTP/1.1 200 OK\r\nA: 1\r\nB: é\r\n\r\n".encode()
    )
    assert head("GET / HTTP/1.1", iter([])) == b"GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    "value", ["1\r\nB: 2", "1\r\n\r\nbody", "1\n", "\r", "1\n\rB: 2"]
)
@pytest.mark.parametrize("place", ["line", "name", "value"])
def test_a_value_does_not_break_out_of_its_line(value, place):
    """A field more than was given is a ValueError, not a second header."""
    line = f"GET /{value} HTTP/1.1" if place == "line" else "GET / HTTP/1.1"
    name = value if place == "name" else "A"

    with pytest.raises(ValueError, match="line break"):
        head(line, [(name, value if place == "value" else "1")])


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=8)), max_size=4))
def test_as_many_lines_as_fields(fields):
    """Any text is refused or stays on its own line."""
    try:
        sent = head("GET / HTTP/1.1", fields)
    except ValueError:
        assert any("\r" in n + v or "\n" in n + v for n, v in fields)
    else:
        assert len(sent.split(b"\r\n")) == len(fields) + 3
        assert b"\n" not in sent.replace(b"\r\n", b"")


def test_lines_are_pairs_again():
    """A value may hold what stands between a name and a value; what is lines stays as it is."""
    fields = [("A", "1"), ("B", "x: y"), ("C", "")]
    text = lines(fields)
    assert lines(text) == text == "A: 1\r\nB: x: y\r\nC: \r\n"
    assert pairs(text) == fields
    assert pairs("") == []
