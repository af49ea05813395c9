"""The bytes of a stream on their way to the caller, and how it ends."""

import asyncio
import json
from typing import Any

import pytest

from lowproxy.server import relay
from tests.fakes import Answer, default_stream, openai_chunk, sse, usage_chunk
from tests.gateway import CHAT, MODEL, asking, nothing_came, settled

# What real upstreams send: other line ends, no space, ids, comments, escapes, numbers
# beyond 64 bits, a repeated key, text that looks like our own marks.
ODD = [
    b": connected\n\n",
    (
        b'data: {"id":"c","model":"upstream-small","choices":[{"index":0,"delta":'
        b'{"content":"\\u00e9\\/ \xe2\x82\xac"},"finish_reason":null}],"x":1,"x":2}\n\n'
    ),
    (
        b'id: 7\r\ndata:{"model" : "upstream-small","choices":[{"index":0,"delta":'
        b'{"content":"data: [DONE] \\"usage\\": \\"lowrouter\\""}}],'
        b'"seed":123456789012345678901234567890}\r\n\r\n'
    ),
    (
        b'event: message\ndata: {"choices":[{"index":0,"delta":{"content":"no model"},'
        b'"finish_reason":null}],"n":1e400}\n\n'
    ),
    b": heartbeat\n\n",
]
FINISH = (
    b'data: {"id":"c","model":"upstream-small","choices":[{"index":0,"delta":{},'
    b'"finish_reason":"stop"}]}\n\n'
)
USAGE = (
    b'data: {"id":"c","model":"upstream-small","choices":[],"usage":'
    b'{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}\n\n'
)
DONE = b"data: [DONE]\n\n"
STREAM = b"".join([*ODD, FINISH, USAGE, DONE])


def renamed(data: bytes) -> bytes:
    """The bytes with the one change that the gateway makes to every event."""
    return data.replace(b'"upstream-small"', b'"acme/small"')


def chunk_of(event: bytes | None) -> Any:
    """The JSON of an event."""
    assert event is not None, "the stream has ended"
    assert event.startswith(b"data: ")
    return json.loads(event[6:])


async def opened(gateway, **fields):
    """A caller that has asked for a stream, and the reply's head."""
    caller = await gateway.caller().__aenter__()
    return caller, await caller.post(CHAT, asking(**fields))


async def test_an_event_arrives_while_the_next_is_held_back(serve, upstream):
    """Nothing waits for a later event."""
    gates = [asyncio.Event() for _ in range(3)]
    words = [sse(openai_chunk(word), done=False) for word in "abc"]
    pieces = [each for pair in zip(words, gates, strict=True) for each in pair]
    upstream.script = [Answer.stream(*pieces, FINISH, USAGE, DONE)]
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        for word, gate in zip(words, gates, strict=True):
            assert await reply.event() == renamed(word)
            gate.set()
        assert "lowrouter" in chunk_of(await reply.event())
        assert await reply.rest() == DONE


async def test_half_an_event_waits_only_for_its_other_half(serve, upstream):
    """An event that the network cuts leaves when it is whole."""
    gate = asyncio.Event()
    word = sse(openai_chunk("a"), done=False)
    upstream.script = [Answer.stream(word, word[:40], gate, word[40:], DONE)]
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        assert await reply.event() == renamed(word)
        gate.set()
        assert await reply.event() == renamed(word)


