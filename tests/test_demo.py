"""The embedded demo answers like OpenAI, says what it is, and always says the same."""

import asyncio
import json
import re
from contextlib import asynccontextmanager

import aiohttp
import orjson
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from lowproxy.demo import DISCLAIMER, MAX_CHOICES, running_demo

MODELS = ["openai/gpt-4o-mini", "mistral/mistral-small"]
ASK = {
    "model": MODELS[0],
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "In one sentence, what is a vector database?"},
    ],
}
COUNT = {
    "model": MODELS[0],
    "messages": [{"role": "user", "content": "Count to 5 slowly"}],
}


@pytest.fixture
async def demo():
    async with running_demo(MODELS, pace_s=0) as base:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", base)
        async with aiohttp.ClientSession() as session:
            yield Demo(base, session)


class Demo:
    """Asks the demo over real HTTP."""

    def __init__(self, base, session):
        self.base = base
        self.session = session

    @asynccontextmanager
    async def post(self, body, region="eu-west"):
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        url = f"{self.base}/{region}/v1/chat/completions"
        async with self.session.post(url, data=data) as answer:
            yield answer

    async def unary(self, body, region="eu-west"):
        async with self.post(body, region) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.content_type == "application/json"
            return await answer.json()

    async def refused(self, body):
        async with self.post(body) as answer:
            return answer.status, (await answer.json())["error"]

    async def stream(self, body):
        """The chunks of a stream; asserts its framing."""
        async with self.post({**body, "stream": True}) as answer:
            assert answer.content_type == "text/event-stream"
            events = (await answer.read()).split(b"\n\n")
        assert events[-2:] == [b"data: [DONE]", b""]
        assert all(event.startswith(b"data: {") for event in events[:-2])
        return [orjson.loads(event.removeprefix(b"data: ")) for event in events[:-2]]


def content(chunks, index=0):
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return "".join(
        choice["delta"].get("content", "")
        for choice in choices
        if choice["index"] == index
    )


async def test_unary_shape(demo):
    """An answer has the fields OpenAI's has, and the SDK's own type accepts it."""
    answer = await demo.unary(ASK)

    ChatCompletion.model_validate(answer, strict=True)
    assert answer["object"] == "chat.completion"
    assert answer["model"] == ASK["model"]
    assert set(answer) == {
        "id",
        "object",
        "created",
        "model",
        "choices",
        "usage",
        "system_fingerprint",
    }


async def test_says_that_it_is_a_demo(demo):
    """Nobody takes it for a model."""
    for ask in (ASK, COUNT):
        answer = await demo.unary(ask)
        assert DISCLAIMER in answer["choices"][0]["message"]["content"]


async def test_usage_counts_pieces_and_words(demo):
    """Prompt tokens are the prompt's words, completion tokens the answer's pieces."""
    answer = await demo.unary(ASK)

    text = answer["choices"][0]["message"]["content"]
    assert answer["usage"]["prompt_tokens"] == 10
    assert answer["usage"]["completion_tokens"] == len(text.split())
    assert answer["usage"]["total_tokens"] == 10 + len(text.split())


