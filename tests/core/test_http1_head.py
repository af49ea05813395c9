"""What a head says is read; what contradicts itself is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core import http1_head
from lowproxy.core.http1_head import CHUNKED, UNTIL_CLOSE, Http1Error, read_head


def head(*lines, start="HTTP/1.1 200 OK"):
    return read_head(
        "".join(f"{line}\r\n" for line in (start, *lines)).encode("latin-1")
    )


def test_a_head():
    """Status, what is read of the fields by their names in lower case, what goes on as it is sent."""
    parsed = head(
        "Content-Length: 5",
        "X-Request-ID:  \xe9:b ",
        "Retry-After:",
        "OpenAI-Version: 2\t",
        "Content-Type: a/b;\xe9",
        "Set-Cookie: canary",
    )

    assert parsed.status == 200
    assert parsed.length == 5
    assert {name: parsed.fields.get(name) for name in ("content-type", "a")} == {
        "content-type": "a/b;\udce9",
        "a": None,
    }
    assert parsed.fields["retry-after"] == ""
    assert parsed.down == "x-request-id: \udce9:b\r\nopenai-version: 2\r\n"
    assert "canary" not in str(parsed.fields)


@pytest.mark.parametrize("odd", [[], ["X : 1"], ["X: 1", " folded: x"], ["a\nb: 1"]])
def test_a_field_that_is_repeated(odd):
    """The first counts, whatever odd lines are between."""
    parsed = head("Content-Type: a", *odd, "CONTENT-TYPE \t: b", "x-request-id: 1")
    assert parsed.fields["content-type"] == "a"
    parsed = head("x-request-id: 1", "X-Request-Id: 2", *odd, "retry-after: 7")
    assert (parsed.down, parsed.fields["retry-after"]) == ("x-request-id: 1\r\n", "7")


def test_a_folded_line_is_no_field():
    """Neither what it continues nor what it looks like."""
    parsed = head("X: 1", " content-length: 5", "\tx-request-id: 5")
    assert (parsed.length, parsed.down) == (UNTIL_CLOSE, "")


def head_bytes(line):
    return b"HTTP/1.1 200 OK\r\n" + line + b"\r\n"


def test_lines_are_not_remembered_without_end():
    """However many an upstream thinks of, and never a long one."""
    for i in range(3000):
        value = f"{i} " + "x" * (i % 400)
        parsed = head(f"x-request-id: {value}".rstrip(), "Content-Length: 1")
        assert parsed.down == f"x-request-id: {value.rstrip()}\r\n"
        head(f"x-{i}{'y' * (i % 400)}: 1", f"date: {i}", f"X-Request-Id : {i}")
        head(f"Set-Cookie{' ' * (i % 400)}: 1")
    lines, names = http1_head._LINES, http1_head._NAMES
    assert 0 < len(lines) <= http1_head._MOST_LINES
    assert max(map(len, lines)) <= http1_head._MOST_LINE_BYTES
    assert 0 < len(names) <= http1_head._MOST_NAMES
    assert max(map(len, names)) <= http1_head._MOST_NAME_BYTES
    assert 0 < len(http1_head._DROPPED) <= http1_head._MOST_NAMES
    assert max(map(len, http1_head._DROPPED)) <= http1_head._MOST_NAME_BYTES


def test_cookies_are_not_remembered():
    """They are somebody's secrets, and no two are alike."""
    for line in ("Set-Cookie: canary=1", "SET-COOKIE : canary=2", "set-cookie:canary"):
        head(line, "Content-Length: 1")
    assert not any(b"canary" in line for line in http1_head._LINES)


@pytest.mark.parametrize("name", ["cf-ray", "openai-processing-ms", "Content-Length"])
def test_fields_that_change_with_every_answer(name):
    """Do not push the others' lines out: few of their own are kept, and each is read for what it says."""
    for i in range(2000, 5000):
        parsed = head(f"{name}: {i}", "Content-Type: text/x-stays")
    assert parsed.fields["content-type"] == "text/x-stays"
    assert b"Content-Type: text/x-stays" in http1_head._LINES
    kept = [line for line in http1_head._LINES if line.startswith(name.encode())]
    assert len(kept) <= http1_head._MOST_LINES_OF_A_NAME
    assert ("4999" in parsed.down) is (name == "openai-processing-ms")
    assert (parsed.length == 4999) is (name == "Content-Length")


def test_a_changing_field_is_still_checked():
    """However often its name was read, a value that breaks out of its line is refused."""
    for i in range(100):
        head(f"x-request-id: {i}", f"Content-Length: {i}")
    for line in ("x-request-id: 1\rx: 2", "x-request-id: 1\n", "Content-Length: 1 2"):
        with pytest.raises(Http1Error):
            head(line)


