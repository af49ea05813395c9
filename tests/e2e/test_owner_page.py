"""Each block of the page on the OpenAI SDK for Python, with the real SDK and process."""

import hashlib

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.conftest import running_gateway

pytestmark = pytest.mark.e2e

MODEL = "openai/gpt-4o-mini"
ECO_FIELDS = {
    "energy_wh": float,
    "carbon_g": float,
    "carbon_per_1k_tokens_g": float,
    "accuracy": str,
    "methodology_version": str,
}


def saying(text):
    return [{"role": "user", "content": text}]


@pytest.fixture
def client(gateway):
    with OpenAI(base_url=gateway.base_url, api_key=gateway.key) as sdk:
        yield sdk


class Counting:
    """Counts the requests that an SDK client really sends."""

    def __init__(self):
        self.sent = 0

    def __call__(self, request):
        self.sent += 1

    def client(self, gateway, **options):
        http = openai.DefaultHttpxClient(event_hooks={"request": [self]})
        options = {"api_key": gateway.key, **options}
        return OpenAI(base_url=gateway.base_url, http_client=http, **options)


def lowrouter_of(answer):
    """What the gateway says about an answer, from an SDK object."""
    return (answer.model_extra or {})["lowrouter"]


def eco_of(answer):
    """The eco block of an SDK object, with the contract's fields checked."""
    lowrouter = lowrouter_of(answer)
    assert lowrouter["generation_id"].startswith("gen_")
    eco = lowrouter["eco"]
    for name, kind in ECO_FIELDS.items():
        assert isinstance(eco[name], kind), name
    assert eco["energy_wh"] > 0
    assert eco["carbon_g"] > 0
    return eco


# --- the page, block by block ----------------------------------------------------------


def test_unary(client):
    """A completion of lowrouter/auto has text to print."""
    answer = client.chat.completions.create(
        model="lowrouter/auto", messages=saying("What is a vector database, briefly?")
    )

    assert "demo" in answer.choices[0].message.content
    assert answer.usage.total_tokens == (
        answer.usage.prompt_tokens + answer.usage.completion_tokens
    )


def test_streamed(client, capsys):
    """The loop that reads `choices[0]` of every chunk prints the whole answer."""
    stream = client.chat.completions.create(
        model="lowrouter/auto", messages=saying("Count to 5 slowly"), stream=True
    )
    said = ""
    for chunk in stream:
        piece = chunk.choices[0].delta.content
        if piece:
            said += piece

    assert said.startswith("1, 2, 3, 4, 5.")


def test_streamed_and_unary_say_the_same(client):
    """The stream's text is the unary answer's text."""
    ask = {"model": MODEL, "messages": saying("What is a tree?")}

    unary = client.chat.completions.create(
        **ask, extra_body={"route": {"region": "eu-west"}}
    )
    stream = client.chat.completions.create(
        **ask, extra_body={"route": {"region": "eu-west"}}, stream=True
    )
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert streamed == unary.choices[0].message.content


def test_the_last_chunk_has_the_eco_block(client):
    """Of a stream the last chunk, and no other, carries `lowrouter`."""
    chunks = list(
        client.chat.completions.create(
            model="lowrouter/auto", messages=saying("Count to 3"), stream=True
        )
    )

    assert eco_of(chunks[-1])["accuracy"] == "gross"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is None
    assert not any("lowrouter" in (chunk.model_extra or {}) for chunk in chunks[:-1])
    assert {chunk.model for chunk in chunks} <= set(_ids(client))


def test_include_usage(client):
    """With include_usage the usage chunk is the last one and has the block."""
    chunks = list(
        client.chat.completions.create(
            model=MODEL,
            messages=saying("Count to 3"),
            stream=True,
            stream_options={"include_usage": True},
        )
    )

    assert chunks[-1].choices == []
    assert chunks[-1].usage.prompt_tokens == 3
    assert chunks[-1].usage.completion_tokens == len(chunks) - 3
    eco_of(chunks[-1])
    assert all(chunk.choices and chunk.usage is None for chunk in chunks[:-1])


