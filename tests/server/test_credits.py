"""What a key has used, told to that key."""

import json

import pytest

from lowproxy.core.keys import hash_key
from tests.gateway import CHAT, KEY, ask

OWN = "lr-sk-limited-canary-5f1f0c5e7b3a49261122334466"


async def get(gateway, path, key):
    async with gateway.caller(key=key) as caller:
        reply = await caller.get(f"/api/v1{path}")
        assert reply.status == 200
        return json.loads(await reply.rest())["data"]


async def spend(gateway, key):
    async with gateway.caller(key=key) as caller:
        reply = await caller.post(CHAT, ask(max_tokens=10))
        assert reply.status == 200
        await reply.rest()


@pytest.fixture
async def gateway(serve, upstream):
    rows = "daily_limit = 1\nmonthly_limit = 20\nrequests_per_minute = 60\ndaily_carbon_g = 5"
    own = f'[[keys]]\nname = "own"\nhash = "{hash_key(OWN)}"\n{rows}'
    return await serve(upstream, extra=own)


async def test_the_budget_with_the_least_left_is_told(gateway):
    """What was spent, what is left, and when it is whole again."""
    await spend(gateway, OWN)
    data = await get(gateway, "/credits", OWN)
    assert data == {"total_credits": 1.0, "total_usage": 0.000012, "currency": "USD"}
    data = await get(gateway, "/key", OWN)
    assert (data["label"], data["limit"], data["usage"]) == ("own", 1.0, 0.000012)
    assert data["limit_remaining"] == 0.999988
    assert data["limit_reset"].endswith("T00:00:00Z")
    assert data["usage_monthly"] == 0.000012
    assert data["rate_limit"] == {"requests": 60, "interval": "1m"}
    ours = data["lowrouter"]
    assert (ours["daily_limit"], ours["monthly_limit"]) == (1.0, 20.0)
    assert 0 < ours["carbon_g_today"] < ours["daily_carbon_g"] == 5.0
    assert (ours["reserved"], ours["open_requests"]) == (0.0, 0)


async def test_a_key_without_limits_is_told_what_the_books_say(gateway):
    """This month's, and no limit."""
    await spend(gateway, KEY)
    record = await gateway.books.record()
    gateway.parts.ledger.flush()
    data = await get(gateway, "/key", KEY)
    assert (data["limit"], data["limit_remaining"]) == (None, None)
    assert data["usage"] == record.cost_nano / 1e9
    assert (await get(gateway, "/credits", KEY))["total_credits"] is None


async def test_nothing_of_the_key_itself_is_told(gateway):
    """Neither it nor its hash."""
    text = json.dumps(await get(gateway, "/key", OWN))
    assert OWN not in text
    assert hash_key(OWN).removeprefix("sha256:") not in text


async def test_without_books_nobody_has_counted(serve, upstream):
    """Null is not nothing."""
    gateway = await serve(upstream, extra="[store]\nenabled = false")
    await spend(gateway, KEY)
    data = await get(gateway, "/credits", KEY)
    assert data == {"total_credits": None, "total_usage": None, "currency": "USD"}
