"""Token counts as upstreams report them, in one shape."""

from typing import Any, NamedTuple, Self

_new = tuple.__new__


# A tuple: one is read per answer, and compared.
class Usage(NamedTuple):
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
        prompt, completion = get("prompt_tokens"), get("completion_tokens")
        if type(prompt) is not int or prompt < 0:
            prompt = 0
        if type(completion) is not int or completion < 0:
            completion = 0
        if not prompt and not completion:
            return None  # some send zeros throughout; no request has neither
        read, thought = get("prompt_tokens_details"), get("completion_tokens_details")
        cached = reasoning = 0
        # None and zero are what is nearly always told of these.
        if isinstance(read, dict) and (told := read.get("cached_tokens")):
            cached = min(_count(told), prompt)
        if not cached and "prompt_cache_hit_tokens" in obj:
            cached = min(_count(obj["prompt_cache_hit_tokens"]), prompt)
        if isinstance(thought, dict) and (told := thought.get("reasoning_tokens")):
            reasoning = min(_count(told), completion)
        # Not by the class's own __new__, which is a function more.
        return _new(cls, (prompt, completion, cached, reasoning, False))

    def as_openai(self) -> dict[str, int]:
        """The `usage` object of a chunk that we make ourselves."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.total,
        }


def _count(value: Any) -> int:
    return value if type(value) is int and value >= 0 else 0
