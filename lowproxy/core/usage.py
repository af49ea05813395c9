"""Token counts as upstreams report them, in one shape."""

from typing import Any, Self

import attrs


@attrs.frozen
class Usage:
    """Tokens of one request.

    `prompt` includes `cached`; `completion` includes `reasoning`. `counted` says that the upstream sent
    no usage and the numbers are our own count, which costs an estimate one band of accuracy.
    """

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0
    counted: bool = False

    @property
    def total(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt + self.completion

    @classmethod
    def read(cls, obj: object) -> Self | None:
        """Usage from OpenAI's `usage` object; None where there is none or it was never filled in."""
        if not isinstance(obj, dict):
            return None
        prompt, completion = (
            _count(obj, "prompt_tokens"),
            _count(obj, "completion_tokens"),
        )
        if not prompt and not completion:
            return None  # some send zeros throughout; no request has neither
        details = obj.get("prompt_tokens_details")
        cached = (
            _count(details, "cached_tokens")
            or _count(obj, "prompt_cache_hit_tokens")
            or 0
        )
        reasoning = (
            _count(obj.get("completion_tokens_details"), "reasoning_tokens") or 0
        )
        prompt, completion = prompt or 0, completion or 0
        return cls(prompt, completion, min(cached, prompt), min(reasoning, completion))

    def as_openai(self) -> dict[str, int]:
        """The `usage` object of a chunk that we make ourselves."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.total,
        }


def _count(obj: Any, key: str) -> int | None:
    value = obj.get(key) if isinstance(obj, dict) else None
    return value if type(value) is int and value >= 0 else None
