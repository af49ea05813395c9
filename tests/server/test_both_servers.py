"""The direct server and aiohttp's read the same requests out of the same bytes, whatever a caller makes of HTTP.

`LOWPROXY_CALLERS=50000 pytest tests/server/test_both_servers.py` compares as many connections; the default is
what a test run can afford.
"""

import asyncio
import gzip
import os
import random
import re

import pytest

from lowproxy.errors import BadRequestError
from lowproxy.server.aiohttp_server import PublicServer
from lowproxy.server.direct import DirectServer
from lowproxy.server.repeated import Repeats
from lowproxy.server.wire import send
from tests.gateway import settled
from tests.transports import Transport

CALLERS = int(os.environ.get("LOWPROXY_CALLERS", "600"))

LENGTHS = [
    "content-length:%d",
    "CONTENT-LENGTH:\t%d \t",
    "Content-Length: 000%d",
    "Content-Length:   %d",
    "Content-Length: %d\r\nContent-Length: %d",
    "Content-Length: %d\r\ncontent-length: 3",
    "X-A: b\r\nContent-Length: %d\r\nX-C: d",
    "Content-Length: +%d",
    "Content-Length: -%d",
    "Content-Length: %d, %d",
    "Content-Length: 0x%d",
    "Content-Length: %d;a",
    "Content-Length: %d 1",
    "Content-Length:\r\n %d",
    "Content-Length: %d\r\n 1",
    "X-A: b\r\n Content-Length: 3\r\nContent-Length: %d",
    "X-A: Content-Length: 3\r\nContent-Length: %d",
    "Content-Length : %d",
    " Content-Length: %d",
    "Content-Length: %d\nX-A: b",
    "Content-Length: %d\rX-A: b",
    "X-A: b\rContent-Length: 3\r\nContent-Length: %d",
    "X-A: b\nContent-Length: 3\r\nContent-Length: %d",
    "Content-Length: 1000000000000000%d",
    "Content-Length: 99999999999999999999999%d",
    "Content-Length: %d\0",
    "Content-Length: ٣%d",
    "Content_Length: 3\r\nContent-Length: %d",
    "Content-Length:",
    "Content-Length: 3",
    "Content-Length: %d\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: %d",
    "Transfer-Encoding: identity\r\nContent-Length: %d",
]
CHUNKED = [
    "Transfer-Encoding: chunked",
    "transfer-encoding:\tCHUNKED ",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding:\r\n chunked",
]
MORE = [
    "Connection: close",
    "Connection: keep-alive",
    "Connection: close, keep-alive",
    "Connection: Upgrade\r\nUpgrade: websocket",
    "Connection: Upgrade\r\nUpgrade: h2c",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Expect: 100-continue",
    "expect: 100-Continue",
    "Content-Encoding: gzip",
    "Content-Encoding: identity",
    "Host: again",
    "X-B: c\r\n d",
    "X-B: é",
    "X-B",
    ": b",
    "X-B: \x01",
    "",
]
LINES = [
    "POST /b HTTP/1.1",
    "POST /a HTTP/1.0",
    "POST /a HTTP/1.2",
    "POST /a HTTP/2.0",
    "POST  /a HTTP/1.1",
    "POST /a HTTP/1.1 ",
    "post /a HTTP/1.1",
    "GET /a?b=c HTTP/1.1",
    "HEAD /a HTTP/1.1",
    "PUT /wait HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "CONNECT a:1 HTTP/1.1",
    "POST http://h/a HTTP/1.1",
    "POST /a",
    "\r\nPOST /a HTTP/1.1",
    "\nPOST /a HTTP/1.1",
]
WITHIN = b"POST /within HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"


def body_of(dice: random.Random) -> bytes:
    """A body, often one that would be a request or its end."""
    kinds = [b"", b"{}", WITHIN, WITHIN * 3, b"\r\n" + WITHIN, b"0\r\n\r\n" + WITHIN]
    if dice.random() < 0.05:  # more than is kept for a handler that does not read
        return (WITHIN * 12_000)[dice.randint(0, 9) : dice.randint(250_000, 650_000)]
    return dice.choice([*kinds, b'{"a":%d}' % dice.randint(0, 10**6), b"x" * 70_000])