async def test_the_head_leaves_with_the_first_event(serve, upstream):
    """Before it nothing is sent, so that another candidate can still answer."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(gate, *default_stream())]
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        await caller.ask(CHAT, asking())
        await upstream.requests.wait()
        await settled(lambda: nothing_came(caller))
        assert nothing_came(caller)
        gate.set()
        first = await caller.some()
        assert first.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b'"role"' in first


async def test_the_head_of_a_stream(serve, upstream):
    """Not cached, not buffered by a proxy, one framing, our names; nothing of theirs."""
    upstream.script = [
        Answer(
            headers=[
                ("Content-Type", "text/event-stream; charset=utf-8"),
                ("Set-Cookie", "account=canary"),
                ("Connection", "x-hop"),
                ("X-Hop", "1"),
                ("openai-organization", "canary"),
                ("x-ratelimit-remaining-requests", "7"),
                ("X-Request-ID", "req_1"),
                ("openai-processing-ms", "12"),
            ],
            pieces=default_stream(),
        )
    ]
    gateway = await serve(upstream)
    caller, reply = await opened(gateway)
    await reply.rest()
    caller.leave()

    head = reply.headers
    assert (
        head.pop("x-lowrouter-generation-id")
        == (await gateway.books.record()).generation_id
    )
    assert head.pop("date")
    head.pop("server", None)  # the public server names itself
    assert head == {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
        "x-lowrouter-provider": "p1",
        "x-lowrouter-region": "eu-west",
        "x-request-id": "req_1",
        "openai-processing-ms": "12",
        "transfer-encoding": "chunked",
        "connection": "keep-alive",
    }


async def test_wherever_the_upstream_cuts_the_caller_reads_the_same(serve, upstream):
    """Every event before the final one is the upstream's, byte for byte but for model."""
    gateway = await serve(upstream)
    before = renamed(b"".join(ODD))
    async with gateway.caller() as caller:
        for cut in range(1, len(STREAM)):

            async def cut_there(seen, wire, cut=cut):
                await wire.head(chunked=True)
                await wire.chunk(STREAM[:cut])
                for _ in range(4):  # the gateway reads the one before the other comes
                    await asyncio.sleep(0)
                await wire.chunk(STREAM[cut:])
                await wire.end()

            upstream.on_request = cut_there
            reply = await caller.post(CHAT, asking())
            body = await reply.rest()

            assert body.startswith(before), cut
            assert body.endswith(b"\n\n" + DONE), cut
            final = chunk_of(body[len(before) : -len(DONE)])
            assert final["lowrouter"]["eco"]["accuracy"] == "gross"
            assert final["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("wants", [True, False])
async def test_byte_by_byte(serve, upstream, wants):
    """A stream in pieces of one byte is the same stream."""
    gateway = await serve(upstream)
    pieces = [STREAM[i : i + 1] for i in range(len(STREAM))]
    upstream.script = [Answer.stream(*pieces), Answer.stream(STREAM)]
    bodies = []
    for _ in range(2):
        told = await gateway.chat(asking(usage=wants))
        bodies.append(
            told.body.replace(
                told.headers["x-lowrouter-generation-id"].encode(), b"gen_x"
            )
        )
    assert bodies[0] == bodies[1]
    assert bodies[0].startswith(renamed(b"".join(ODD)))


async def test_an_event_of_megabytes(serve, upstream):
    """There is no line that is too long (data URLs, reasoning dumps)."""
    large = sse(openai_chunk("x" * 5_000_000), done=False)
    upstream.script = [Answer.stream(large, FINISH, USAGE, DONE)]
    told = await (await serve(upstream)).chat(asking())
    assert told.body.startswith(renamed(large))
    assert b'"lowrouter"' in told.body[-500:]


async def test_framing_of_the_upstream_does_not_show(serve, upstream):
    """A stream with a length, or up to the end of the connection, is chunked for the caller."""

    async def until_close(seen, wire):
        await wire.head()
        await wire.raw(STREAM)
        await wire.hang_up()

    gateway = await serve(upstream)
    upstream.script = [
        Answer(STREAM, headers=[("Content-Type", "text/event-stream")]),
    ]
    with_length = await gateway.chat(asking())
    upstream.on_request = until_close
    with_close = await gateway.chat(asking())
    for told in (with_length, with_close):
        assert told.headers["transfer-encoding"] == "chunked"
        assert "content-length" not in told.headers
        assert told.body.startswith(renamed(b"".join(ODD)))
        assert told.body.endswith(DONE)


# --- the finish chunk -----------------------------------------------------------------


async def test_the_finish_chunk_waits_for_usage(serve, upstream, monkeypatch):
    """Without usage wished for: no chunk without choices, the finish chunk is annotated."""
    monkeypatch.setattr(relay, "HOLD_S", 3600.0)
    gate = asyncio.Event()
    word = sse(openai_chunk("a"), done=False)
    upstream.script = [Answer.stream(word, FINISH, gate, USAGE, DONE)]
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        await reply.event()
        await settled(lambda: nothing_came(caller))
        assert nothing_came(caller)
        gate.set()
        final = chunk_of(await reply.event())
        assert final["choices"][0]["finish_reason"] == "stop"
        assert final["lowrouter"]["provider"] == "p1"
        assert await reply.rest() == DONE
    record = await gateway.books.record()
    assert (record.usage.prompt, record.usage.completion) == (9, 3)
    assert not record.usage.counted


async def test_the_finish_chunk_does_not_wait_for_ever(serve, upstream, monkeypatch):
    """It leaves annotated with what is known; usage that comes later is for the books."""
    monkeypatch.setattr(relay, "HOLD_S", 0.01)
    gate = asyncio.Event()
    word = sse(openai_chunk("a"), done=False)
    late = sse(usage_chunk(1000, 500), done=False)
    upstream.script = [Answer.stream(word, FINISH, gate, late, DONE)]
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        await reply.event()
        final = chunk_of(await reply.event())
        assert final["choices"][0]["finish_reason"] == "stop"
        told = final["lowrouter"]["eco"]["energy_wh"]
        gate.set()
        assert await reply.rest() == DONE
    record = await gateway.books.record()
    assert (record.usage.prompt, record.usage.completion) == (1000, 500)
    assert record.impact.tokens == record.usage
    assert record.impact.energy_wh > 10 * told


def test_a_second_is_the_most_that_the_finish_chunk_waits():
    """The contract's figure."""
    assert relay.HOLD_S == 1.0


async def test_with_usage_wished_for_the_finish_chunk_does_not_wait(serve, upstream):
    """The usage chunk is the final one and carries `lowrouter`."""
    gate = asyncio.Event()
    word = sse(openai_chunk("a"), done=False)
    upstream.script = [Answer.stream(word, FINISH, gate, USAGE, DONE)]
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking(usage=True))
        await reply.event()
        assert await reply.event() == renamed(FINISH)
        gate.set()
        final = chunk_of(await reply.event())
        assert final["choices"] == []
        assert final["usage"]["total_tokens"] == 12
        assert final["lowrouter"]["region"] == "eu-west"
        assert await reply.rest() == DONE


