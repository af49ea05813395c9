"""The admin port: alive, ready, metrics; nothing of the API."""

import asyncio

import pytest

from lowproxy.core.upstreams import Pool
from tests.fakes import RawCaller
from tests.gateway import KEY


async def test_alive_and_ready(serve, upstream):
    """Both are 200 as soon as the gateway serves; no key is asked for."""
    gateway = await serve(upstream)
    for path, word in (("/livez", "alive"), ("/readyz", "ready")):
        told = await gateway.admin(path)
        assert (told.status, told.json()) == (200, {"status": word})


async def test_not_ready(serve, upstream):
    """503 with the reason while draining and where nothing can be served; alive still."""
    gateway = await serve(upstream)
    gateway.parts.life.stopping = True
    told = await gateway.admin("/readyz")
    assert (told.status, told.json()["reason"]) == (503, "draining")
    assert (await gateway.admin("/livez")).status == 200


async def test_not_ready_without_a_model(serve, upstream):
    """Ready means: can route."""
    gateway = await serve(upstream)
    gateway.parts.pool = Pool({})
    told = await gateway.admin("/readyz")
    assert (told.status, told.json()["reason"]) == (503, "no model can be served")


async def test_metrics(serve, upstream):
    """Prometheus' text form, with what has happened so far."""
    gateway = await serve(upstream)
    await gateway.chat()
    told = await gateway.admin("/metrics")
    assert told.status == 200
    assert told.headers["content-type"].startswith("text/plain; version=")
    text = told.body.decode()
    assert (
        'lowproxy_requests_total{endpoint="chat",provider="p1",status="ok"} 1.0' in text
    )
    assert "lowproxy_open_requests 0.0" in text
    for kind, count in (("prompt", 9), ("completion", 3)):
        labels = f'kind="{kind}",model="acme/small",provider="p1"'
        assert f"lowproxy_tokens_total{{{labels}}} {count}.0" in text


async def test_metrics_while_a_request_is_open(serve, upstream):
    """The gauge sees it."""
    gate = asyncio.Event()

    async def wait(seen, wire):
        await wire.hold(gate)
        await wire.hang_up()

    upstream.on_request = wait
    gateway = await serve(upstream)
    asked = asyncio.create_task(gateway.chat())
    await upstream.requests.wait()
    assert b"lowproxy_open_requests 1.0" in (await gateway.admin("/metrics")).body
    gate.set()
    await asked


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/api/v1/chat/completions"])
async def test_nothing_of_the_api(serve, upstream, path):
    """Not even with a good key."""
    gateway = await serve(upstream)
    async with RawCaller(gateway.admin_port, key=KEY) as caller:
        assert (await caller.get(path)).status == 404


async def test_nothing_of_it_on_the_api_port(serve, upstream):
    """Exposing the API exposes nothing else."""
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        for path in ("/", "/events", "/livez", "/readyz", "/metrics", "/v1/metrics"):
            reply = await caller.get(path)
            await reply.rest()
            assert reply.status == 404
