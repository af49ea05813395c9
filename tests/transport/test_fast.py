"""The pool of our own client: which connection serves whom, and for how long."""

import asyncio

import pytest

from lowproxy.config import Timeouts
from lowproxy.errors import UpstreamCutError
from lowproxy.transport import pool
from lowproxy.transport.fast import running_client
from tests.fakes import Answer
from tests.gateway import request_to, settled, whole


@pytest.fixture
async def client():
    """A running client."""
    async with running_client(Timeouts()) as made:
        yield made


async def test_the_last_used_is_used_next(client, upstream):
    """So that the others may grow old and be closed."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(b"x", gate) for _ in range(3)]
    answers = [await client.send(request_to(upstream.base_url)) for _ in range(3)]
    gate.set()
    for answer in answers:
        await whole(answer)
    for _ in range(5):
        await whole(await client.send(request_to(upstream.base_url)))
    assert upstream.connections.count == 3
    served = [idle.idle_since for idle in client._pool._idle.popitem()[1]]
    assert served == sorted(served)


async def test_an_old_connection_is_not_used(client, upstream, monkeypatch):
    """Its upstream may have closed it without our knowing."""
    await whole(await client.send(request_to(upstream.base_url)))
    monkeypatch.setattr(pool, "KEEPALIVE_S", 0.0)
    await whole(await client.send(request_to(upstream.base_url)))
    assert upstream.connections.count == 2
    await upstream.closed.wait(1)


async def test_idle_connections_are_swept(monkeypatch, upstream):
    """Without anybody asking for one."""
    monkeypatch.setattr(pool, "KEEPALIVE_S", 0.03)
    async with running_client(Timeouts()) as client:
        await whole(await client.send(request_to(upstream.base_url)))
        await upstream.closed.wait(1)
        await settled(lambda: len(client._pool._open), turns=5)
        assert not client._pool._open
        assert not any(client._pool._idle.values())


async def test_hosts_do_not_share(client, upstream):
    """A name and its address are two places, as TLS would have it."""
    await whole(await client.send(request_to(upstream.base_url)))
    by_name = upstream.base_url.replace("127.0.0.1", "localhost")
    await whole(await client.send(request_to(by_name)))
    assert upstream.connections.count == 2
    assert upstream.seen[1].header("host") == f"localhost:{upstream.port}"


async def test_nothing_is_left_open(upstream):
    """Not even an answer that is still coming in when the client ends."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(b"x", gate)]
    async with running_client(Timeouts()) as client:
        answer = await client.send(request_to(upstream.base_url))
        await answer.more()
    await upstream.aborted.wait()
    await upstream.all_closed()


async def test_a_failure_is_told_behind_what_came(client, upstream):
    """What was received before a cut is not lost when it is pulled late."""
    upstream.script = [Answer.stream(b"one", b"two", cut=True)]
    answer = await client.send(request_to(upstream.base_url))
    await upstream.all_closed()
    await settled(lambda: 0, turns=10)
    got = b""
    with pytest.raises(UpstreamCutError):
        while True:
            got += await answer.more()
    assert got == b"onetwo"


@pytest.mark.parametrize("size", [0, 100, 20_000, 3_000_000])
async def test_bodies_of_any_size(client, upstream, size):
    """Joined with the head or sent behind it."""
    body = b'{"a":"' + b"x" * size + b'"}'
    await whole(await client.send(request_to(upstream.base_url, body)))
    assert upstream.seen[0].body == body


async def test_no_secret_in_a_repr(client, upstream):
    """What can be printed of a client and its answer."""
    answer = await client.send(request_to(upstream.base_url))
    shown = repr(client) + repr(answer) + repr(answer.fields)
    assert "canary" not in shown
    await whole(answer)