async def test_a_stream_that_begins_with_its_end(serve, upstream, monkeypatch):
    """A held chunk may be the first thing that the caller gets; its time is noted."""
    monkeypatch.setattr(relay, "HOLD_S", 0.01)
    gate = asyncio.Event()
    upstream.script = [Answer.stream(FINISH, gate, DONE), Answer.stream(FINISH)]
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        assert "lowrouter" in chunk_of(await reply.event())
        gate.set()
        assert await reply.rest() == DONE
        reply = await caller.post(CHAT, asking())
        assert "lowrouter" in chunk_of(await reply.event())
        assert await reply.rest() == DONE
    for number in (1, 2):
        record = await gateway.books.record(number)
        assert record.status == "ok"
        assert record.latency_ms is not None


async def test_each_finish_chunk_has_its_own_second(serve, upstream, monkeypatch):
    """A chunk that was held and let go leaves no timer for the next one."""
    sinks = []
    attach = relay.Relay.attach

    def noted(self, flow):
        sinks.append(self)
        attach(self, flow)

    monkeypatch.setattr(relay.Relay, "attach", noted)
    gate, then = asyncio.Event(), asyncio.Event()
    word = sse(openai_chunk("a"), done=False)
    upstream.script = [Answer.stream(word, FINISH, gate, word, then, DONE)]
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        await reply.event()
        await settled(lambda: sinks and sinks[0]._tail.holding)
        assert sinks[0]._hold is not None
        gate.set()
        assert await reply.event() == renamed(FINISH)
        assert await reply.event() == renamed(word)
        assert sinks[0]._hold is None or sinks[0]._hold.cancelled()
        then.set()
        assert DONE in await reply.rest()


async def test_done_is_added_where_the_upstream_forgets_it(serve, upstream):
    """An end without `[DONE]` after a whole stream is a whole stream."""
    word = sse(openai_chunk("a"), done=False)
    upstream.script = [Answer.stream(word, FINISH, USAGE)]
    gateway = await serve(upstream)
    told = await gateway.chat(asking())
    assert told.body.endswith(b"}\n\n" + DONE)
    assert told.body.count(b'"lowrouter"') == 1
    assert (await gateway.books.record()).status == "ok"


# --- the stream breaks ----------------------------------------------------------------


async def reset(seen, wire):
    """A reset after one event."""
    await wire.head(chunked=True)
    await wire.chunk(sse(openai_chunk("a"), done=False))
    await _read_by_the_gateway()
    await wire.cut()


async def closed_within_a_chunk(seen, wire):
    """The end of the connection within the chunked body."""
    await wire.head(chunked=True)
    await wire.chunk(sse(openai_chunk("a"), done=False))
    await wire.raw(b"ff\r\ndata: {")
    await wire.hang_up()


async def closed_before_the_last_chunk(seen, wire):
    """Whole events, but no last chunk."""
    await wire.head(chunked=True)
    await wire.chunk(sse(openai_chunk("a"), done=False))
    await wire.hang_up()


