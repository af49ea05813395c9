"""The embedded demo upstream: a small OpenAI-compatible server on a loopback port.

It lets the first command on a fresh machine answer a real SDK with no key and no
network. The gateway reaches it over HTTP like any other upstream. It is not a model and
says so; the same request always gets the same answer, because nothing here reads a clock
or rolls dice. Which models and regions it stands for is decided elsewhere.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import zip_longest
from typing import Any, Self

import attrs
import orjson
from aiohttp import web

DISCLAIMER = "This is LowRouter's built-in demo, not a language model."
MAX_COUNT = 20  # "count to 20" takes a second at the default pace; more would bore
MAX_CHOICES = 16  # `n`; one request must not make this process write for minutes
# The gateway has bounded the body already; this bounds other local processes.
MAX_BODY_BYTES = 64 * 1024 * 1024
FINGERPRINT = "fp_lowrouter_demo"

_COUNT = re.compile(
    r"\bcount\s+(?:up\s+)?(?:from\s+1\s+)?to\s+(\d{1,2})\b", re.IGNORECASE
)
_PIECE = re.compile(r"\s*\S+")
_HINTS = (
    "Start the gateway with OPENAI_API_KEY set and the same call reaches a real model.",
    "All around these words is real: the routing, the stream, the eco line at the end.",
    "Ask it to count to 5 and it will; for anything cleverer, configure a provider.",
)


class _Refused(Exception):
    """The request cannot be answered; carries the status and OpenAI's error object."""

    def __init__(
        self, status: int, message: str, param: str | None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {
            "message": message,
            "type": "invalid_request_error",
            "param": param,
            "code": code,
        }


@attrs.frozen
class _Ask:
    """What the demo reads of a chat request."""

    model: str
    prompt: str  # all text of all messages
    question: str  # text of the last message
    seed: bytes  # digest of model and messages: stream or not, the same answer
    choices: int
    max_tokens: int | None
    stream: bool
    include_usage: bool

    @classmethod
    def parse(cls, body: bytes, models: Sequence[str]) -> Self:
        """Reads a request body; raises _Refused where OpenAI would refuse it."""
        try:
            # Not orjson: it refuses lone surrogates and 1e400, which callers do send.
            obj = json.loads(body)
        except (ValueError, RecursionError):
            raise _Refused(400, "the body of the request is not JSON", None) from None
        if not isinstance(obj, dict):
            raise _Refused(400, "the body of the request is not a JSON object", None)
        model = _model(obj, models)
        messages = obj.get("messages")
        if not isinstance(messages, list) or not messages:
            raise _Refused(400, "'messages' must be a non-empty array", "messages")
        texts = [_text(message) for message in messages]
        options = obj.get("stream_options")
        return cls(
            model=model,
            prompt="\n".join(texts),
            question=texts[-1],
            seed=hashlib.sha256(json.dumps([model, messages]).encode()).digest(),
            choices=_whole(obj, "n", MAX_CHOICES) or 1,
            max_tokens=_whole(obj, "max_completion_tokens")
            or _whole(obj, "max_tokens"),
            stream=_flag(obj, "stream"),
            include_usage=isinstance(options, dict) and _flag(options, "include_usage"),
        )


@attrs.frozen
class _Answer:
    """One choice: its pieces, which are what the demo counts as tokens."""

    pieces: tuple[str, ...]
    finish_reason: str


def _model(obj: Mapping[str, Any], models: Sequence[str]) -> str:
    model = obj.get("model")
    if not isinstance(model, str):
        raise _Refused(400, "you must provide a 'model' parameter", "model")
    if model not in models:
        message = f"The model `{model}` does not exist; GET /models lists those that do"
        raise _Refused(404, message, "model", "model_not_found")
    return model


def _whole(obj: Mapping[str, Any], key: str, most: int | None = None) -> int | None:
    value = obj.get(key)
    if value is None:
        return None
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < 1 or (most is not None and value > most):
        limit = "" if most is None else f" of at most {most}"
        raise _Refused(400, f"'{key}' must be a positive integer{limit}", key)
    return int(value)


def _flag(obj: Mapping[str, Any], key: str) -> bool:
    value = obj.get(key)
    if value is not None and not isinstance(value, bool):
        raise _Refused(400, f"'{key}' must be a boolean", key)
    return bool(value)


def _text(message: object) -> str:
    """The text of one message, whose content is a string or a list of parts."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return " ".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _answers(ask: _Ask, region: str) -> list[_Answer]:
    return [_answer(ask, region, index) for index in range(ask.choices)]


def _answer(ask: _Ask, region: str, index: int) -> _Answer:
    pieces = tuple(_PIECE.findall(_say(ask, region, index)))
    if ask.max_tokens is not None and ask.max_tokens < len(pieces):
        return _Answer(pieces[: ask.max_tokens], "length")
    return _Answer(pieces, "stop")


def _say(ask: _Ask, region: str, index: int) -> str:
    count = _COUNT.search(ask.question)
    if count and 1 <= int(count[1]) <= MAX_COUNT:
        numbers = ", ".join(str(number) for number in range(1, int(count[1]) + 1))
        return f"{numbers}. ({DISCLAIMER})"
    hint = _HINTS[(ask.seed[0] + index) % len(_HINTS)]
    return f"{DISCLAIMER} It stands in for {ask.model} in {region}. {hint}"


def _usage(ask: _Ask, answers: Sequence[_Answer]) -> dict[str, Any]:
    prompt = len(ask.prompt.split())
    completion = sum(len(answer.pieces) for answer in answers)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _head(ask: _Ask, kind: str) -> dict[str, Any]:
    """The fields that every object of one answer shares."""
    return {
        "id": f"chatcmpl-demo{ask.seed.hex()[:24]}",
        "object": kind,
        # A time that has been, so that callers can show it; not the time it is.
        "created": 1_700_000_000 + int.from_bytes(ask.seed[:3], "big"),
        "model": ask.model,
    }


def _completion(ask: _Ask, answers: Sequence[_Answer]) -> dict[str, Any]:
    return {
        **_head(ask, "chat.completion"),
        "choices": [
            {
                "index": index,
                "message": {
                    "role": "assistant",
                    "content": "".join(answer.pieces),
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": answer.finish_reason,
            }
            for index, answer in enumerate(answers)
        ],
        "usage": _usage(ask, answers),
        "system_fingerprint": FINGERPRINT,
    }


def _chunks(ask: _Ask, answers: Sequence[_Answer]) -> Iterator[dict[str, Any]]:
    """The chunks of a stream in order; several choices take turns."""
    usage_field = {"usage": None} if ask.include_usage else {}
    head = {
        **_head(ask, "chat.completion.chunk"),
        "system_fingerprint": FINGERPRINT,
    }

    def chunk(
        index: int, delta: dict[str, Any], finish: str | None = None
    ) -> dict[str, Any]:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": None,
            "finish_reason": finish,
        }
        return {**head, "choices": [choice], **usage_field}

    for index in range(len(answers)):
        yield chunk(index, {"role": "assistant", "content": "", "refusal": None})
    for turn in zip_longest(*(answer.pieces for answer in answers)):
        for index, piece in enumerate(turn):
            if piece is not None:
                yield chunk(index, {"content": piece})
    for index, answer in enumerate(answers):
        yield chunk(index, {}, answer.finish_reason)
    if ask.include_usage:
        yield {**head, "choices": [], "usage": _usage(ask, answers)}


def _json(obj: object, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=orjson.dumps(obj), content_type="application/json"
    )


def _application(models: Sequence[str], pace_s: float) -> web.Application:
    async def list_models(request: web.Request) -> web.Response:
        rows = [
            {"id": model, "object": "model", "created": 0, "owned_by": "lowrouter-demo"}
            for model in models
        ]
        return _json({"object": "list", "data": rows})

    async def complete(request: web.Request) -> web.StreamResponse:
        try:
            ask = _Ask.parse(await request.read(), models)
        except _Refused as refused:
            return _json({"error": refused.error}, refused.status)
        answers = _answers(ask, request.match_info["region"])
        if ask.stream:
            return await _stream(request, _chunks(ask, answers), pace_s)
        return _json(_completion(ask, answers))

    async def nothing_here(request: web.Request) -> web.Response:
        message = "the demo serves chat/completions and models only"
        return _json({"error": _Refused(404, message, None, "unknown_path").error}, 404)

    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_get("/{region}/v1/models", list_models)
    app.router.add_post("/{region}/v1/chat/completions", complete)
    app.router.add_route("*", "/{path:.*}", nothing_here)
    return app


async def _stream(
    request: web.Request, chunks: Iterator[dict[str, Any]], pace_s: float
) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    )
    await response.prepare(request)
    for chunk in chunks:
        await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")
        spoken = any(choice["delta"].get("content") for choice in chunk["choices"])
        await asyncio.sleep(pace_s if spoken else 0)
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


@asynccontextmanager
async def running_demo(
    models: Sequence[str], *, pace_s: float = 0.03
) -> AsyncIterator[str]:
    """Runs the demo on a free port of 127.0.0.1; yields its base URL.

    It answers for the ids in `models` at `{base}/{region}/v1/chat/completions` and
    `{base}/{region}/v1/models`, whatever the region is called, and takes `pace_s`
    seconds per piece of a stream.
    """
    runner = web.AppRunner(
        _application(models, pace_s),
        # Without it a caller who leaves would keep a stream running to its end.
        handler_cancellation=True,
        access_log=None,
        # Whoever reads a stream is in this process and has gone by now.
        shutdown_timeout=1,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
