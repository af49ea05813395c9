"""Streams whose chunks pass by their likeness, past the answer: they end as well as any other, and count the same.

Every test runs on both ways. On the fast one it holds that most chunks took the short way, else it would
show nothing.
"""

import asyncio
import json
import re

import pytest

from lowproxy.core.template import Template
from tests.fakes import FakeUpstream
from tests.gateway import CHAT, asking, settled

PLAIN = (
    'data: {"id":"c-1","model":"upstream-small","choices":[{"index":0,"delta":'
    '{"content":%s},"finish_reason":null}]}\n\n'
)
PADDED = PLAIN[:-3] + ',"obfuscation":"ab9"}\n\n'
MODEL_LAST = (
    'data: {"id":"c-1","choices":[{"index":0,"delta":{"content":%s},'
    '"finish_reason":null}],"model":"upstream-small"}\n\n'
)
# Some of four bytes, where pieces count, and one where bytes do.
WORDS = [f" w{n:02}" for n in range(40)]
LONG = [f" a dozen words and more, number {n:02}" for n in range(40)]
FINISH = PLAIN.replace("null", '"stop"').replace("%s", '""').encode()
ERROR = b'data: {"error":{"message":"overloaded","type":"x","code":529}}\n\n'
DONE = b"data: [DONE]\n\n"


def chunk(form, word):
    """One chunk as the upstream sends it."""
    return (form % json.dumps(word)).encode()


@pytest.fixture
def passed(monkeypatch):
    """What took the short way: the reads."""
    reads = []
    framed = Template.framed

    def noted(self, read):
        out = framed(self, read)
        if out is not None:
            reads.append(read)
        return out

    monkeypatch.setattr(Template, "framed", noted)
    return reads


def talking(form, words, then):
    """An upstream that sends chunk after chunk, each by itself, and does something `then`."""

    async def talk(seen, wire):
        await wire.head(chunked=True)
        for word in words:
            await wire.chunk(chunk(form, word))
            for _ in range(6):  # a read each
                await asyncio.sleep(0)
        await then(wire)

    return talk


async def forgotten(wire):
    """The end without [DONE]."""
    await wire.end()


async def done(wire):
    """The end as it should be, but without usage."""
    await wire.chunk(FINISH)
    await wire.chunk(DONE)
    await wire.end()


async def cut(wire):
    """A broken connection."""
    await wire.cut()


async def half(wire):
    """A clean end within an event."""
    await wire.chunk(b'data: {"id":"c-1","mod')
    await wire.end()


async def failed(wire):
    """An error in band."""
    await wire.chunk(ERROR)
    await wire.end()


async def silent(wire):
    """Nothing more."""
    await wire.hold(asyncio.Event())


ENDS = {
    forgotten: ("ok", None),
    done: ("ok", None),
    cut: ("upstream_error", "upstream_cut"),
    half: ("upstream_error", "upstream_cut"),
    failed: ("upstream_error", "upstream_stream_error"),
    silent: ("upstream_error", "upstream_timeout"),
}


@pytest.mark.parametrize(
    ("form", "words", "usage"),
    [
        (PLAIN, WORDS, True),
        (PLAIN, LONG, False),
        (PADDED, WORDS, False),
        (PADDED, LONG, True),
        (MODEL_LAST, WORDS, True),
    ],
)
@pytest.mark.parametrize("then", ENDS)
async def test_the_count_of_a_stream_without_usage(
    serve, upstream, passed, client_kind, then, form, words, usage
):
    """However it ends, every chunk is counted once, in the last chunk and in the books; all text has passed."""
    upstream.on_request = talking(form, words, then)
    gateway = await serve(upstream, extra="[timeouts]\nidle_s = 0.2")
    told = await gateway.chat(asking(usage=usage))
    expected = b"".join(chunk(form, word) for word in words)
    expected = expected.replace(b'"upstream-small"', b'"acme/small"')
    assert told.body.startswith(expected)
    record = await gateway.books.record()
    assert (record.status, record.error) == ENDS[then]
    assert record.usage.counted
    size = sum(map(len, words))
    counted = len(words) if words is WORDS else size // 4
    assert record.usage.completion == counted
    tokens = re.search(rb'"completion_tokens":(\d+)', told.body)
    if usage and then in (forgotten, done):
        assert tokens is not None
        assert int(tokens[1]) == counted
    else:
        assert tokens is None
    assert told.body.count(b'"lowrouter"') == 1
    if client_kind == "fast" and form is not MODEL_LAST:
        assert len(passed) > len(words) // 2
    else:
        assert passed == []