VALUES = st.binary(max_size=12)


@given(st.sampled_from(["X-Request-ID", "date", "Content-Type", "x-ab"]), VALUES)
def test_what_is_known_changes_nothing(name, value):
    """A line is read the same whatever was read before it."""
    raw = head_bytes(name.encode() + b": " + value)
    outcomes: list[object] = []
    for forget in (True, False, False):
        if forget:
            for memory in (http1_head._LINES, http1_head._NAMES, http1_head._DROPPED):
                memory.clear()
        try:
            outcomes.append(read_head(raw))
        except Http1Error as error:
            outcomes.append(str(error))
        for i in range(20 * forget):
            read_head(head_bytes(f"{name}: {i}".encode()))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.parametrize(
    ("lines", "start", "length"),
    [
        (["Content-Length: 0"], "HTTP/1.1 200 OK", 0),
        (["Content-Length: 7", "content-length: 7"], "HTTP/1.1 200 OK", 7),
        (["Transfer-Encoding: Chunked"], "HTTP/1.1 200", CHUNKED),
        (["Transfer-Encoding : chunked"], "HTTP/1.1 200", CHUNKED),
        ([], "HTTP/1.1 200 OK", UNTIL_CLOSE),
        ([], "HTTP/1.1 204 No Content", 0),
        (["Content-Length: 9"], "HTTP/1.1 304 Not Modified", 0),
        ([], "HTTP/1.1 103 Early Hints", 0),
    ],
)
def test_framing(lines, start, length):
    """RFC 9112, section 6.3: by chunks, by length, by the end; some statuses have no body."""
    assert head(*lines, start=start).length == length


@pytest.mark.parametrize(
    ("lines", "start", "stays"),
    [
        (["Content-Length: 0"], "HTTP/1.1 200 OK", True),
        (["Content-Length: 0", "Connection: close"], "HTTP/1.1 200 OK", False),
        (["Content-Length: 0", "Connection: X, Close"], "HTTP/1.1 200 OK", False),
        (["Content-Length: 0"], "HTTP/1.0 200 OK", False),
        (["Content-Length: 0", "Connection: Keep-Alive"], "HTTP/1.0 200 OK", True),
        ([], "HTTP/1.1 200 OK", False),
    ],
)
def test_keep_alive(lines, start, stays):
    """A connection is used again only where both sides know where the answer ended."""
    assert head(*lines, start=start).keep_alive is stays


@pytest.mark.parametrize(
    ("lines", "start"),
    [
        (["Content-Length: 5", "Content-Length: 6"], "HTTP/1.1 200 OK"),
        (["Content-Length: 5", "Transfer-Encoding: chunked"], "HTTP/1.1 200 OK"),
        (["Content-Length : 5", "Transfer-Encoding: chunked"], "HTTP/1.1 200 OK"),
        (["Transfer-Encoding: chunked", "Transfer-Encoding: x"], "HTTP/1.1 200 OK"),
        (["Transfer-Encoding: gzip, chunked"], "HTTP/1.1 200 OK"),
        (["Transfer-Encoding: identity"], "HTTP/1.1 200 OK"),
        (["Content-Length: -5"], "HTTP/1.1 200 OK"),
        (["Content-Length: 5, 5"], "HTTP/1.1 200 OK"),
        (["Content-Length: 0x5"], "HTTP/1.1 200 OK"),
        (["Content-Length: \xb2"], "HTTP/1.1 200 OK"),
        (["Content-Length:"], "HTTP/1.1 200 OK"),
        (["Content-Length: 5\n6"], "HTTP/1.1 200 OK"),
        (["Content-Length: 5", "x-request-id: 1\rx: 2"], "HTTP/1.1 200 OK"),
        (["Content-Length: 5", "x-request-id: 1\0"], "HTTP/1.1 200 OK"),
        (["Content-Length: " + "9" * 5000], "HTTP/1.1 200 OK"),
        ([], "HTTP/2 200"),
        ([], "HTTP/1.1 20"),
        ([], "HTTP/1.1 abc"),
        ([], "ICY 200 OK"),
        ([], ""),
    ],
)
def test_a_head_that_cannot_be_trusted(lines, start):
    """Its framing is refused rather than guessed, and the refusal quotes nothing."""
    with pytest.raises(Http1Error) as caught:
        head(*lines, start=start)
    assert "999" not in str(caught.value)


@given(st.binary(max_size=80))
def test_any_head(data):
    """Is read or refused, and nothing else."""
    for raw in (data + b"\r\n", b"HTTP/1.1 200 OK\r\n" + data + b"\r\n"):
        try:
            parsed = read_head(raw)
        except Http1Error:
            continue
        assert parsed.length >= UNTIL_CLOSE