async def not_a_chunk(seen, wire):
    """Chunk framing that is none."""
    await wire.head(chunked=True)
    await wire.chunk(sse(openai_chunk("a"), done=False))
    await _read_by_the_gateway()
    await wire.raw(b"zz\r\n???")
    await wire.hang_up()


async def within_an_event(seen, wire):
    """A clean end of the body in the middle of an event."""
    await wire.head(chunked=True)
    await wire.chunk(sse(openai_chunk("a"), done=False))
    await wire.chunk(b'data: {"choices":[{"del')
    await wire.end()


async def test_a_chunk_in_two_reads_among_chunks_alike(serve, upstream):
    """The half of an event that came ends nothing, also where chunks pass by their likeness."""
    events = [
        sse(openai_chunk(delta={"content": f"word {n} "}), done=False) for n in range(6)
    ]
    gates = asyncio.Event(), asyncio.Event()
    half, rest = events[0][:40], events[0][40:]
    upstream.script = [
        Answer.stream(*events, gates[0], half, gates[1], rest, FINISH, DONE)
    ]
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking(stream=True))
        for event in events:
            assert (
                chunk_of(await reply.event())["choices"]
                == json.loads(event[6:])["choices"]
            )
        for gate in gates:
            gate.set()
            await settled(lambda: 0)
        last = chunk_of(await reply.event())
        assert last["choices"] == json.loads(events[0][6:])["choices"]
        assert (await reply.rest()).endswith(DONE)


async def too_short(seen, wire):
    """Fewer bytes than Content-Length said."""
    await wire.head(length=100_000)
    await wire.raw(sse(openai_chunk("a"), done=False))
    await wire.hang_up()


async def _read_by_the_gateway():
    for _ in range(20):
        await asyncio.sleep(0)


BREAKS = [
    reset,
    closed_within_a_chunk,
    closed_before_the_last_chunk,
    not_a_chunk,
    within_an_event,
    too_short,
]


@pytest.mark.parametrize("break_it", BREAKS)
async def test_a_stream_that_breaks_ends_with_an_error(
    serve, upstream, other, break_it
):
    """In band, with `lowrouter`, without `[DONE]`; the body ends cleanly, nobody retries."""
    upstream.on_request = break_it
    # aiohttp's client does not notice a chunk size that is none: silence ends that one.
    gateway = await serve(upstream, other, extra="[timeouts]\nidle_s = 0.3")
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        assert await reply.event() == renamed(sse(openai_chunk("a"), done=False))
        last = chunk_of(await reply.event())
        assert await reply.rest() == b""  # the last chunk came, else an exception

        assert last["error"]["type"] in ("upstream_error", "timeout_error")
        assert last["error"]["code"].startswith("upstream_")
        assert "p1-eu-west" in last["error"]["message"]
        assert set(last) == {"error", "lowrouter"}
        assert last["lowrouter"]["provider"] == "p1"

        # The connection is as good as before.
        upstream.on_request = None
        reply = await caller.post(CHAT, asking())
        assert (await reply.rest()).endswith(DONE)
    record = await gateway.books.record()
    assert (record.status, record.http_status) == ("upstream_error", 200)
    assert record.error == last["error"]["code"]
    assert record.usage.counted
    assert record.impact is not None
    assert other.requests.count == 0
    assert len(record.attempts) == 1


async def test_a_held_chunk_leaves_before_the_error(serve, upstream):
    """What the upstream has sent reaches the caller, in order."""

    async def cut_behind_finish(seen, wire):
        await wire.head(chunked=True)
        await wire.chunk(sse(openai_chunk("a"), done=False))
        await wire.chunk(FINISH + b": ping\n\n")
        await _read_by_the_gateway()
        await wire.cut()

    upstream.on_request = cut_behind_finish
    gateway = await serve(upstream)
    told = await gateway.chat(asking())
    events = told.body.split(b"\n\n")
    assert events[1] + b"\n\n" == renamed(FINISH)
    assert events[2] == b": ping"
    assert "error" in chunk_of(events[3])
    assert DONE not in told.body


