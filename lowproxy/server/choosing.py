"""Choose a route: the readings of the moment gathered, and one decision made from them."""

import time
from functools import partial

from lowproxy.core.chat import ChatRequest
from lowproxy.core.routing import RouteDecision, decide
from lowproxy.errors import BadRequestError, LowproxyError
from lowproxy.server.exchange import Exchange
from lowproxy.server.parts import Parts

TRACE = "X-LowRouter-Trace"
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
    if wishes.trace:
        exchange.trace = True
    if wishes.region is not None or wishes.zone is not None or key.region is not None:
        exchange.pinned = True
    stay = None
    affinity = parts.affinity
    if affinity is not None:
        conversation = exchange.conversation = affinity.key(chat, key.name)
        if conversation is not None:
            stay = affinity.stay(conversation, now)
    health = parts.health
    try:
        return decide(
            chat,
            key,
            parts.pool,
            health.resting(now),
            partial(parts.pick, chat.user),
            parts.memo,
            latencies=health.latencies(now, streamed=chat.stream),
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
