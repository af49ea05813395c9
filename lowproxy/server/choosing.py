"""Choose a route: the readings of the moment gathered, and one decision made from them."""

import time
from functools import partial

from multidict import istr

from lowproxy.core.affinity import LEAST_PROMPT_BYTES
from lowproxy.core.chat import ChatRequest
from lowproxy.core.preferences import NO_WISHES
from lowproxy.core.routing import RouteDecision, decide
from lowproxy.errors import BadRequestError, LowproxyError
from lowproxy.server.exchange import Exchange
from lowproxy.server.parts import Parts

# As the servers' own look-up has them: a plain name is brought to one case for every request.
REGION = istr("X-LowRouter-Region")
ECO = istr("X-LowRouter-Eco")
TRACE = istr("X-LowRouter-Trace")
_SAID = {"1": True, "true": True, "0": False, "false": False, "": False}


def choose(
    parts: Parts, exchange: Exchange, chat: ChatRequest, carbon_price: float = 0.0
) -> RouteDecision:
    """The decision for a request; notes in the exchange what the answer will have to tell of it.

    Raises what `decide` does. The exchange then has the decision that was none.
    """
    key, wishes = exchange.key, chat.preferences
    assert key is not None, "the door lets nobody in without a key"
    now = time.monotonic()
    if wishes is not NO_WISHES:
        exchange.trace = exchange.trace or wishes.trace
        exchange.pinned = wishes.is_pinned
    if key.region is not None:
        exchange.pinned = True
    stay = None
    affinity = parts.affinity
    if affinity is not None and chat.prompt_bytes >= LEAST_PROMPT_BYTES:
        conversation = exchange.conversation = affinity.key(chat, key.name)
        if conversation is not None:
            stay = affinity.stay(conversation, now)
    pool, memo = parts.pool, parts.memo
    resting, whole, streams = parts.health.readings(now)
    latencies = streams if chat.stream else whole
    known = memo.recall(chat, key, pool, resting, latencies, carbon_price, stay)
    if known is not None:
        return known[parts.pick(chat.user, n)] if (n := len(known)) > 1 else known[0]
    try:
        return decide(
            chat,
            key,
            pool,
            resting,
            partial(parts.pick, chat.user),
            memo,
            latencies=latencies,
            carbon_price=carbon_price,
            stay=stay,
        )
    except LowproxyError as failure:
        exchange.decision = failure.decision
        raise


def wants_trace(header: str) -> bool:
    """What `X-LowRouter-Trace` asks for. Raises BadRequestError."""
    said = _SAID.get(header.lower())
    if said is None:
        raise BadRequestError(f"{TRACE} must be 1 or 0", param=TRACE)
    return said
