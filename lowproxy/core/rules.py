"""The hard constraints of routing, one function each, and RULES, the list of them.

A rule looks at one candidate and gives the reason why it cannot serve, or None. To add one: write the
function, add its line to RULES. The order is from the most specific scope to the least, because the first
reason is the one that the caller is told.
"""

from collections.abc import Callable

import attrs

from lowproxy.core.access import ApiKey
from lowproxy.core.chat import ChatRequest
from lowproxy.core.upstreams import PSEUDO_MODELS, Candidate, region_matches

# A token of English is about four bytes; six leaves room for error, since this rule excludes.
_BYTES_PER_TOKEN = 6


@attrs.frozen
class Question:
    """What a rule may look at: the request and the key. `asked` is the model id being resolved."""

    chat: ChatRequest
    key: ApiKey
    asked: str

    @property
    def is_pseudo(self) -> bool:
        """Whether the gateway itself picks the model."""
        return self.asked in PSEUDO_MODELS


Rule = Callable[[Question, Candidate], str | None]


def route_region(question: Question, candidate: Candidate) -> str | None:
    """The request's pin: `route.region` or the header."""
    pin = question.chat.preferences.region
    region = candidate.endpoint.region
    return (
        None
        if pin is None or region_matches(region, pin)
        else f"region {region} is not {pin}"
    )


def route_provider(question: Question, candidate: Candidate) -> str | None:
    """`route.provider`."""
    wanted = question.chat.preferences.provider
    return (
        None
        if wanted in (None, candidate.endpoint.provider.id)
        else f"provider is not {wanted}"
    )


def provider_only(question: Question, candidate: Candidate) -> str | None:
    """`provider.only`."""
    only = question.chat.preferences.only
    return (
        None
        if not only or candidate.endpoint.provider.id in only
        else "not in provider.only"
    )


def provider_ignore(question: Question, candidate: Candidate) -> str | None:
    """`provider.ignore`."""
    return (
        "in provider.ignore"
        if candidate.endpoint.provider.id in question.chat.preferences.ignore
        else None
    )


def max_price(question: Question, candidate: Candidate) -> str | None:
    """`provider.max_price`; an unknown price is not known to be low enough."""
    wishes, model = question.chat.preferences, candidate.model
    for limit, price in (
        (wishes.max_price_prompt, model.price_prompt),
        (wishes.max_price_completion, model.price_completion),
    ):
        if limit is not None and (price is None or price > limit):
            return f"price {price if price is not None else 'unknown'} is over {limit}"
    return None


def key_region(question: Question, candidate: Candidate) -> str | None:
    """The key's pin."""
    pin = question.key.region
    return (
        None
        if pin is None or region_matches(candidate.endpoint.region, pin)
        else f"the key is pinned to {pin}"
    )


def key_models(question: Question, candidate: Candidate) -> str | None:
    """The key's model list, for what a pseudo-model picks."""
    return (
        None
        if question.key.allows_model(candidate.model.id)
        else "the key does not allow this model"
    )


def key_providers(question: Question, candidate: Candidate) -> str | None:
    """The key's provider list."""
    allowed = question.key.allows_provider(candidate.endpoint.provider.id)
    return None if allowed else "the key does not allow this provider"


def capabilities(question: Question, candidate: Candidate) -> str | None:
    """A pseudo-model never picks a model that is not known to do the job; a named model is the caller's choice."""
    if not question.is_pseudo and not question.chat.preferences.require_parameters:
        return None
    missing = question.chat.needs - candidate.model.capabilities
    return f"not known for {', '.join(sorted(missing))}" if missing else None


def context(question: Question, candidate: Candidate) -> str | None:
    """A prompt that cannot fit is not sent by a pseudo-model's choice."""
    length = candidate.model.context_length
    if not question.is_pseudo or length is None:
        return None
    least = question.chat.prompt_bytes // _BYTES_PER_TOKEN
    return (
        f"a prompt of at least {least} tokens is over its {length}"
        if least > length
        else None
    )


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
