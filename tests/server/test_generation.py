"""A record can be asked for by the key that made it, and by no other."""

import json

import pytest

from lowproxy.store.database import StoreError
from lowproxy.store.ledger import Ledger
from tests.gateway import CHAT, KEY, MODEL, ask, gateway_over

OTHER = "lr-sk-others-canary-8d1f0c5e7b3a49261122334455"
TWO_KEYS = '[[keys]]\nname = "bob"\nkey_env = "BOB"\n'


async def get(gateway, path, key=KEY):
    """Status and body of a GET."""
    async with gateway.caller(key=key) as caller:
        reply = await caller.get(f"/api/v1{path}")
        return reply.status, json.loads(await reply.rest())


@pytest.fixture
async def gateway(tmp_path, upstream, log_text):
    """One with two keys."""
    async with gateway_over(
        tmp_path, upstream, extra=TWO_KEYS, environ={"BOB": OTHER}
    ) as running:
        yield running


async def made(gateway):
    """The id of a good request."""
    answer = await gateway.chat()
    return answer.json()["lowrouter"]["generation_id"]


@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.parametrize("form", ["/generation/{}", "/generation?id={}"])
async def test_a_record_is_there_at_once(gateway, flushed, form):
    """Whether it is in the database yet or waits for it."""
    id_ = await made(gateway)
    if flushed:
        gateway.parts.ledger.flush()
        assert gateway.parts.ledger.waiting(id_) is None

    status, body = await get(gateway, form.format(id_))

    data = body["data"]
    assert status == 200
    assert (data["id"], data["model"], data["provider_name"]) == (id_, MODEL, "p1")
    assert (data["tokens_prompt"], data["tokens_completion"]) == (9, 3)
    assert data["cancelled"] is False
    ours = data["lowrouter"]
    assert ours["status"] == "ok"
    assert ours["eco"]["energy_wh_low"] < ours["eco"]["energy_wh"]
    assert ours["eco"]["grid"]["zone"] == "FR"
    assert [each[1] for each in ours["attempts"]] == ["ok"]


@pytest.mark.parametrize("flushed", [False, True])
async def test_it_is_not_there_for_another_key(gateway, flushed):
    """The same answer as for one that never was."""
    id_ = await made(gateway)
    if flushed:
        gateway.parts.ledger.flush()

    theirs = await get(gateway, f"/generation/{id_}", OTHER)
    nobodys = await get(gateway, "/generation/gen_nothing", OTHER)

    assert theirs == nobodys
    assert theirs[0] == 404
    assert theirs[1]["error"]["code"] == "generation_not_found"


async def test_it_takes_an_id(gateway):
    """Or says how to give one."""
    status, body = await get(gateway, "/generation")

    assert status == 400
    assert "id=" in body["error"]["message"]


async def test_a_store_that_is_away_is_said(gateway, monkeypatch):
    """A 503: asking again will help."""

    def away(*_):
        raise StoreError("away")

    monkeypatch.setattr(Ledger, "find", away)
    status, body = await get(gateway, "/generation/gen_x")

    assert status == 503
    assert body["error"]["code"] == "store_unavailable"


async def test_a_request_that_was_refused_has_a_record(gateway):
    """With its error; its id is in the header."""
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, ask(model="no/such"))
        await reply.rest()
        id_ = reply.headers["x-lowrouter-generation-id"]

    status, body = await get(gateway, f"/generation/{id_}")

    assert status == 200
    assert body["data"]["lowrouter"]["error"] == "model_not_found"
    assert body["data"]["lowrouter"]["eco"] is None
