"""How good a candidate is for one request: a weighted geometric mean of grams, seconds and money.

    mean  = grams^a * (seconds + 0.1)^b * price^c       a + b + c = 1, the least is the best
    score = mean^(1 / max(a, b, c))

so that no order changes when grams become kilograms or dollars cents, and one percent of a score is one
percent of the term that weighs most. Exponents are `core.policy.Weights`. What is unknown never helps: on that
term a candidate counts as the worst of those it is compared with, and where the term weighs most it sorts
behind all who know theirs.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import isnan
from operator import attrgetter
from typing import Any, NamedTuple

from lowproxy.core.chat import ChatRequest
from lowproxy.core.expected import Line, line
from lowproxy.core.policy import Policy, Scale, Weights
from lowproxy.core.upstreams import PSEUDO_MODELS, Candidate

# Within one percent two scores are as good as each other.
TIE = 0.01
# Added to each wait, as `expected.LEAST_G` to the grams: a tenth of a second is not noticed.
LEAST_S = 0.1
# Of English text, about.
BYTES_PER_TOKEN = 4
_UP = BYTES_PER_TOKEN - 1  # what is begun counts as a whole one
# Beyond this no model answers, and floats stay floats.
_MOST_TOKENS = 100_000_000
# Lengths of answers are rounded, so that there are few.
_MOST_LINES = 128
_USUAL = attrgetter("usual")


class Terms(NamedTuple):
    """What one candidate is expected to take for one request; None is unknown."""

    carbon_g: float | None
    latency_s: float | None
    price: float | None
    energy_wh: float | None = None


# Tokens that are expected of prompt and answer; None: as many as the model usually writes.
Size = tuple[int, int | None]


def exact_size(chat: ChatRequest) -> Size:
    """From the prompt's bytes and the request's own limit."""
    limit = chat.max_tokens
    if limit is not None:
        limit = min(limit, _MOST_TOKENS) if limit > 0 else None
    return -(-chat.prompt_bytes // BYTES_PER_TOKEN), limit


def rounded(size: Size) -> Size:
    """Down to three binary digits, at most a fifth less: requests of about one size share a decision."""
    prompt, answer = size
    if (drop := prompt.bit_length() - 3) > 0:
        prompt = prompt >> drop << drop
    if answer is not None and (drop := answer.bit_length() - 3) > 0:
        answer = answer >> drop << drop
    return prompt, answer


def rough_size(chat: ChatRequest) -> Size:
    """`rounded(exact_size(chat))` in one go, for every request: limits recur, prompts do not."""
    prompt, limit = (chat.prompt_bytes + _UP) // BYTES_PER_TOKEN, chat.max_tokens
    prompt &= _LEADING[prompt.bit_length()]
    return prompt, None if limit is None else _rough_limit(limit)


# Masks of the three leading binary digits, by the length of a number.
_LEADING = [-1 << max(0, length - 3) for length in range(65)]


@lru_cache(1024)
def _rough_limit(limit: int) -> int | None:
    if limit <= 0:
        return None
    return rounded((0, min(limit, _MOST_TOKENS)))[1]


def scale_of(
    asked: str, sort: str | None, prefers_low_carbon: bool, policy: Policy
) -> Scale:
    """The scale of a request: by the pseudo-model, else by what the request or the key prefers."""
    if asked == PSEUDO_MODELS[1]:
        scale = policy.cheap
    else:
        scale = policy.low_carbon if prefers_low_carbon else policy.standard
    return scale._replace(leading=sort, sort=sort) if sort else scale


def scores(
    candidates: Sequence[Candidate],
    size: Size,
    weights: Weights,
    latencies: Mapping[str, float],
    carbon_price: float = 0.0,
) -> list[float]:
    """One score per candidate, the least the best.

    `latencies` are medians to the first byte in seconds, by candidate id; `carbon_price` is money per gram
    and goes into the price.
    """
    prompt, answer = size
    if answer is None:
        lines = list(map(_USUAL, candidates))
    else:
        lines = [c.lines.get(answer) or _line(c, answer) for c in candidates]
    if weights.carbon == 1.0 and not carbon_price:
        told = _at_once(candidates, lines, float(prompt), weights, latencies)
        if told is not None:
            return told
    found = _products(lines, float(prompt), weights, carbon_price)
    if isnan(sum(found)):  # somebody has a gap
        found = _products(_filled(lines), float(prompt), weights, carbon_price)
    slow = weights.latency
    if not (slow and latencies):
        return found
    get: Any = latencies.get
    try:
        return [
            each * (get(c.id) + LEAST_S) ** slow
            for each, c in zip(found, candidates, strict=True)
        ]
    except TypeError:  # somebody was not measured
        waits = waits_s(candidates, latencies) or [1.0] * len(found)
    return [
        each * (wait + LEAST_S) ** slow for each, wait in zip(found, waits, strict=True)
    ]


def _line(candidate: Candidate, answer: int) -> Line:
    """The candidate's lines for an answer of that length, kept for the next request like this."""
    kept = candidate.lines
    if len(kept) >= _MOST_LINES:
        kept.clear()
    found = kept[answer] = line(candidate.ranked, candidate.prices, answer)
    return found