@pytest.mark.parametrize("way", ["drain", "bounded", "cancel"])
async def test_a_caller_who_leaves(serve, upstream, passed, client_kind, way):
    """The rest is read on past nobody: counted once, and nothing is on the short way any more."""
    gate = asyncio.Event()

    async def talk(wire):
        with_gate.set()
        await wire.hold(gate)
        for word in WORDS:
            await wire.chunk(chunk(PLAIN, word))
            await asyncio.sleep(0)
        await wire.end()

    with_gate = asyncio.Event()
    upstream.on_request = talking(PLAIN, WORDS, talk)
    gateway = await serve(upstream, extra=f'[relay]\non_disconnect = "{way}"')
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        for _ in WORDS:
            await reply.event()
        await with_gate.wait()
    if way == "cancel":
        await upstream.aborted.wait()
    else:
        await settled(lambda: gateway.parts.metrics.open_requests)
    before = len(passed)
    gate.set()
    record = await gateway.books.record()
    assert (record.status, record.usage.counted) == ("partial", True)
    assert record.usage.completion == len(WORDS) * (1 if way == "cancel" else 2)
    assert len(passed) == before
    assert bool(passed) == (client_kind == "fast")


async def test_a_caller_who_does_not_read(serve, passed, client_kind):
    """The upstream is paused, not buffered for; and all of it arrives once the caller reads."""
    text, count, sent = "x" * 800, 12_000, []

    async def pour(seen, wire):
        await wire.head(chunked=True)
        for n in range(count):
            await wire.chunk(chunk(PLAIN, text))
            sent.append(n)
            await asyncio.sleep(0)
        await done(wire)

    async with FakeUpstream(sndbuf=8192) as upstream:
        upstream.on_request = pour
        gateway = await serve(upstream)
        async with gateway.caller(rcvbuf=65536) as caller:
            reply = await caller.post(CHAT, asking())
            await settled(lambda: len(sent))
            assert len(sent) < count // 2
            pieces = []
            while (piece := await reply.piece()) is not None:
                pieces.append(piece)
        body = b"".join(pieces)
        assert body.count(text.encode()) == count
        assert body.endswith(DONE)
        record = await gateway.books.record()
    assert record.usage.completion == len(text) * count // 4
    assert bool(passed) == (client_kind == "fast")


async def test_a_stop_in_the_middle(serve, upstream, passed, client_kind):
    """A gateway that stops says so in band, with the count of what has passed."""
    upstream.on_request = talking(PLAIN, WORDS, silent)
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        for _ in WORDS:
            await reply.event()
        gateway.parts.life.cutting = True
        for request in list(gateway.parts.busy.values()):
            request.work.cancel()
        last = json.loads((await reply.event())[6:])
        assert await reply.rest() == b""
        gateway.parts.life.cutting = False
    assert "stopping" in last["error"]["message"]
    record = await gateway.books.record()
    assert record.usage.completion == len(WORDS)
    assert last["lowrouter"]["generation_id"] == record.generation_id
    assert bool(passed) == (client_kind == "fast")