def head_of(dice: random.Random) -> list[str]:
    """Lines of a head, the place of the length's number kept open."""
    first, length = "POST /a HTTP/1.1", "Content-Length: %d"
    lines = [f"X-K: {dice.choice('kkl')}"]
    if dice.random() < 0.15:
        first = dice.choice(LINES)
    elif dice.random() < 0.3:
        first = "POST /wait HTTP/1.1"
    if dice.random() < 0.15:
        length = dice.choice(LENGTHS)
    elif dice.random() < 0.1:
        length = dice.choice(CHUNKED)
    elif dice.random() < 0.05:
        length = "X-N: none"
    if dice.random() < 0.15:
        lines.append(dice.choice(MORE))
    lines.insert(dice.randint(0, len(lines)), length)
    return [first, *(["Host: h"] if dice.random() < 0.99 else []), *lines]


def written(dice: random.Random, head: list[str]) -> bytes:
    """A request with that head and any body; now and then they do not fit."""
    text, body = "\r\n".join(head) + "\r\n\r\n", body_of(dice)
    if "gzip" in text and dice.random() < 0.7:
        body = gzip.compress(body)
    size = len(body) + (dice.choice([-1, 1, 9]) if dice.random() < 0.03 else 0)
    places = text.count("%d")
    sent = (text % ((max(size, 0),) * places)).encode()
    if not places and "hunked" in text.lower():
        body = chunked(dice, body)
    elif not places and dice.random() < 0.8:
        body = b""
    return sent + body + (b"\r\n" if dice.random() < 0.02 else b"")


def chunked(dice: random.Random, body: bytes) -> bytes:
    """The body in chunks, well-formed or nearly."""
    text, at = b"", 0
    while at < len(body):
        piece = body[at : at + dice.randint(1, len(body))]
        at += len(piece)
        spelled = dice.choice(
            [b"%x", b"%X", b"00%x", b"%x;a=b"] * 5 + [b"0x%x", b"+%x"]
        )
        text += spelled % len(piece) + b"\r\n" + piece + b"\r\n"
    ends = [b"0\r\n\r\n"] * 9 + [b"0\r\nX-T: u\r\n\r\n", b"0\n\n", b"00\r\n\r\n"]
    return text + dice.choice(ends)


def connection(seed: int) -> list[bytes]:
    """What a caller sends on one connection: requests, most with the head of the one before."""
    dice = random.Random(seed)
    head, texts = head_of(dice), []
    for _ in range(dice.randint(2, 7)):
        if dice.random() < 0.35:
            head = head_of(dice)
        texts.append(written(dice, head))
    return texts


def cut(seed: int, texts: list[bytes]) -> list[bytes]:
    """The same bytes as the network may bring them."""
    dice = random.Random(seed)
    way = dice.random()
    if way < 0.3:
        return texts
    whole = b"".join(texts)
    if way < 0.4 and len(whole) < 5000:
        return [whole[i : i + 1] for i in range(len(whole))]
    places = [dice.randint(1, len(whole)) for _ in range(dice.randint(0, 12))]
    for text in texts if way < 0.7 else []:
        places.append(places[-1] + len(text) if places else len(text))
    ends = sorted({min(place, len(whole)) for place in places} | {len(whole)})
    return [whole[a:b] for a, b in zip([0, *ends], ends, strict=False)]


