"""An OpenAI-compatible server that others wrote, in between: the LiteLLM proxy.

It answers from a script of its own (`mock_response`) and never calls a model. It is
installed apart, because its dependencies are many: LOWPROXY_LITELLM is the path of the
`litellm` executable in a virtual environment of its own.
"""

import os
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.conftest import free_port, running_gateway, running_process

LITELLM = os.environ.get("LOWPROXY_LITELLM", "")
SAID = "Saturn has rings of ice and rock."
UPSTREAM_KEY = "sk-foreign-0123456789"
MODEL = "foreign/small"
ASK: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Tell me of Saturn"}],
}

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not LITELLM, reason="LOWPROXY_LITELLM does not name a litellm executable"
    ),
]

UPSTREAM_CONFIG = f"""
model_list:
  - model_name: mock-small
    litellm_params:
      model: openai/mock-small
      api_key: none
      mock_response: "{SAID}"
general_settings:
  master_key: {UPSTREAM_KEY}
"""

GATEWAY_CONFIG = """
[catalogue]
enabled = false

[[providers]]
id = "foreign"
api_key_env = "FOREIGN_API_KEY"

  [[providers.endpoints]]
  region = "eu-west"
  zone = "FR"
  base_url = "http://127.0.0.1:{port}/v1"

[[models]]
id = "foreign/small"
provider = "foreign"
upstream_model = "mock-small"
total_params_b = 24
active_params_b = 24
weight_bits = 8

[[models]]
id = "foreign/missing"
provider = "foreign"
upstream_model = "not-there"
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """The port of a running LiteLLM proxy that wants a key."""
    folder = tmp_path_factory.mktemp("litellm")
    config = folder / "litellm.yaml"
    config.write_text(UPSTREAM_CONFIG)
    port = free_port()
    command = [LITELLM, "--config", str(config), "--telemetry", "False"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    # Without it LiteLLM fetches a price list from the network as it starts.
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    ready_url = f"http://127.0.0.1:{port}/health/liveliness"
    with running_process(command, env, folder, ready_url):
        yield port


@pytest.fixture(scope="module")
def gateway(port, tmp_path_factory):
    """A gateway that has this upstream and no other."""
    config = GATEWAY_CONFIG.format(port=port)
    folder = tmp_path_factory.mktemp("gateway")
    with running_gateway(folder, config, FOREIGN_API_KEY=UPSTREAM_KEY) as running:
        yield running


@pytest.fixture
def client(gateway):
    with OpenAI(base_url=gateway.base_url, api_key=gateway.key) as sdk:
        yield sdk


def lowrouter_of(answer):
    """What the gateway says about an answer, from an SDK object."""
    return (answer.model_extra or {})["lowrouter"]


def test_unary(client):
    """The answer is the upstream's, named as the caller asked, with its eco block."""
    answer = client.chat.completions.create(**ASK)

    assert answer.choices[0].message.content == SAID
    assert answer.model == MODEL
    lowrouter = lowrouter_of(answer)
    assert (lowrouter["provider"], lowrouter["region"]) == ("foreign", "eu-west")
    assert lowrouter["eco"]["energy_wh"] > 0
    assert "notes" not in lowrouter["eco"]


def test_streamed(client):
    """Every chunk has a choice to read; one chunk, and the only one, has the block."""
    chunks = list(client.chat.completions.create(**ASK, stream=True))

    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert said == SAID
    assert {chunk.model for chunk in chunks} == {MODEL}
    annotated = [c for c in chunks if "lowrouter" in (c.model_extra or {})]
    assert annotated == [chunks[-1]]
    assert lowrouter_of(chunks[-1])["eco"]["carbon_g"] > 0
    assert [c.choices[0].finish_reason for c in chunks].count("stop") == 1


def test_streamed_with_usage(client):
    """Where usage is asked for, the last chunk has the upstream's count and the block."""
    options = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(**ASK, stream=True, stream_options=options)
    )

    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == SAID
    assert chunks[-1].usage.completion_tokens > 0
    assert lowrouter_of(chunks[-1])["eco"]["carbon_g"] > 0


async def test_async(gateway):
    """The async client sees the same."""
    async with AsyncOpenAI(base_url=gateway.base_url, api_key=gateway.key) as client:
        stream = await client.chat.completions.create(**ASK, stream=True)
        said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert said == SAID


def test_an_error_of_the_upstream(client):
    """What the upstream says of a request that it refuses reaches the caller."""
    with pytest.raises(openai.APIStatusError) as caught:
        client.with_options(max_retries=0).chat.completions.create(
            **{**ASK, "model": "foreign/missing"}
        )

    assert caught.value.status_code in {400, 502}
    assert UPSTREAM_KEY not in str(caught.value)


def test_a_wrong_credential_of_ours(port, tmp_path):
    """An upstream that refuses our credential is our failure, not the caller's."""
    config = GATEWAY_CONFIG.format(port=port)
    with (
        running_gateway(tmp_path, config, FOREIGN_API_KEY="sk-stale") as running,
        OpenAI(base_url=running.base_url, api_key=running.key, max_retries=0) as client,
        pytest.raises(openai.APIStatusError) as caught,
    ):
        client.chat.completions.create(**ASK)

    assert caught.value.status_code != 401
    assert "sk-stale" not in str(caught.value)