async def test_text_parts_count_as_prompt(demo):
    """Content given as a list of parts is read like a string; images count nothing."""
    parts = [
        {"type": "text", "text": "count to 3"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]

    answer = await demo.unary({**ASK, "messages": [{"role": "user", "content": parts}]})

    assert answer["usage"]["prompt_tokens"] == 3
    assert answer["choices"][0]["message"]["content"].startswith("1, 2, 3.")


async def test_same_request_same_answer():
    """Two servers at two times give the same bytes for the same request."""
    bodies = []
    for _ in range(2):
        async with (
            running_demo(MODELS, pace_s=0) as base,
            aiohttp.ClientSession() as session,
            Demo(base, session).post({**ASK, "stream": True}) as answer,
        ):
            bodies.append(await answer.read())

    assert bodies[0] == bodies[1]


async def test_another_request_another_id(demo):
    """Ids of different prompts differ."""
    assert (await demo.unary(ASK))["id"] != (await demo.unary(COUNT))["id"]


async def test_the_region_is_named(demo):
    """Any region of the path answers, and the text says which it was."""
    answer = await demo.unary(ASK, region="ap-south")

    assert "ap-south" in answer["choices"][0]["message"]["content"]


async def test_stream_says_what_unary_says(demo):
    """Streamed or not, the text is the same."""
    answer = await demo.unary(ASK)
    chunks = await demo.stream(ASK)

    assert content(chunks) == answer["choices"][0]["message"]["content"]
    assert {chunk["id"] for chunk in chunks} == {answer["id"]}


async def test_chunk_shape(demo):
    """Role first, then one piece each, then the finish chunk; OpenAI's fields only."""
    chunks = await demo.stream(COUNT)

    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
        assert list(chunk) == [
            "id",
            "object",
            "created",
            "model",
            "system_fingerprint",
            "choices",
        ]
        (choice,) = chunk["choices"]
        assert list(choice) == ["index", "delta", "logprobs", "finish_reason"]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[1]["choices"][0]["delta"] == {"content": "1,"}
    assert chunks[-1]["choices"][0]["delta"] == {}
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons == [None] * (len(chunks) - 1) + ["stop"]


async def test_usage_chunk_when_asked(demo):
    """With include_usage each chunk has `usage: null` and a last one has the counts."""
    chunks = await demo.stream({**COUNT, "stream_options": {"include_usage": True}})

    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == (await demo.unary(COUNT))["usage"]
    assert chunks[-1]["usage"]["completion_tokens"] == len(chunks) - 3


@pytest.mark.parametrize(
    ("prompt", "start"),
    [
        ("Count to 5 slowly", "1, 2, 3, 4, 5. ("),
        ("please COUNT UP TO 2", "1, 2. ("),
        ("count to 20!", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, "),
        ("count to 21", DISCLAIMER),
        ("count to 0", DISCLAIMER),
        ("count to 200", DISCLAIMER),
        ("discount to 5", DISCLAIMER),
    ],
)
async def test_it_can_count(demo, prompt, start):
    """Asked to count to 20 at the most, it counts."""
    ask = {**COUNT, "messages": [{"role": "user", "content": prompt}]}

    answer = await demo.unary(ask)

    assert answer["choices"][0]["message"]["content"].startswith(start)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_token_limit(demo, name):
    """A limit cuts the answer, and the finish reason says so."""
    ask = {**COUNT, name: 3}

    answer = await demo.unary(ask)
    chunks = await demo.stream(ask)

    assert answer["choices"][0]["message"]["content"] == "1, 2, 3,"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 3
    assert content(chunks) == "1, 2, 3,"
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


async def test_several_choices(demo):
    """`n` choices are counted together, and each of a stream's has its own finish."""
    ask = {**ASK, "n": 3}

    answer = await demo.unary(ask)
    chunks = await demo.stream(ask)

    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert len(set(texts)) == 3
    assert answer["usage"]["completion_tokens"] == sum(len(t.split()) for t in texts)
    assert [content(chunks, index) for index in range(3)] == texts
    finished = [c["choices"][0] for c in chunks if c["choices"][0]["finish_reason"]]
    assert [choice["index"] for choice in finished] == [0, 1, 2]


async def test_unknown_model(demo):
    """An unknown model is OpenAI's 404."""
    status, error = await demo.refused({**ASK, "model": "openai/gpt-none"})

    assert status == 404
    assert error["code"] == "model_not_found"
    assert error["param"] == "model"
    assert "openai/gpt-none" in error["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b'{"model":', None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
        (b"[]", None),
        ({"messages": ASK["messages"]}, "model"),
        ({**ASK, "model": 4}, "model"),
        ({"model": MODELS[0]}, "messages"),
        ({**ASK, "messages": []}, "messages"),
        ({**ASK, "messages": "hi"}, "messages"),
        ({**ASK, "stream": "yes"}, "stream"),
        ({**ASK, "stream_options": {"include_usage": 1}}, "include_usage"),
        ({**ASK, "max_tokens": 0}, "max_tokens"),
        ({**ASK, "max_tokens": True}, "max_tokens"),
        ({**ASK, "max_completion_tokens": "9"}, "max_completion_tokens"),
        ({**ASK, "n": MAX_CHOICES + 1}, "n"),
        ({**ASK, "n": 1.5}, "n"),
    ],
)
async def test_bad_requests(demo, body, param):
    """What cannot be read is a 400 that names the field."""
    status, error = await demo.refused(body)

    assert status == 400
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


async def test_odd_json_is_answered(demo):
    """Lone surrogates and huge numbers, which strict readers refuse, do no harm."""
    body = json.dumps({**COUNT, "seed": 9007199254740993, "user": "\ud800"})

    answer = await demo.unary(body.replace("9007199254740993", "1e400").encode())

    assert answer["choices"][0]["message"]["content"].startswith("1, 2, 3, 4, 5.")


async def test_models_are_listed(demo):
    """GET /models has the given ids in OpenAI's list shape."""
    async with demo.session.get(f"{demo.base}/eu-west/v1/models") as answer:
        listed = await answer.json()

    assert listed["object"] == "list"
    assert [row["id"] for row in listed["data"]] == MODELS
    assert {row["object"] for row in listed["data"]} == {"model"}


async def test_other_paths(demo):
    """What the demo does not serve is a 404 that says what it does."""
    async with demo.session.post(f"{demo.base}/eu-west/v1/embeddings") as answer:
        error = (await answer.json())["error"]

    assert answer.status == 404
    assert "chat/completions" in error["message"]


async def test_pieces_come_one_by_one():
    """A piece reaches the caller while the next one is still to come."""
    async with (
        running_demo(MODELS, pace_s=3600) as base,
        aiohttp.ClientSession() as session,
        asyncio.timeout(10),
        Demo(base, session).post({**COUNT, "stream": True}) as answer,
    ):
        got = b""
        while b'"1,"' not in got:
            got += await answer.content.readany()

    assert b'"2,"' not in got


async def test_stops_with_a_stream_open():
    """Leaving the context ends the server even while somebody reads a slow stream."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(10):
        async with running_demo(MODELS, pace_s=3600) as base:
            url = f"{base}/eu-west/v1/chat/completions"
            answer = await session.post(url, json={**COUNT, "stream": True})
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
