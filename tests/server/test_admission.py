"""Keys with limits, over the whole way of a request."""

import asyncio
import re
from decimal import Decimal

import orjson
import pytest

from lowproxy.core.keys import hash_key
from lowproxy.core.limits import Spending
from tests.fakes import Answer, RawCaller, openai_chunk, openai_completion, sse, usage
from tests.gateway import CHAT, ask, asking

OWN = "lr-sk-limited-canary-5f1f0c5e7b3a49261122334466"
USED = 12  # tokens of an ordinary answer: 9 and 3, at 1 USD a million each
COST = 0.000012


def limited(rows: str, model: str = "context_length = 1000") -> str:
    """A key with limits, and bounds for the model."""
    key = f'[[keys]]\nname = "limited"\nhash = "{hash_key(OWN)}"\n{rows}'
    return (
        f'{key}\n[[models]]\nid = "acme/more"\nprovider = "p1"\nprice_prompt = 1.0\n'
        f"price_completion = 1.0\ntotal_params_b = 24\n{model}"
    )


async def post(gateway, body):
    async with gateway.caller(key=OWN) as caller:
        reply = await caller.post(CHAT, body)
        return reply.status, reply.headers, await reply.rest()


async def spent(gateway):
    keys = gateway.parts.keys
    key = keys.identify(OWN, 0.0)
    records = gateway.books.records
    now = records[-1].completed_at if records else 0.0
    return await gateway.parts.limiter.spending(key, now)


def question(**fields):
    return ask(model="acme/more", **{"max_tokens": 100, **fields})


async def test_a_rate_is_told_and_held(serve, upstream):
    """OpenAI's header fields on every answer; beyond it a 429 that says when to come back."""
    gateway = await serve(
        upstream, extra=limited("requests_per_minute = 2\ntokens_per_minute = 100000")
    )
    status, fields, _ = await post(gateway, question())
    assert status == 200
    assert fields["x-ratelimit-limit-requests"] == "2"
    assert fields["x-ratelimit-remaining-requests"] == "1"
    assert fields["x-ratelimit-reset-requests"] == "30s"
    assert fields["x-ratelimit-limit-tokens"] == "100000"
    assert int(fields["x-ratelimit-remaining-tokens"]) < 100_000
    status, fields, _ = await post(gateway, question(stream=True))
    assert (status, fields["x-ratelimit-remaining-requests"]) == (200, "0")
    status, fields, body = await post(gateway, question())
    assert status == 429
    assert 1 <= int(fields["retry-after"]) <= 30
    assert fields["x-ratelimit-remaining-requests"] == "0"
    assert b"requests_per_minute = 2" in body
    assert upstream.requests.count == 2


async def test_a_key_without_limits_has_no_such_fields(serve, upstream):
    """Nothing is counted for it."""
    gateway = await serve(upstream, extra=limited("requests_per_minute = 2"))
    told = await gateway.chat()
    assert not [name for name in told.headers if "ratelimit" in name]
    assert "x-credit-balance" not in told.headers


async def test_a_spent_budget_is_a_402(serve, upstream):
    """With what was spent, the limit, and when it resets; cost and balance in the header."""
    extra = limited("daily_limit = 0.0002\nmonthly_limit = 1")
    gateway = await serve(upstream, extra=extra)
    upstream.script = [
        Answer.of({**openai_completion(), "usage": usage(60, 90)}) for _ in range(9)
    ]
    status, fields, body = await post(gateway, question(max_tokens=90))
    assert status == 200
    assert fields["x-lowrouter-cost"] == "0.00015"
    assert fields["x-credit-balance"] == "0.00005"
    assert b'"cost":0.00015,"currency":"USD"' in body
    assert gateway.books.records[0].cost_nano == 150_000
    status, fields, body = await post(gateway, question(max_tokens=90))
    assert status == 402
    assert fields["x-should-retry"] == "false"
    assert b"daily_limit = 0.0002 USD: 0.00015 USD spent, 0 USD reserved" in body
    assert b"it resets at 20" in body
    assert b"insufficient_quota" in body
    assert (await spent(gateway)).day_nano == 150_000


async def test_a_stream_tells_its_cost_in_the_final_chunk(serve, upstream):
    """And settles by the usage that the upstream sent."""
    gateway = await serve(upstream, extra=limited("daily_limit = 1\nmax_streams = 1"))
    status, _, body = await post(gateway, question(stream=True))
    record = await gateway.books.record()
    assert status == 200
    assert body.count(b'"cost":') == 1
    [told] = re.findall(rb'"cost":([^,]+),', body)
    assert Decimal(told.decode()) * 10**9 == record.cost_nano
    told = await spent(gateway)
    assert told == Spending(
        record.cost_nano, record.cost_nano, told.day_carbon_ug, 0, 0, 0, 0
    )


async def test_concurrent_requests_cannot_pass_one_check(serve, upstream):
    """Two hundred at once against a budget for fifty: no more are ever billed, and nothing stays reserved."""
    body = question(max_tokens=500)
    most = (len(orjson.dumps(body)) + 500) * 1000  # nano-units
    extra = limited(f"daily_limit = {50 * 600 * 1000 / 1e9:.6f}")
    billed = 0

    async def bill(seen, wire):
        nonlocal billed
        billed += 1
        full = {**openai_completion(), "usage": usage(100, 500)}
        await Answer.of(full).play(wire)

    upstream.on_request = bill
    gateway = await serve(upstream, extra=extra)
    assert most < 700_000

    async def one():
        return (await post(gateway, body))[0]

    statuses = await asyncio.gather(*(one() for _ in range(200)))
    assert set(statuses) <= {200, 402}
    assert statuses.count(200) == billed
    assert 0 < billed <= 50
    told = await spent(gateway)
    assert told.day_nano == billed * 600_000 <= 50 * 600_000
    assert (told.open, told.reserved_nano, told.streams) == (0, 0, 0)


