"""What OpenAI-compatible upstreams say, in their shapes: chunks, answers, events."""

import json
from collections.abc import Mapping
from typing import Any


def openai_chunk(
    content: str | None = None,
    *,
    delta: Mapping[str, Any] | None = None,
    finish_reason: str | None = None,
    index: int = 0,
    model: str = "upstream-small",
    **fields: Any,
) -> dict[str, Any]:
    """One chunk of a stream in OpenAI's shape; `fields` are added at the top level."""
    if delta is None:
        delta = {} if content is None else {"content": content}
    choice = {
        "index": index,
        "delta": dict(delta),
        "logprobs": None,
        "finish_reason": finish_reason,
    }
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
    return {**head, "model": model, "choices": [choice], **fields}


def usage_chunk(
    prompt: int = 9, completion: int = 3, *, model: str = "upstream-small"
) -> dict[str, Any]:
    """The chunk with empty `choices` that carries the token counts."""
    return openai_chunk(model=model, choices=[], usage=usage(prompt, completion))


def usage(prompt: int = 9, completion: int = 3) -> dict[str, int]:
    """OpenAI's `usage` object."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def openai_completion(
    content: str = "Hello there friend", *, model: str = "upstream-small", **fields: Any
) -> dict[str, Any]:
    """A unary answer in OpenAI's shape; `fields` are added at the top level."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": usage(),
        **fields,
    }


def sse(*objects: Mapping[str, Any] | bytes, done: bool = True) -> bytes:
    """The objects as one event each, bytes as they are, then `[DONE]`."""
    events = [obj if isinstance(obj, bytes) else _event(obj) for obj in objects]
    return b"".join(events) + (b"data: [DONE]\n\n" if done else b"")


def _event(obj: Mapping[str, Any]) -> bytes:
    text = json.dumps(obj, separators=(",", ":"), ensure_ascii=False)
    return b"data: " + text.encode() + b"\n\n"


def default_stream(model: str = "upstream-small") -> list[bytes]:
    """The events of an ordinary short stream with usage, `[DONE]` included."""
    return [
        sse(openai_chunk(delta={"role": "assistant", "content": ""}), done=False),
        *[
            sse(openai_chunk(word), done=False)
            for word in ("Hello", " there", " friend")
        ],
        sse(openai_chunk(finish_reason="stop"), done=False),
        sse(usage_chunk(), done=True),
    ]
