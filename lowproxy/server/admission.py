"""A key with limits: the most that a request may take is reserved before anybody is asked, and settled after.

An estimate is an upper bound, or a budget could be passed. A token has a byte at least, and what surrounds a
message in the body has more bytes than its template has tokens; an answer has `max_tokens` at most, else what
the model can give. Pictures and sound may stand behind a short URL, so they count as a full context.
"""

import datetime
from math import floor

import attrs

from lowproxy.core.access import ApiKey
from lowproxy.core.chat import ChatRequest
from lowproxy.core.cost import money
from lowproxy.core.eco import EcoImpact
from lowproxy.core.limits import Actual, Estimate, Limits, Refusal, Reservation, Took
from lowproxy.core.routing import RouteDecision
from lowproxy.core.upstreams import Candidate, Model
from lowproxy.core.usage import Usage
from lowproxy.errors import (
    BadRequestError,
    BudgetSpentError,
    LowproxyError,
    PermissionDeniedError,
    RateLimitedError,
)
from lowproxy.server.exchange import Exchange
from lowproxy.server.parts import Parts
from lowproxy.store.limiter import MemoryLimiter

UG_PER_G = 1_000_000
# Estimates remembered with one decision: more sizes than callers send within a second.
MOST_BOUNDS = 64
_RATES = {
    "requests_per_minute": "of them are",
    "tokens_per_minute": "of them are",
}
# After these an upstream may have answered, and charged for, what nobody has seen.
_UNSEEN = frozenset({"upstream_timeout", "upstream_cut", "internal_error"})


async def admit(
    parts: Parts, exchange: Exchange, chat: ChatRequest, decision: RouteDecision
) -> RouteDecision:
    """As `admit_here`, where the count is shared with other processes."""
    key = exchange.key
    assert key is not None, "the door lets nobody in without a key"
    estimate, decision = _bounded(parts, key, chat, decision)
    id, now = exchange.generation_id, exchange.created_at
    taken = await parts.limiter.reserve(key, id, estimate, now)
    exchange.rates = taken.rates
    if isinstance(taken, Refusal):
        raise _refused(key, taken, parts.config.billing.currency)
    exchange.reservation = taken
    return decision


def admit_here(
    parts: Parts,
    limiter: MemoryLimiter,
    exchange: Exchange,
    chat: ChatRequest,
    decision: RouteDecision,
) -> RouteDecision:
    """Reserves for a request of a key with limits; the decision, less candidates that cannot be counted.

    Raises RateLimitedError, BudgetSpentError, or what else keeps the request from being counted.
    """
    key = exchange.key
    assert key is not None, "the door lets nobody in without a key"
    estimate, decision = _bounded(parts, key, chat, decision)
    taken = limiter.take(key, exchange.generation_id, estimate, exchange.created_at)
    exchange.rates = taken.rates
    if isinstance(taken, Refusal):
        raise _refused(key, taken, parts.config.billing.currency)
    exchange.reservation = taken
    return decision


def settle(parts: Parts, exchange: Exchange, reservation: Reservation) -> None:
    """Puts what the request took in place of what was reserved for it. Called with the books, always."""
    exchange.reservation = None
    usage, impact = exchange.usage, exchange.impact
    if usage is None:
        actual: Took | None = _unseen(exchange, reservation)
    else:
        # `_micrograms`, and a plain tuple for an `Actual`: each request of a key with limits comes here.
        grams = 0 if impact is None else floor(impact.carbon_g * UG_PER_G) + 1
        tokens = usage.prompt + usage.completion
        actual = (tokens, exchange.cost_nano or 0, grams)
    parts.limiter.settle(reservation, actual)


def cost_fields(exchange: Exchange) -> str:
    """What the answer cost, and what is left of the key's budget then: lines in the head of a unary answer."""
    cost = exchange.cost
    if cost is None:
        return ""
    text = f"X-LowRouter-Cost: {cost}\r\n"
    held, cost_nano = exchange.reservation, exchange.cost_nano
    if held is not None and held.balance_nano is not None and cost_nano is not None:
        text += f"X-Credit-Balance: {money(held.balance_nano - cost_nano)}\r\n"
    return text


def _unseen(exchange: Exchange, reservation: Reservation) -> Actual | None:
    """What counts for a request of which no usage was seen; None: nobody was asked."""
    if not exchange.attempts:
        return None
    if exchange.outcome == "client_closed" or exchange.error in _UNSEEN:
        # Nobody knows what it took: no budget is passed for want of an answer.
        estimate = reservation.estimate
        return Actual(reservation.tokens, estimate.nano, estimate.carbon_ug)
    return Actual(0)


def _micrograms(impact: EcoImpact) -> int:
    """Rounded up: a limit is never passed by what was rounded away."""
    return floor(impact.carbon_g * UG_PER_G) + 1