def test_eco_metadata(client):
    """`model_extra` of a unary answer has the block, formatted as the page does."""
    answer = client.chat.completions.create(
        model="lowrouter/auto", messages=saying("hi")
    )

    eco = eco_of(answer)
    line = f"{eco['carbon_per_1k_tokens_g']:.3f} gCO2e/1k tokens ({eco['accuracy']})"
    assert line.endswith(" gCO2e/1k tokens (gross)")
    per_1k = eco["carbon_g"] / answer.usage.total_tokens * 1000
    assert eco["carbon_per_1k_tokens_g"] == pytest.approx(per_1k, rel=1e-4)
    assert eco["notes"] == ["demo"]


def test_region_in_the_body(client):
    """`extra_body` pins the region, and the answer says so."""
    answer = client.chat.completions.create(
        model=MODEL,
        messages=saying("hi"),
        extra_body={"route": {"region": "eu-west"}},
    )

    assert answer.model == MODEL
    assert lowrouter_of(answer)["region"] == "eu-west"
    assert lowrouter_of(answer)["provider"] == "demo"
    assert "eu-west" in answer.choices[0].message.content


@pytest.mark.parametrize("region", ["eu-west", "us-east"])
def test_region_by_default_header(gateway, region):
    """A client made for one region is answered from there, without a word in the body."""
    with OpenAI(
        base_url=gateway.base_url,
        api_key=gateway.key,
        default_headers={"X-LowRouter-Region": region},
    ) as client:
        answer = client.chat.completions.create(model=MODEL, messages=saying("hi"))

    assert lowrouter_of(answer)["region"] == region


def test_the_body_outranks_the_header(gateway):
    """Where both are sent the body wins."""
    with OpenAI(
        base_url=gateway.base_url,
        api_key=gateway.key,
        default_headers={"X-LowRouter-Region": "us-east"},
    ) as client:
        answer = client.chat.completions.create(
            model=MODEL,
            messages=saying("hi"),
            extra_body={"route": {"region": "eu-west"}},
        )

    assert lowrouter_of(answer)["region"] == "eu-west"


async def test_async(gateway):
    """The async client follows the same pattern, unary and streamed."""
    async with AsyncOpenAI(base_url=gateway.base_url, api_key=gateway.key) as client:
        answer = await client.chat.completions.create(
            model="lowrouter/auto", messages=saying("hi")
        )
        assert answer.choices[0].message.content
        eco_of(answer)

        stream = await client.chat.completions.create(
            model="lowrouter/auto", messages=saying("Count to 4"), stream=True
        )
        said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert said.startswith("1, 2, 3, 4.")


# --- what stands around the page -------------------------------------------------------


def _ids(client):
    return [model.id for model in client.models.list()]


def test_models(client):
    """The list has the page's model and the pseudo-models, and each can be retrieved."""
    ids = _ids(client)

    assert {MODEL, "lowrouter/auto", "lowrouter/auto-cheap"} <= set(ids)
    for name in ids:
        assert client.models.retrieve(name).id == name


def test_headers(client):
    """The headers say what the body says."""
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=saying("hi")
    )

    lowrouter = lowrouter_of(raw.parse())
    assert raw.headers["x-lowrouter-generation-id"] == lowrouter["generation_id"]
    assert raw.headers["x-lowrouter-provider"] == lowrouter["provider"]
    assert raw.headers["x-lowrouter-region"] == lowrouter["region"]


def test_the_v1_path(gateway):
    """The same under /v1, for tools that insist on it."""
    base_url = gateway.base_url.replace("/api/v1", "/v1")
    with OpenAI(base_url=base_url, api_key=gateway.key) as client:
        answer = client.chat.completions.create(model=MODEL, messages=saying("hi"))

    eco_of(answer)


def test_the_answer_has_its_limits(client):
    """`max_tokens` and `n` reach the upstream as they came."""
    answer = client.chat.completions.create(
        model=MODEL, messages=saying("Count to 9"), max_tokens=2, n=2
    )

    assert [choice.message.content for choice in answer.choices] == ["1, 2,", "1, 2,"]
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    assert answer.usage.completion_tokens == 4


