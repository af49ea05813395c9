"""Token counts as upstreams report them, in one shape."""

from typing import Any, Self

import attrs


# Not slotted: attrs builds such a frozen value three times as quickly.
@attrs.frozen(slots=False)
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
        get = obj.get
        prompt = _count(get("prompt_tokens"))
        completion = _count(get("completion_tokens"))
        if not prompt and not completion:
            return None  # some send zeros throughout; no request has neither
        read, thought = get("prompt_tokens_details"), get("completion_tokens_details")
        cached = _count(read.get("cached_tokens")) if isinstance(read, dict) else 0
        if not cached:
            cached = _count(get("prompt_cache_hit_tokens"))
        reasoning = 0
        if isinstance(thought, dict):
            reasoning = _count(thought.get("reasoning_tokens"))
        return cls(prompt, completion, min(cached, prompt), min(reasoning, completion))

    def as_openai(self) -> dict[str, int]:
        """The `usage` object of a chunk that we make ourselves."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.total,
        }


def _count(value: Any) -> int:
    return value if type(value) is int and value >= 0 else 0
