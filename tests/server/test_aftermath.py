"""After a caller has left: cancelled, read to the end, or read on for a while."""

import asyncio

import pytest

from lowproxy.server.aftermath import Aftermath
from tests.fakes import Answer, openai_chunk, openai_completion, sse, usage_chunk
from tests.gateway import CHAT, ask, asking, gateway_over, settled

WORD = sse(openai_chunk("a"), done=False)
FINISH = sse(openai_chunk(finish_reason="stop"), done=False)
END = sse(usage_chunk(100, 50))


def policy(name, **options):
    """The `[relay]` table."""
    lines = [f'on_disconnect = "{name}"', *(f"{k} = {v}" for k, v in options.items())]
    return "\n".join(["[relay]", *lines])


async def left(gateway, upstream, body):
    """A caller that asks and leaves when the upstream has begun."""
    async with gateway.caller() as caller:
        if body.get("stream"):
            reply = await caller.post(CHAT, body)
            await reply.event()
        else:
            await caller.ask(CHAT, body)
            await upstream.requests.wait()
            await settled(lambda: 0, turns=20)


async def test_cancel(serve, upstream):
    """The default: closed at once, with the tokens seen so far."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(WORD, gate, FINISH, END)]
    gateway = await serve(upstream)
    await left(gateway, upstream, asking())
    await upstream.aborted.wait()
    record = await gateway.books.record()
    assert (record.status, record.usage.counted) == ("partial", True)


@pytest.mark.parametrize("name", ["drain", "bounded"])
async def test_a_stream_is_read_on(serve, upstream, name):
    """The provider bills it anyway: the books have its real usage, once."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(WORD, gate, WORD, FINISH, END)]
    gateway = await serve(upstream, extra=policy(name))
    await left(gateway, upstream, asking())
    await settled(lambda: gateway.parts.metrics.open_requests)
    assert gateway.books.records == []
    assert upstream.aborted.count == 0
    gate.set()
    record = await gateway.books.record()
    assert record.status == "partial"
    assert (record.usage.prompt, record.usage.completion) == (100, 50)
    assert not record.usage.counted
    assert record.impact.tokens == record.usage
    assert len(gateway.books.records) == 1


@pytest.mark.parametrize("name", ["drain", "bounded"])
async def test_a_unary_answer_is_read_on(serve, upstream, name):
    """It is waited for, and its usage noted."""
    gate = asyncio.Event()

    async def think(seen, wire):
        await wire.hold(gate)
        await Answer.of(openai_completion()).play(wire)

    upstream.on_request = think
    gateway = await serve(upstream, extra=policy(name))
    await left(gateway, upstream, ask())
    gate.set()
    record = await gateway.books.record()
    assert (record.status, record.http_status) == ("client_closed", 499)
    assert (record.usage.prompt, record.usage.completion) == (9, 3)
    assert record.impact is not None
    assert record.provider == "p1"


async def test_read_on_for_a_while(serve, upstream):
    """`bounded` closes the upstream when `drain_limit_s` is over."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(WORD, gate), Answer.stream(WORD, gate)]
    gateway = await serve(upstream, extra=policy("bounded", drain_limit_s=0.05))
    await left(gateway, upstream, asking())
    await upstream.aborted.wait()
    record = await gateway.books.record()
    assert (record.status, record.usage.counted) == ("partial", True)


async def test_a_stream_that_breaks_with_nobody_there(serve, upstream):
    """It is still partial, and says what happened."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(WORD, gate, cut=True)]
    gateway = await serve(upstream, extra=policy("drain"))
    await left(gateway, upstream, asking())
    gate.set()
    record = await gateway.books.record()
    assert (record.status, record.error) == ("partial", "upstream_cut")


async def test_a_slow_caller_leaves(serve, upstream):
    """A stream that was paused for its sake goes on."""
    large = sse(openai_chunk("x" * 16_000), done=False)

    async def pour(seen, wire):
        await wire.head(chunked=True)
        for _ in range(1000):
            await wire.chunk(large)
        await wire.chunk(FINISH + END)
        await wire.end()

    upstream.on_request = pour
    gateway = await serve(upstream, extra=policy("drain"))
    async with gateway.caller(rcvbuf=8192) as caller:
        await caller.post(CHAT, asking())
        await settled(lambda: 0)
    record = await gateway.books.record()
    assert record.usage.completion == 50
    assert upstream.aborted.count == 0


async def test_stopping_does_not_wait_for_it(tmp_path, upstream, log_text):
    """Nobody is there any more: it is cancelled, and written down."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(WORD, gate)]
    extra = policy("drain")
    async with gateway_over(tmp_path, upstream, extra=extra) as gateway:
        await left(gateway, upstream, asking())
        await settled(lambda: gateway.parts.metrics.open_requests)
        assert gateway.books.records == []
    await upstream.aborted.wait()
    (record,) = gateway.books.records
    assert record.status == "partial"
    assert record.usage is not None
    assert record.usage.counted


async def test_tasks_are_let_go():
    """What has ended is not kept; closing with nothing to do is fine."""
    aftermath = Aftermath("drain", 1.0)
    ran = asyncio.Event()

    async def work():
        ran.set()

    aftermath.adopt(work(), "x")
    await ran.wait()
    await settled(lambda: len(aftermath.tasks), turns=5)
    assert not aftermath.tasks
    await aftermath.close()
    assert not Aftermath("cancel", 1.0).keeps