# --- errors: the SDK raises its own types ----------------------------------------------


def test_wrong_key(gateway):
    """A key that is not ours is an AuthenticationError, sent once, not shown."""
    counting = Counting()
    wrong = "sk-" + "wrong" * 10
    with (
        counting.client(gateway, api_key=wrong) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.chat.completions.create(model=MODEL, messages=saying("hi"))

    assert caught.value.status_code == 401
    assert caught.value.code == "invalid_api_key"
    assert wrong not in str(caught.value)
    assert caught.value.response.headers["x-lowrouter-generation-id"]
    assert counting.sent == 1


def test_unknown_model(client):
    """An unknown model is a NotFoundError that names it."""
    with pytest.raises(openai.NotFoundError, match="openai/gpt-none") as caught:
        client.chat.completions.create(model="openai/gpt-none", messages=saying("hi"))

    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("route", "named"),
    [
        ({"regoin": "eu-west"}, "regoin"),
        ({"region": 7}, "region"),
        ("eu-west", "route"),
    ],
)
def test_malformed_route(client, route, named):
    """A route that cannot be read is a BadRequestError that says which part."""
    with pytest.raises(openai.BadRequestError, match=named) as caught:
        client.chat.completions.create(
            model=MODEL, messages=saying("hi"), extra_body={"route": route}
        )

    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize("stream", [False, True])
def test_unknown_region(gateway, stream):
    """An unknown region is a 503 that lists the known ones, and nobody asks again."""
    counting = Counting()
    with (
        counting.client(gateway) as client,
        pytest.raises(openai.APIStatusError, match="eu-west") as caught,
    ):
        client.chat.completions.create(
            model=MODEL,
            messages=saying("hi"),
            stream=stream,
            extra_body={"route": {"region": "mars-north"}},
        )

    assert caught.value.status_code == 503
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert counting.sent == 1


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """A gateway whose key may use OpenAI's models in eu-west and nothing else."""
    key = "lr-sk-limited-" + "0123456789abcdef" * 3
    digest = hashlib.sha256(key.encode()).hexdigest()
    config = f"""
    [[keys]]
    name = "limited"
    hash = "sha256:{digest}"
    region = "eu-west"
    models = ["openai/*"]
    """
    folder = tmp_path_factory.mktemp("limited")
    with (
        running_gateway(folder, config) as running,
        OpenAI(base_url=running.base_url, api_key=key) as client,
    ):
        yield client


def test_what_a_key_may_not_use(limited):
    """A region or a model outside the key's policy is a PermissionDeniedError."""
    with pytest.raises(openai.PermissionDeniedError, match="eu-west"):
        limited.chat.completions.create(
            model=MODEL,
            messages=saying("hi"),
            extra_body={"route": {"region": "us-east"}},
        )
    others = {"lowrouter/auto", "lowrouter/auto-cheap"}
    assert all(name.startswith("openai/") for name in set(_ids(limited)) - others)


def test_a_key_pins_its_region(limited):
    """Without a word in the request the key's region holds."""
    answer = limited.chat.completions.create(
        model="lowrouter/auto", messages=saying("hi")
    )

    assert lowrouter_of(answer)["region"] == "eu-west"
    assert answer.model.startswith("openai/")


# --- the process ------------------------------------------------------------------------


def test_the_banner(gateway):
    """The start says who answers, where, and that it is a demo; the key is not shown."""
    printed = gateway.process.printed()

    assert gateway.base_url in printed
    assert "demo" in printed
    assert "eu-west" in printed
    assert gateway.key not in printed


def test_prompts_and_keys_are_not_logged(client, gateway):
    """Neither what was asked, nor the answer, nor a credential is in the log."""
    prompt = "canary-7c1f count to 7"
    client.chat.completions.create(model=MODEL, messages=saying(prompt))
    wrong = "sk-canary-8d2e"
    with (
        OpenAI(base_url=gateway.base_url, api_key=wrong) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()

    printed = gateway.process.printed()
    assert "canary" not in printed
    assert "1, 2, 3, 4, 5, 6, 7" not in printed
    assert gateway.key not in printed
