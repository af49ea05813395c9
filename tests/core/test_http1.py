"""Responses are read the same wherever the network cuts them; what contradicts itself is refused."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.http1 import ChunkedBody, Inflater, PlainBody, body_of
from lowproxy.core.http1_head import CHUNKED, UNTIL_CLOSE, Http1Error, read_head


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