async def test_streams_are_bounded_while_they_last(serve, upstream):
    """The next one is a 429 until one of them has ended."""
    gateway = await serve(upstream, extra=limited("max_streams = 1"))
    held = asyncio.Event()
    chunk = sse(openai_chunk("a"))
    upstream.script = [Answer.stream(chunk, held, sse(done=True))]
    async with RawCaller(gateway.port, key=OWN) as caller:
        reply = await caller.post(CHAT, asking(model="acme/more"))
        assert reply.status == 200
        status, fields, body = await post(gateway, asking(model="acme/more"))
        assert (status, fields["retry-after"]) == (429, "1")
        assert b"max_streams = 1" in body
        assert (await post(gateway, question()))[0] == 200
        held.set()
        await reply.rest()
    await gateway.books.record(3)
    assert (await post(gateway, asking(model="acme/more")))[0] == 200


async def test_a_caller_who_leaves_a_stream_pays_for_what_came(serve, upstream):
    """Counted by us where the upstream had not said; the rest is free again."""
    gateway = await serve(upstream, extra=limited("daily_limit = 1\nmax_streams = 5"))
    upstream.script = [Answer.stream(sse(openai_chunk("abcd")), asyncio.Event())]
    async with RawCaller(gateway.port, key=OWN) as caller:
        reply = await caller.post(CHAT, asking(model="acme/more"))
        await reply.piece()
        assert (await spent(gateway)).streams == 1
    record = await gateway.books.record()
    assert record.status == "partial"
    told = await spent(gateway)
    assert told.day_nano == record.cost_nano > 0
    assert (told.open, told.reserved_nano, told.streams) == (0, 0, 0)


async def test_a_caller_who_does_not_wait_costs_what_was_reserved(serve, upstream):
    """The upstream was asked; what it will charge nobody knows, so no budget relies on it."""
    gateway = await serve(upstream, extra=limited("daily_limit = 1"))

    async def silent(seen, wire):
        await asyncio.Event().wait()

    upstream.on_request = silent
    async with RawCaller(gateway.port, key=OWN) as caller:
        await caller.ask(CHAT, question())
        await upstream.requests.wait()
        held = (await spent(gateway)).reserved_nano
        assert held > 0
    await gateway.books.record()
    told = await spent(gateway)
    assert (told.day_nano, told.open, told.reserved_nano) == (held, 0, 0)


@pytest.mark.parametrize("status", [400, 429, 500, 503])
async def test_an_upstreams_failure_costs_nothing(serve, upstream, status):
    """Providers do not charge for errors."""
    gateway = await serve(upstream, extra=limited("daily_limit = 1"))
    upstream.script = [Answer.of({"error": {"message": "no"}}, status)]
    assert (await post(gateway, question()))[0] >= 400
    told = await spent(gateway)
    assert (told.day_nano, told.open, told.reserved_nano) == (0, 0, 0)


async def test_what_nothing_bounds_is_refused(serve, upstream):
    """A budget that cannot reserve cannot hold: it is said what to send."""
    gateway = await serve(upstream, extra=limited("daily_limit = 1", ""))
    status, _, body = await post(gateway, ask(model="acme/more"))
    assert status == 400
    assert b"send max_tokens" in body
    assert (await post(gateway, question()))[0] == 200
    picture = {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}
    messages = [{"role": "user", "content": [picture]}]
    status, _, body = await post(gateway, question(messages=messages))
    assert status in (403, 503)


async def test_an_unknown_price_is_closed_to_a_budget(serve, upstream):
    """Not counted as nothing; a key without a budget may have it."""
    extra = limited("daily_limit = 1") + (
        '\n[[models]]\nid = "p1/unpriced"\nprovider = "p1"\ncontext_length = 100'
    )
    gateway = await serve(upstream, extra=extra)
    status, _, body = await post(gateway, ask(model="p1/unpriced"))
    assert status == 403
    assert b"the price of 'p1/unpriced' is not known here" in body
    told = await gateway.chat(model="p1/unpriced")
    assert told.status == 200
    assert "cost" not in told.json()["lowrouter"]
    assert "x-lowrouter-cost" not in told.headers


async def test_a_carbon_limit(serve, upstream):
    """Grams are reserved as money is; a model of unknown size is closed to it."""
    extra = limited("daily_carbon_g = 100.0") + (
        '\n[[models]]\nid = "p1/unheard-of-x"\nprovider = "p1"\ncontext_length = 100'
    )
    gateway = await serve(upstream, extra=extra)
    assert (await post(gateway, question()))[0] == 200
    record = await gateway.books.record()
    told = await spent(gateway)
    assert record.impact is not None
    assert told.day_carbon_ug == int(record.impact.carbon_g * 1e6) + 1
    status, _, body = await post(gateway, ask(model="p1/unheard-of-x"))
    assert status == 403
    assert b"the size of" in body


async def test_a_carbon_limit_that_is_spent(serve, upstream):
    """A 402 in grams."""
    gateway = await serve(upstream, extra=limited("daily_carbon_g = 0.000001"))
    status, _, body = await post(gateway, question())
    assert status == 402
    assert b"daily_carbon_g = 1e-06 g: 0 g spent" in body