async def test_the_next_answer_on_the_connection(serve, upstream, passed):
    """A connection that was on the short way serves another answer as if it never had been."""
    upstream.on_request = talking(PLAIN, WORDS, done)
    gateway = await serve(upstream)
    bodies = []
    for _ in range(3):
        async with gateway.caller() as caller:
            reply = await caller.post(CHAT, asking())
            bodies.append(re.sub(rb"gen_[\w-]+", b"", await reply.rest()))
        upstream.on_request = None
        assert (await gateway.chat()).json()["choices"]
        upstream.on_request = talking(PLAIN, WORDS, done)
    assert len({re.sub(rb'"lowrouter":.*', b"", body) for body in bodies}) == 1
    assert upstream.connections.count == 1


async def test_http_1_0_gets_no_chunks(serve, upstream, passed):
    """A caller that knows no chunks of HTTP gets none, so there is no short way to it."""
    upstream.on_request = talking(PLAIN, WORDS, done)
    gateway = await serve(upstream)
    body = json.dumps(asking()).encode()
    async with gateway.caller() as caller:
        await caller.send(
            b"POST %b HTTP/1.0\r\nAuthorization: Bearer %b\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b"
            % (CHAT.encode(), caller._key.encode(), len(body), body)
        )
        reply = await caller.reply()
        told = await reply.rest()
    assert "transfer-encoding" not in reply.headers
    expected = b"".join(chunk(PLAIN, word) for word in WORDS)
    assert told.startswith(expected.replace(b'"upstream-small"', b'"acme/small"'))
    assert told.endswith(DONE)
    assert passed == []


async def test_every_cut(serve, upstream, passed):
    """A chunk in two reads among chunks that pass by likeness, cut at each of its bytes, framing too."""
    whole = chunk(PLAIN, "cut")
    framed = b"%x\r\n%b\r\n" % (len(whole), whole)
    cuts = range(1, len(framed))

    async def talk(seen, wire):
        await wire.head(chunked=True)
        for at in cuts:
            for part in (framed, framed[:at], framed[at:]):
                await wire.raw(part)
                for _ in range(6):
                    await asyncio.sleep(0)
        await done(wire)

    upstream.on_request = talk
    gateway = await serve(upstream)
    told = await gateway.chat(asking())
    events = told.body.split(b"\n\n")
    one = whole.replace(b'"upstream-small"', b'"acme/small"')[:-2]
    assert events[: 2 * len(cuts)] == [one] * (2 * len(cuts))
    assert (await gateway.books.record()).usage.completion == 2 * len(cuts)


def apart(*reads):
    """An upstream that sends these bytes, framing and all, each in a read of its own; then the end."""

    async def talk(seen, wire):
        await wire.head(chunked=True)
        for read in reads:
            await wire.raw(read)
            for _ in range(6):
                await asyncio.sleep(0)
        await done(wire)

    return talk


def framed(data):
    """One chunk of HTTP."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize(
    "before", [b": ping\n", b"event: message\n", b"\n", b"id: 7\n"]
)
async def test_half_an_event_before_a_chunk(
    serve, upstream, passed, client_kind, before
):
    """Lines that an upstream sends ahead of their data stay ahead of it."""
    whole = chunk(PLAIN, "a")
    reads = [framed(part) for part in [whole, whole, whole, before, whole, whole] * 9]
    upstream.on_request = apart(*reads)
    gateway = await serve(upstream)
    told = await gateway.chat(asking())
    one = whole.replace(b'"upstream-small"', b'"acme/small"')
    assert told.body.startswith((one * 3 + before + one * 2) * 9)
    assert bool(passed) == (client_kind == "fast")


async def test_framing_within_a_chunk(serve, upstream):
    """What looks like a chunk of HTTP within one of them is content."""
    whole = chunk(PLAIN, "a")
    within = framed(whole)
    size = b"%x\r\n" % len(whole + within)
    both = (size + whole, within, b"\r\n")
    upstream.on_request = apart(*[framed(whole)] * 4, *both, *[framed(whole)] * 4)
    gateway = await serve(upstream)
    told = await gateway.chat(asking())
    one = whole.replace(b'"upstream-small"', b'"acme/small"')
    within = within.replace(b'"upstream-small"', b'"acme/small"')
    assert told.body.startswith(one * 5 + within + one * 4)
    assert told.body.endswith(DONE)
