"""The first minute without an SDK: the command line's own caller, and plain HTTP."""

import os
import subprocess
import sys

import pytest

from tests.e2e.conftest import ROOT
from tests.fakes import RawCaller

pytestmark = pytest.mark.e2e

PATH = "/api/v1/chat/completions"
ASK = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}


def test_chat(gateway):
    """`lowproxy chat` prints the answer of a running gateway and what it cost."""
    done = subprocess.run(
        [sys.executable, "-m", "lowproxy", "chat", "--url", gateway.base_url]
        + ["--region", "eu-west", "Count to 3"],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LOWROUTER_API_KEY": gateway.key,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    answer, eco = done.stdout.splitlines()
    assert done.returncode == 0
    assert answer.startswith("1, 2, 3.")
    assert eco.startswith("[demo, eu-west, ")
    assert eco.endswith("accuracy gross]")


@pytest.mark.parametrize(
    ("body", "key", "status", "says"),
    [
        (ASK, None, 401, "key"),
        (ASK, "sk-wrong", 401, "key"),
        (b'{"model":', "ours", 400, "JSON"),
        ({**ASK, "model": "openai/gpt-none"}, "ours", 404, "openai/gpt-none"),
        ({**ASK, "route": {"region": "mars"}}, "ours", 503, "eu-west"),
    ],
)
async def test_refusals_over_plain_http(gateway, body, key, status, says):
    """What curl sees: the contract's status, an error object, an id to quote."""
    async with RawCaller(gateway.port) as caller:
        reply = await caller.post(PATH, body, key=gateway.key if key == "ours" else key)
        error = (await reply.json())["error"]

    assert reply.status == status
    assert set(error) == {"message", "type", "param", "code"}
    assert says in error["message"]
    assert reply.headers["x-lowrouter-generation-id"].startswith("gen_")


async def test_a_stream_over_plain_http(gateway):
    """A stream has the headers that keep whoever stands between from buffering it."""
    async with RawCaller(gateway.port, key=gateway.key) as caller:
        reply = await caller.post(PATH, {**ASK, "stream": True})
        body = await reply.rest()

    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["x-accel-buffering"] == "no"
    assert body.endswith(b"data: [DONE]\n\n")