async def test_an_upstream_that_falls_silent(serve, upstream):
    """`idle_s` ends the stream, and the error says so."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(sse(openai_chunk("a"), done=False), gate)]
    gateway = await serve(upstream, extra="[timeouts]\nidle_s = 0.05")
    told = await gateway.chat(asking())
    last = chunk_of(told.body.split(b"\n\n")[1])
    assert last["error"]["type"] == "timeout_error"
    assert "idle_s (0.05 s)" in last["error"]["message"]
    assert DONE not in told.body
    await upstream.all_closed()
    assert upstream.aborted.count == 1
    assert (await gateway.books.record()).error == "upstream_timeout"


async def test_a_stream_that_takes_too_long_in_all(serve, upstream):
    """`total_s` ends a stream that is not silent."""

    async def for_ever(seen, wire):
        await wire.head(chunked=True)
        while True:
            await wire.chunk(sse(openai_chunk("a"), done=False))
            await asyncio.sleep(0)

    upstream.on_request = for_ever
    gateway = await serve(upstream, extra="[timeouts]\ntotal_s = 0.1")
    told = await gateway.chat(asking())
    last = chunk_of(told.body.split(b"\n\n")[-2])
    assert "total_s (0.1 s)" in last["error"]["message"]
    assert DONE not in told.body


async def test_an_error_event_of_the_upstream_in_the_middle(serve, upstream):
    """It passes, with `lowrouter`; the stream ends there without `[DONE]`."""
    word = sse(openai_chunk("a"), done=False)
    error = b'data: {"error":{"message":"overloaded","type":"x","code":529}}\n\n'
    upstream.script = [Answer.stream(word, error, word, DONE)]
    gateway = await serve(upstream)
    told = await gateway.chat(asking())
    assert told.body.startswith(renamed(word) + error[:-4])
    last = chunk_of(told.body[len(renamed(word)) :])
    assert last["lowrouter"]["provider"] == "p1"
    assert DONE not in told.body
    record = await gateway.books.record()
    assert (record.status, record.error) == ("upstream_error", "upstream_stream_error")


async def test_an_error_event_is_the_end(serve, upstream):
    """Nothing more is waited for: an upstream that stays on the line is closed."""
    gate = asyncio.Event()
    word = sse(openai_chunk("a"), done=False)
    error = b'data: {"error":{"message":"overloaded"}}\n\n'
    upstream.script = [Answer.stream(word, error, gate)]
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        await reply.event()
        assert "error" in chunk_of(await reply.event())
        async with asyncio.timeout(0.5):
            assert await reply.rest() == b""
    await upstream.aborted.wait()


async def test_a_bug_of_ours_in_the_middle_does_not_start_a_second_answer(
    serve, upstream, monkeypatch, log_text, client_kind
):
    """Within a chunked body there is no place for another head."""
    gate = asyncio.Event()
    word = sse(openai_chunk("canary"), done=False)
    upstream.script = [
        Answer.stream(word, gate, FINISH, USAGE, DONE),
        Answer.stream(FINISH, USAGE, DONE),
    ]
    gateway = await serve(upstream)

    def broken(*_):
        raise RuntimeError("canary in the text of a bug")

    monkeypatch.setattr(gateway.parts.scales, "weigh", broken)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        assert await reply.event() == renamed(word)
        gate.set()
        raw = b""
        while not await caller.ended():
            raw += await caller.some()
    assert b"HTTP/1.1" not in raw
    # Where nothing has left yet, it is an ordinary 500.
    told = await gateway.chat(asking())
    assert (told.status, told.error["code"]) == (500, "internal_error")
    for number, status in ((1, 200), (2, 500)):
        record = await gateway.books.record(number)
        assert (record.status, record.http_status) == ("gateway_error", status)
    assert "canary" not in log_text()


# --- the stream is not one we can read ------------------------------------------------


async def test_a_stream_that_cannot_be_read_passes(serve, upstream):
    """Its bytes are what they were; it is counted."""
    odd = [b"data: not json\n\n", b"data: [1,2]\n\n", b"x" * 100 + b"\n\n"]
    upstream.script = [Answer.stream(*odd)]
    gateway = await serve(upstream)
    told = await gateway.chat(asking())
    assert told.body == b"".join(odd)
    record = await gateway.books.record()
    assert record.unreadable_events == 2
    told = await gateway.admin("/metrics")
    assert b'lowproxy_unreadable_events_total{provider="p1"} 2.0' in told.body


async def test_the_resolved_model_is_in_every_chunk(serve, upstream):
    """The caller sees the id it can ask for again."""
    gateway = await serve(upstream)
    told = await gateway.chat(asking(model="lowrouter/auto", usage=True))
    chunks = [chunk_of(event) for event in told.body.split(b"\n\n")[:-2]]
    assert {chunk["model"] for chunk in chunks} == {MODEL}
    assert b"upstream-small" not in told.body
