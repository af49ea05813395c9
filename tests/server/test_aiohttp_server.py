"""The public server; everything in this folder that has a caller is run against it as well."""

import asyncio

from lowproxy.server import app
from lowproxy.server.aiohttp_server import PublicServer
from tests.fakes import Answer
from tests.gateway import asking


async def test_a_writer_ends_with_its_request(serve, upstream, monkeypatch):
    """No task is left when the caller of a stream goes away."""
    monkeypatch.setitem(app.SERVERS, "direct", PublicServer)
    gate = asyncio.Event()
    upstream.script = [Answer.stream(b"data: {}\n\n", gate, b"data: [DONE]\n\n")]
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post("/v1/chat/completions", asking())
        await reply.event()
    while gateway.parts.busy:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not [t for t in asyncio.all_tasks() if t.get_name() == "caller's stream"]