def _bounded(
    parts: Parts,
    key: ApiKey,
    chat: ChatRequest,
    decision: RouteDecision,
) -> tuple[Estimate, RouteDecision]:
    """The estimate, and the decision less what cannot be counted; remembered with the decision.

    Sizes are rounded up to one of eight steps in each doubling, so that there are few of them.
    """
    limits = key.limits
    assert limits is not None, "a key without limits is not counted"
    size = len(chat.body)
    step = (size | 15).bit_length() - 4
    size = ((size >> step) + 1) << step
    asked = (
        size,
        chat.max_tokens,
        chat.choices,
        chat.has_media,
        chat.stream,
        limits.counts,
    )
    bounds = decision.bounds
    known = bounds.get(asked)
    if known is not None:
        return known[0], known[1] or decision
    estimate, countable = _estimate(parts, key, limits, chat, size, decision.candidates)
    less = None  # never the decision itself: it would live until the collector finds it
    if len(countable) < len(decision.candidates):
        less = attrs.evolve(decision, candidates=countable)
    if len(bounds) >= MOST_BOUNDS:
        bounds.clear()
    bounds[asked] = estimate, less
    return estimate, less or decision


def _estimate(
    parts: Parts,
    key: ApiKey,
    limits: Limits,
    chat: ChatRequest,
    size: int,
    candidates: tuple[Candidate, ...],
) -> tuple[Estimate, tuple[Candidate, ...]]:
    """The most that any of the candidates may take, and those of them for which it is known."""
    money, carbon = limits.money, limits.daily_carbon_ug is not None
    if not money and not carbon:
        prompt, completion = _tokens(chat, size, candidates[0].model)
        asked = (prompt or size) + (completion or 0)
        return Estimate(asked, 0, 0, chat.stream), candidates
    tokens = nano = grams = 0
    countable, why = [], LowproxyError("no candidates")
    for candidate in candidates:
        model = candidate.model
        prompt, completion = _tokens(chat, size, model)
        if prompt is None or completion is None:
            why = _boundless(key, model, prompt)
            continue
        if money:
            if model.prices is None:
                why = _uncounted(key, model, "price", "a budget")
                continue
            nano = max(nano, model.prices.most_nano(prompt, completion))
        if carbon:
            impact = parts.scales.weigh(candidate, Usage(prompt, completion))
            if impact is None:
                why = _uncounted(key, model, "size", "a carbon limit")
                continue
            grams = max(grams, _micrograms(impact))
        tokens = max(tokens, prompt + completion)
        countable.append(candidate)
    if not countable:
        raise why
    return Estimate(tokens, nano, grams, chat.stream), tuple(countable)


def _tokens(
    chat: ChatRequest, size: int, model: Model
) -> tuple[int | None, int | None]:
    """The most tokens of prompt and completion; None where nothing bounds them."""
    context = model.context_length
    prompt: int | None = size
    if chat.has_media:
        prompt = context
    elif context is not None:
        prompt = min(size, context)
    each = model.max_output_tokens or context
    asked = chat.max_tokens
    if asked is not None and asked > 0:
        each = asked if each is None else min(asked, each)
    return prompt, None if each is None else each * chat.choices


def _boundless(key: ApiKey, model: Model, prompt: int | None) -> LowproxyError:
    if prompt is None:
        return PermissionDeniedError(
            f"the key {key.name!r} has a budget, and nothing bounds the tokens of pictures or sound for "
            f"{model.id!r}, whose context_length is not configured",
            param="messages",
        )
    return BadRequestError(
        f"the key {key.name!r} has a budget, and nothing bounds the answer of {model.id!r}: send max_tokens",
        param="max_tokens",
    )


def _uncounted(key: ApiKey, model: Model, what: str, limit: str) -> LowproxyError:
    return PermissionDeniedError(
        f"the key {key.name!r} has {limit}, and the {what} of {model.id!r} is not known here",
        param="model",
    )


def _refused(key: ApiKey, refusal: Refusal, currency: str) -> LowproxyError:
    """The refusal in the caller's words: 429 for a rate, 402 for what is spent."""
    option, limit = refusal.option, refusal.limit
    if option in _RATES:
        text = f"the key {key.name!r} has {option} = {limit}; {refusal.spent} {_RATES[option]} used"
        if option == "tokens_per_minute":
            text += f", and this request may take {refusal.asked}"
        return RateLimitedError(text, retry_after_s=refusal.retry_after_s)
    if option == "max_streams":
        return RateLimitedError(
            f"the key {key.name!r} has max_streams = {limit}, and as many are open",
            retry_after_s=refusal.retry_after_s,
        )
    if option == "daily_carbon_g":
        spent, held, asked, most = (
            f"{value / UG_PER_G:g} g"
            for value in (refusal.spent, refusal.reserved, refusal.asked, limit)
        )
    else:
        spent, held, asked, most = (
            f"{money(value)} {currency}"
            for value in (refusal.spent, refusal.reserved, refusal.asked, limit)
        )
    resets = datetime.datetime.fromtimestamp(refusal.resets_at, datetime.UTC)
    failure = BudgetSpentError(
        f"the key {key.name!r} has {option} = {most}: {spent} spent, {held} reserved by requests under way, "
        f"and this one may take up to {asked}; it resets at {resets:%Y-%m-%dT%H:%M:%SZ}",
        retry_after_s=refusal.retry_after_s,
    )
    failure.waits = refusal.waits and refusal.reserved > 0
    return failure
