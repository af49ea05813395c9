"""The hard constraints of routing, one function each, and RULES, the list of them.

A rule looks at the question (the request and the key) and gives a check for candidates, or None where it
has nothing to say: most requests have one or two constraints, and the others must cost them nothing. A
check gives the reason why a candidate cannot serve, or None. To add a rule: write the function, add its
line to RULES. The order is from the most specific scope to the least, because the first reason is the one
that the caller is told.
"""

from collections.abc import Callable

import attrs

from lowproxy.core.access import ApiKey
from lowproxy.core.chat import ChatRequest
from lowproxy.core.upstreams import PSEUDO_MODELS, Candidate, region_matches

# A token of English is about four bytes; six leaves room for error, since this rule excludes.
_BYTES_PER_TOKEN = 6


@attrs.frozen(slots=False)
class Question:
    """What a rule may look at: the request and the key. `asked` is the model id being resolved."""

    chat: ChatRequest
    key: ApiKey
    asked: str

    @property
    def is_pseudo(self) -> bool:
        """Whether the gateway itself picks the model."""
        return self.asked in PSEUDO_MODELS


Check = Callable[[Candidate], str | None]
Rule = Callable[[Question], Check | None]


def route_region(question: Question) -> Check | None:
    """The request's pin: `route.region` or the header."""
    return _pinned(question.chat.preferences.region, "the request is pinned to")


def route_provider(question: Question) -> Check | None:
    """`route.provider`."""
    wanted = question.chat.preferences.provider
    if wanted is None:
        return None
    return lambda c: (
        None if c.endpoint.provider.id == wanted else f"provider is not {wanted}"
    )


def provider_only(question: Question) -> Check | None:
    """`provider.only`."""
    only = question.chat.preferences.only
    if not only:
        return None
    return lambda c: None if c.endpoint.provider.id in only else "not in provider.only"


def provider_ignore(question: Question) -> Check | None:
    """`provider.ignore`."""
    ignored = question.chat.preferences.ignore
    if not ignored:
        return None
    return lambda c: "in provider.ignore" if c.endpoint.provider.id in ignored else None


def max_price(question: Question) -> Check | None:
    """`provider.max_price`; an unknown price is not known to be low enough."""
    wishes = question.chat.preferences
    prompt, completion = wishes.max_price_prompt, wishes.max_price_completion
    if prompt is None and completion is None:
        return None

    def check(candidate: Candidate) -> str | None:
        model = candidate.model
        for limit, price in (
            (prompt, model.price_prompt),
            (completion, model.price_completion),
        ):
            if limit is not None and (price is None or price > limit):
                return f"price {'unknown' if price is None else price} is over {limit}"
        return None

    return check


def key_region(question: Question) -> Check | None:
    """The key's pin."""
    return _pinned(question.key.region, "the key is pinned to")


def key_models(question: Question) -> Check | None:
    """The key's model list, for what a pseudo-model picks."""
    key = question.key
    if not key.models:
        return None
    return lambda c: (
        None if key.allows_model(c.model.id) else "the key does not allow this model"
    )


def key_providers(question: Question) -> Check | None:
    """The key's provider list."""
    allowed = question.key.providers
    if not allowed:
        return None
    return lambda c: (
        None
        if c.endpoint.provider.id in allowed
        else "the key does not allow this provider"
    )


def capabilities(question: Question) -> Check | None:
    """A pseudo-model never picks a model that is not known to do the job; a named one is the caller's choice."""
    needs = question.chat.needs
    if not needs or not (
        question.is_pseudo or question.chat.preferences.require_parameters
    ):
        return None

    def check(candidate: Candidate) -> str | None:
        missing = needs - candidate.model.capabilities
        return f"not known for {', '.join(sorted(missing))}" if missing else None

    return check


def context(question: Question) -> Check | None:
    """A prompt that cannot fit is not sent by a pseudo-model's choice."""
    if not question.is_pseudo:
        return None
    least = question.chat.prompt_bytes // _BYTES_PER_TOKEN

    def check(candidate: Candidate) -> str | None:
        length = candidate.model.context_length
        if length is None or least <= length:
            return None
        return f"a prompt of at least {least} tokens is over its {length}"

    return check


RULES: dict[str, Rule] = {
    "route.region": route_region,
    "route.provider": route_provider,
    "provider.only": provider_only,
    "provider.ignore": provider_ignore,
    "provider.max_price": max_price,
    "key.region": key_region,
    "key.models": key_models,
    "key.providers": key_providers,
    "capabilities": capabilities,
    "context": context,
}


def _pinned(pin: str | None, who: str) -> Check | None:
    if pin is None:
        return None
    reason = f"{who} {pin}"
    return lambda c: None if region_matches(c.endpoint.region, pin) else reason