async def read(kind, chunks):
    """What handlers are given on one connection, the statuses of the answers, and whether it was closed."""
    seen = []

    async def handler(request):
        told = [request.method, request.raw_path, dict(request.query)]
        told += [] if request.method == "CONNECT" else [request.path]
        fields = [(k, v) for k, v in request.headers.items() if k != "Content-Length"]
        mine = [*told, fields, request.content_length, "cut"]
        seen.append(mine)
        body = b""
        request.say_continue()
        if request.path == "/wait":
            for _ in range((request.content_length or 1) % 7):
                await asyncio.sleep(0)
        try:
            whole = request.whole() if request.method == "POST" else None
            while whole is None and (data := await request.more()):
                body += data
        except BadRequestError:
            mine[-1] = "bad"
            return send(request, 400, "", b"{}", close=True)
        mine[-1] = whole or body
        return send(request, 200, "", b"{}")

    server, transport = kind(handler), Transport()
    protocol = server()
    protocol.connection_made(transport)
    for chunk in chunks:
        if transport.paused:
            await settled(lambda: (transport.paused, len(transport.text)), 40)
        if not (transport.closed or transport.paused):
            protocol.data_received(chunk)
            await asyncio.sleep(0)
    await settled(lambda: (transport.closed, len(transport.text)), 40)
    closed = transport.closed
    protocol.connection_lost(None)
    await server.shutdown(0)
    statuses = re.findall(rb"HTTP/\d\.\d (\d+)", transport.text)
    return seen, statuses, closed


def alike(one, other):
    """Whether they read the same, but for what the parser does with malformed bytes.

    It throws away the good requests that it was given together with them, in reads that differ in size; and
    aiohttp's server leaves the handler of a body that comes apart without word.
    """
    seen, statuses, _ = one
    seen_there, statuses_there, _ = other
    if one == other:
        return True
    if not statuses or statuses[-1] != b"400":
        return False
    if seen and seen[-1][-1] == "bad":
        cut = [*seen[:-1], [*seen[-1][:-1], "cut"]]
        return seen_there == cut and statuses_there == statuses[:-1]
    both = min(len(seen), len(seen_there))
    return seen[:both] == seen_there[:both] and statuses_there[-1:] == [b"400"]


@pytest.mark.parametrize("start", range(0, CALLERS, 1000))
async def test_both_servers_read_the_same(start, monkeypatch):
    """Nothing is read of a request that aiohttp's parser would not read of it: no field, no byte of a body."""
    taken, take = [0], Repeats.take

    def counted(*asked):
        found = take(*asked)
        taken[0] += found is not None
        return found

    monkeypatch.setattr(Repeats, "take", counted)
    seeds = range(start, min(start + 1000, CALLERS))
    for seed in seeds:
        chunks = cut(seed, connection(seed))
        one, other = await read(DirectServer, chunks), await read(PublicServer, chunks)
        assert alike(one, other), seed
    assert (
        taken[0] > len(seeds) / 4
    )  # else it is the parser that is held against itself


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
@pytest.mark.parametrize("kind", [DirectServer, PublicServer])
async def test_nothing_follows_a_wish_for_another_protocol(kind, protocol):
    """The parser may lose what comes in the same read behind it, and would take a body's rest for a request."""
    upgrade = (
        f"Connection: Upgrade\r\nUpgrade: {protocol}\r\nContent-Length: 2\r\n\r\n{{}}"
    )
    asked = f"POST /a HTTP/1.1\r\nHost: h\r\n{upgrade}".encode()
    good = b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(WITHIN)

    seen, statuses, closed = await read(kind, [asked + good, WITHIN])

    assert [told[1] for told in seen] == ["/a"]
    assert (statuses, closed) == ([b"200"], True)


async def test_thousands_of_requests_in_one_read_let_others_have_a_turn():
    """They are begun a few at a time, no further ones are read meanwhile, and all are answered."""
    seen = []

    async def handler(request):
        seen.append(request.raw_path)
        return send(request, 200, "", b"{}")

    server, transport = DirectServer(handler), Transport()
    protocol = server()
    protocol.connection_made(transport)
    protocol.data_received(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n" * 5000)
    assert (len(seen) < 100, transport.paused) == (True, True)
    await settled(lambda: len(seen), 40)
    assert (len(seen), transport.paused) == (5000, False)
    assert transport.text.count(b"200 OK") == 5000
    protocol.connection_lost(None)
    await server.shutdown(0)
