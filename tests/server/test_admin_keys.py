"""The key API of the admin port, with a real database behind it."""

import asyncio
import json

import pytest

from lowproxy.core.keys import hash_key
from lowproxy.store.connecting import open_migrated
from tests.fakes import RawCaller
from tests.gateway import CHAT, KEY, ask

ADMIN = "admin-canary-credential-0123456789abcdef-0123456789"
SERVER = 'admin_key_env = "ADMIN_KEY"\n'


@pytest.fixture
async def gateway(serve, upstream, tmp_path):
    return await serve(
        upstream,
        server=SERVER,
        extra=f'[store]\nurl = "sqlite://{tmp_path}/books.db"',
        environ={"ADMIN_KEY": ADMIN},
    )


async def call(gateway, method, path, body=None, token=ADMIN):
    async with RawCaller(gateway.admin_port, key=token) as caller:
        await caller.ask(path, body, method=method)
        reply = await caller.reply()
        raw = await reply.rest()
        return reply.status, json.loads(raw) if raw else None


async def served(gateway, key):
    async with gateway.caller(key=key) as caller:
        reply = await caller.post(CHAT, ask())
        await reply.rest()
        return reply.status


async def test_the_life_of_a_key(gateway):
    """Made, used, edited, rotated, deleted: each holds from the next request on."""
    status, made = await call(gateway, "POST", "/keys", {"name": "alice"})
    assert (status, made["name"], made["source"]) == (201, "alice", "store")
    key = made["key"]
    assert key.startswith("lr-sk-")
    assert await served(gateway, key) == 200
    status, shown = await call(gateway, "GET", "/keys/alice")
    assert status == 200
    assert "key" not in shown
    assert hash_key(key) not in json.dumps(shown)
    status, edited = await call(
        gateway, "PATCH", "/keys/alice", {"requests_per_minute": 1, "region": "eu"}
    )
    assert (status, edited["requests_per_minute"], edited["region"]) == (200, 1, "eu")
    assert [await served(gateway, key) for _ in range(2)] == [200, 429]
    status, edited = await call(
        gateway, "PATCH", "/keys/alice", {"requests_per_minute": None}
    )
    assert "requests_per_minute" not in edited
    assert await served(gateway, key) == 200
    await call(gateway, "PATCH", "/keys/alice", {"enabled": False})
    assert await served(gateway, key) == 401
    await call(gateway, "PATCH", "/keys/alice", {"enabled": True})
    status, rotated = await call(gateway, "POST", "/keys/alice/rotate")
    assert status == 200
    assert (await served(gateway, key), await served(gateway, rotated["key"])) == (
        401,
        200,
    )
    assert (await call(gateway, "DELETE", "/keys/alice"))[0] == 204
    assert await served(gateway, rotated["key"]) == 401
    assert (await call(gateway, "GET", "/keys/alice"))[0] == 404


async def test_the_list_has_both_sources(gateway):
    """The configuration's are shown and not to be edited here."""
    await call(gateway, "POST", "/keys", {"name": "bob", "daily_limit": 3})
    status, listed = await call(gateway, "GET", "/keys")
    assert status == 200
    assert {(row["name"], row["source"]) for row in listed["data"]} == {
        ("LOWROUTER_API_KEY", "configuration"),
        ("bob", "store"),
    }
    for method, path in (
        ("PATCH", "/keys/LOWROUTER_API_KEY"),
        ("DELETE", "/keys/LOWROUTER_API_KEY"),
    ):
        status, told = await call(gateway, method, path, {"enabled": False})
        assert status == 400
        assert "is the configuration's" in told["error"]["message"]
    assert await served(gateway, KEY) == 200


async def test_a_change_by_another_process_holds_within_a_second(gateway, tmp_path):
    """`lowproxy keys` against the database of a running gateway: no restart."""
    from lowproxy.config.rows import KeyRow
    from lowproxy.store import keys_table

    key = "lr-sk-" + "x" * 43
    database = open_migrated(f"sqlite://{tmp_path}/books.db")
    keys_table.add(database, KeyRow("carol"), hash_key(key), 1.0)
    database.close()
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(10):
        while await served(gateway, key) != 200:
            await asyncio.sleep(0.02)
    assert loop.time() - began < 10


@pytest.mark.parametrize("token", [None, "wrong", KEY])
async def test_only_its_own_credential_is_good(gateway, token):
    """A caller's key least of all."""
    for method, path in (("GET", "/keys"), ("POST", "/keys"), ("DELETE", "/keys/a")):
        status, told = await call(gateway, method, path, {"name": "x"}, token)
        assert status == 401
        assert ADMIN not in json.dumps(told)
    assert (await gateway.admin("/livez")).status == 200
    assert (await gateway.admin("/metrics")).status == 200


async def test_without_a_credential_it_is_off(serve, upstream):
    """It says how it is turned on."""
    gateway = await serve(upstream)
    status, told = await call(gateway, "GET", "/keys", token="anything")
    assert status == 403
    assert "server.admin_key_env" in told["error"]["message"]


async def test_without_a_store_it_says_so(serve, upstream):
    """The configuration's keys are listed all the same."""
    gateway = await serve(
        upstream,
        server=SERVER,
        extra="[store]\nenabled = false",
        environ={"ADMIN_KEY": ADMIN},
    )
    assert (await call(gateway, "GET", "/keys"))[0] == 200
    status, told = await call(gateway, "POST", "/keys", {"name": "x"})
    assert status == 400
    assert "no store is configured" in told["error"]["message"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "name: found None"),
        ({"name": "a", "dayly_limit": 1}, "did you mean daily_limit"),
        ({"name": "a", "hash": "sha256:0"}, "hash: no option"),
        ([1], "must be a JSON object"),
        (b"{", "must be a JSON object"),
        ({"name": "LOWROUTER_API_KEY"}, "is the configuration's"),
    ],
)
async def test_mistakes_are_named(gateway, body, says):
    """And nothing is made."""
    status, told = await call(gateway, "POST", "/keys", body)
    assert status == 400
    assert says in told["error"]["message"]
    assert len((await call(gateway, "GET", "/keys"))[1]["data"]) == 1


async def test_a_name_is_used_once(gateway):
    """A second key of the same name is no edit."""
    assert (await call(gateway, "POST", "/keys", {"name": "a b/c"}))[0] == 201
    status, told = await call(gateway, "POST", "/keys", {"name": "a b/c"})
    assert status == 400
    assert "is taken" in told["error"]["message"]
    assert (await call(gateway, "GET", "/keys/a%20b%2Fc"))[0] == 200
