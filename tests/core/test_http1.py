"""Responses are read the same wherever the network cuts them; what contradicts itself is refused."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core import http1
from lowproxy.core.http1 import (
    CHUNKED,
    UNTIL_CLOSE,
    ChunkedBody,
    Http1Error,
    Inflater,
    PlainBody,
    body_of,
    read_head,
)


def head(*lines, start="HTTP/1.1 200 OK"):
    return read_head(
        "".join(f"{line}\r\n" for line in (start, *lines)).encode("latin-1")
    )


def read(body, pieces):
    """The content that comes of these reads."""
    content = b""
    for piece in pieces:
        assert not body.done
        content += body.feed(piece)
    return content


def cut(data, places):
    places = sorted({place % len(data) for place in places} - {0})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


# --- heads -------------------------------------------------------------------------------------


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


def test_lines_are_not_remembered_without_end():
    """However many an upstream thinks of, and never a long one."""
    for i in range(3000):
        value = f"{i} " + "x" * (i % 400)
        parsed = head(f"x-request-id: {value}".rstrip(), "Content-Length: 1")
        assert parsed.down == f"x-request-id: {value.rstrip()}\r\n"
    assert 0 < len(http1._LINES) <= http1._MOST_LINES
    assert max(map(len, http1._LINES)) <= http1._MOST_LINE_BYTES


def test_cookies_are_not_remembered():
    """They are somebody's secrets, and no two are alike."""
    for line in ("Set-Cookie: canary=1", "SET-COOKIE : canary=2", "set-cookie:canary"):
        head(line, "Content-Length: 1")
    assert not any(b"canary" in line for line in http1._LINES)


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


# --- bodies ------------------------------------------------------------------------------------

PLACES = st.lists(st.integers(0, 10_000), max_size=10)
PARTS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


@st.composite
def chunked(draw):
    """A body in chunks with extensions and trailers, and its content."""
    parts = draw(PARTS)
    out = b""
    for part in parts:
        size = draw(st.sampled_from([b"%x", b"%X", b"0%x", b"%x;a=b", b"%x ; c"]))
        out += size % len(part) + b"\r\n" + part + b"\r\n"
    trailer = draw(st.sampled_from([b"", b"X: 1\r\n", b"X: 1\r\nY: 2\r\n"]))
    return out + b"0\r\n" + trailer + b"\r\n", b"".join(parts)


@given(chunked(), PLACES)
def test_chunks_in_any_reads(drawn, places):
    """The content is that of the chunks, and the end is where the last of them is."""
    data, content = drawn
    body = ChunkedBody(CHUNKED)

    assert read(body, cut(data, places)) == content
    assert body.done
    assert body.close()
    assert body.rest == b""
    assert read(ChunkedBody(CHUNKED), [bytes([byte]) for byte in data]) == content


@given(chunked(), st.binary(min_size=1, max_size=20))
def test_what_follows_the_last_chunk(drawn, rest):
    """Is nobody's content."""
    data, content = drawn
    body = ChunkedBody(CHUNKED)

    assert body.feed(data + rest) == content
    assert body.rest == rest


@given(chunked(), st.data())
def test_a_body_that_ends_early(drawn, data):
    """Whatever is missing, it is not taken for whole."""
    sent, content = drawn
    end = data.draw(st.integers(0, len(sent) - 1))
    body = ChunkedBody(CHUNKED)

    assert content.startswith(body.feed(sent[:end]) if end else b"")
    assert not body.done
    assert not body.close()


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\n",
        b"-1\r\n",
        b"0x5\r\nhello\r\n",
        b"5\r\nhelloXX0\r\n",
        b"5\r\nhello\r0\r\n\r\n",
        b"5\nhello\r\n",
        b"\r\n",
        b";a=b\r\n",
        b"+5\r\nhello\r\n",
        b"1_0\r\n",
        b"11111111111111111\r\n",
        b"5" * 10_000,
    ],
)
@pytest.mark.parametrize("size", [1, 3, 20_000])
def test_broken_chunks(data, size):
    """Are refused: what follows would be guessed."""
    body = ChunkedBody(CHUNKED)

    with pytest.raises(Http1Error):
        for i in range(0, len(data), size):
            body.feed(data[i : i + size])


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=8))
def test_any_bytes_as_chunks(reads):
    """Are content, or refused, and nothing else."""
    body = ChunkedBody(CHUNKED)
    try:
        for data in reads:
            body.feed(data)
    except Http1Error:
        pass


def test_one_chunk_in_a_read_is_not_searched():
    """The ordinary case: a read is a chunk. Its content leaves, whatever is in it."""
    body = ChunkedBody(CHUNKED)

    for content in (b"data: 1\n\n", b"\r\n0\r\n\r\n", b"x" * 70_000):
        assert body.feed(b"%x\r\n%b\r\n" % (len(content), content)) == content
    assert not body.done


@given(st.binary(max_size=60), st.binary(max_size=10), PLACES)
def test_a_body_by_its_length(content, rest, places):
    """To the byte; what follows is nobody's."""
    body = PlainBody(len(content))
    if not content:
        assert body.done
        return

    *pieces, last = cut(content, places)
    assert read(body, pieces) + body.feed(last + rest) == content
    assert body.done
    assert body.rest == rest


def test_a_body_to_the_end_of_the_connection():
    """Ends well only there."""
    body = PlainBody(UNTIL_CLOSE)

    assert read(body, [b"a", b"b"]) == b"ab"
    assert not body.done
    assert body.close()
    short = PlainBody(5)
    short.feed(b"abc")
    assert not short.close()


def test_the_body_of_a_head():
    """As the head says."""
    assert isinstance(body_of(head("Transfer-Encoding: chunked")), ChunkedBody)
    assert body_of(head("Content-Length: 0")).done
    assert not body_of(head()).done


# --- compression that nobody asked for ---------------------------------------------------------


@pytest.mark.parametrize(
    ("coding", "wbits"), [("gzip", 31), ("x-gzip", 31), ("deflate", 15)]
)
def test_inflating(coding, wbits):
    """In any reads."""
    packer = zlib.compressobj(wbits=wbits)
    packed = packer.compress(b"hello " * 1000) + packer.flush()
    inflater = Inflater(coding)

    plain = b"".join(inflater.feed(packed[i : i + 7]) for i in range(0, len(packed), 7))
    assert plain == b"hello " * 1000


def test_a_bomb():
    """Half a megabyte that becomes half a gigabyte ends at its bound."""
    packer = zlib.compressobj(9, wbits=31)
    packed = (
        b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    )

    with pytest.raises(Http1Error, match="beyond bounds"):
        Inflater("gzip").feed(packed)


def test_broken_and_unknown_compression():
    """Refused by name."""
    with pytest.raises(Http1Error, match="broken"):
        Inflater("gzip").feed(b"not gzip at all")
    with pytest.raises(Http1Error, match="not known"):
        Inflater("br")