def _at_once(
    candidates: Sequence[Candidate],
    lines: Sequence[Line],
    prompt: float,
    weights: Weights,
    latencies: Mapping[str, float],
) -> list[float] | None:
    """The usual case in one pass, with one power for each: carbon weighs most, a wait as much as money.

    None where that is not so, or something is not known of somebody.
    """
    _, slow, price = weights
    if not latencies:
        found = [
            (g + gs * prompt) * (m + ms * prompt) ** price for g, gs, m, ms in lines
        ]
        return None if isnan(sum(found)) else found
    if slow != price:
        return None
    get: Any = latencies.get
    try:
        found = [
            (g + gs * prompt) * ((m + ms * prompt) * (get(c.id) + LEAST_S)) ** slow
            for c, (g, gs, m, ms) in zip(candidates, lines, strict=True)
        ]
    except TypeError:  # somebody was not measured
        return None
    return None if isnan(sum(found)) else found


def _products(
    lines: Sequence[Line], prompt: float, weights: Weights, carbon_price: float
) -> list[float]:
    carbon, _, price = weights
    if carbon_price:
        return [
            (g + gs * prompt) ** carbon
            * (m + ms * prompt + carbon_price * (g + gs * prompt)) ** price
            for g, gs, m, ms in lines
        ]
    # To the power of 1 is left out: a power takes as long as the rest.
    if carbon == 1.0:
        return [
            (g + gs * prompt) * (m + ms * prompt) ** price for g, gs, m, ms in lines
        ]
    if price == 1.0:
        return [
            (g + gs * prompt) ** carbon * (m + ms * prompt) for g, gs, m, ms in lines
        ]
    return [
        (g + gs * prompt) ** carbon * (m + ms * prompt) ** price
        for g, gs, m, ms in lines
    ]


def waits_s(
    candidates: Sequence[Candidate], latencies: Mapping[str, float]
) -> list[float]:
    """Seconds to the first byte as measured; who was not measured counts as the slowest who was.

    Empty where nobody was.
    """
    known = [latencies.get(c.id, -1.0) for c in candidates]
    if min(known) >= 0:
        return known
    worst = max(known)
    return [worst if each < 0 else each for each in known] if worst >= 0 else []


def terms_of(candidate: Candidate, size: Size, latencies: Mapping[str, float]) -> Terms:
    """What the candidate is expected to take: for the trace."""
    prompt, answer = size
    if answer is None:
        answer = candidate.model.answer_tokens
    grams, prices = candidate.grams, candidate.prices
    carbon_g = None if grams is None else grams.of(prompt, answer)
    return Terms(
        carbon_g,
        latencies.get(candidate.id),
        None if prices is None else prices.of(prompt, answer),
        carbon_g / grams.per_wh if carbon_g and grams and grams.per_wh else None,
    )


def ranked_g(candidate: Candidate, size: Size) -> float | None:
    """The grams that its score is made from, where those are by another signal than the answer's: for the trace."""
    prompt, answer = size
    if candidate.ranked is None:
        return None
    return candidate.ranked.of(
        prompt, candidate.model.answer_tokens if answer is None else answer
    )


def _filled(lines: Sequence[Line]) -> list[Line]:
    """Unknown grams and prices as the most of those that are known; where nobody knows, the same for all."""
    weighed = [each for each in lines if not isnan(each[0])]
    priced = [each for each in lines if not isnan(each[2])]
    grams = max((each[0] for each in weighed), default=1.0)
    grams_slope = max((each[1] for each in weighed), default=0.0)
    price = max((each[2] for each in priced), default=1.0)
    price_slope = max((each[3] for each in priced), default=0.0)
    return [
        (
            *((grams, grams_slope) if isnan(g) else (g, gs)),
            *((price, price_slope) if isnan(m) else (m, ms)),
        )
        for g, gs, m, ms in lines
    ]
