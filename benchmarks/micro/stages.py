"""The stages of a request and of an event, each as a call to be timed by itself.

They are the gateway's own functions with its own parts, built as `lowproxy serve` builds
them from the configuration that the load is measured with: 20 endpoints, a key with a policy.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import attrs
import orjson
from multidict import CIMultiDict

from benchmarks.load.lockstep import ANSWER, CHUNK, CONTENT, FINISH, HEAD, USAGE
from benchmarks.load.proxies import CALLER_KEY
from benchmarks.load.workloads import WORKLOADS
from lowproxy.core import splice
from lowproxy.core.chat import ChatRequest
from lowproxy.core.http1 import body_of
from lowproxy.core.http1_head import read_head
from lowproxy.core.limits import Limits
from lowproxy.core.parsing import loads
from lowproxy.core.rate_fields import rate_lines
from lowproxy.core.routing import decide
from lowproxy.core.tail import TailRewriter
from lowproxy.core.usage import Usage
from lowproxy.providers import DIALECTS
from lowproxy.server.admission import admit_here, cost_fields, settle
from lowproxy.server.books import write_all, write_down
from lowproxy.server.exchange import Exchange
from lowproxy.server.parts import Parts
from lowproxy.server.proxy import annotation
from lowproxy.store.limiter import MemoryLimiter
from lowproxy.transport.dispatch import Attempt

EVENT = CHUNK % (CONTENT % (7, b"x" * 24))
LAST = b"".join((CHUNK % FINISH, CHUNK % USAGE, b"data: [DONE]\n\n"))
READ = 10  # events in one read
TOGETHER = 100  # requests of one entry in the books


@dataclass(frozen=True)
class Stage:
    """One call, and how many things it does at once."""

    name: str
    per: str  # request, stream or event
    call: Callable[[], object]
    times: int = 1


def request_of(size: int) -> bytes:
    """A chat request of exactly so many bytes."""
    body = {
        "model": WORKLOADS["S2"].model,
        "messages": [{"role": "user", "content": ""}],
        "stream": True,
        "temperature": 0.7,
    }
    body["messages"] = [
        {"role": "user", "content": "x" * (size - len(orjson.dumps(body)))}
    ]
    return orjson.dumps(body)


# More than any benchmark uses up, and every kind of limit.
LIMITS = Limits(10**9, 10**10, 10**6, 10**13, 10**13, 10**13)
UNIT_BODY = request_of(215)


def stages(parts: Parts) -> list[Stage]:
    """Every stage, in the order of a request. `parts` must know the benchmark's key and models."""
    long_body = WORKLOADS["L"].body(WORKLOADS["S2"].model, asks_usage=False)
    small, large = (ChatRequest.parse(body) for body in (UNIT_BODY, long_body))
    key = parts.keys.identify(CALLER_KEY, time.time())
    pick = partial(parts.pick, small.user)
    route = partial(decide, small, key, parts.pool, frozenset(), pick)
    decision = route()
    chosen = decision.chosen
    dialect = DIALECTS[chosen.endpoint.provider.dialect]
    fields = CIMultiDict({"User-Agent": "bench", "Content-Type": "application/json"})
    exchange = Exchange.begin("POST")
    exchange.key, exchange.candidate, exchange.http_status = key, chosen, 200
    exchange.requested_model, exchange.first_byte = small.model, time.monotonic()
    usage = Usage(31, 27)
    note = partial(annotation, parts, exchange, chosen, usage)
    parsed, value = loads(ANSWER), note()

    def tail() -> TailRewriter:
        return TailRewriter(
            model=small.model, wants_usage=False, annotate=lambda _: value
        )

    running = tail()
    running.feed(EVENT)
    framed = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
    assert running.template is not None, "the events of a stream are alike"
    alike = running.template.framed
    answer_head = HEAD.removesuffix(b"\r\n")
    body = body_of(read_head(answer_head))

    def ending() -> bytes:
        machine = tail()
        return machine.feed(EVENT) + machine.feed(LAST)

    def unary() -> bytes:
        found = loads(ANSWER)
        Usage.read(found["usage"])
        named = splice.replace_string(ANSWER, "model", orjson.dumps(small.model))
        return splice.put_member(named, parsed, "lowrouter", value)

    limited = Exchange.begin("POST")
    limited.key = attrs.evolve(key, name="limited", limits=LIMITS)
    limited.usage, limited.cost_nano = usage, 27_000
    limited.impact = parts.scales.weigh(chosen, usage)
    limited.attempts = [Attempt(chosen.id, "ok", 0.1)]

    limiter = MemoryLimiter()
    parts.limiter = limiter

    def limits() -> str:
        """All that a key with limits costs a request beside one without."""
        admit_here(parts, limiter, limited, small, decision)
        held = limited.reservation
        assert held is not None and held.balance_nano is not None, "it has a budget"
        told = rate_lines(held.rates) + cost_fields(limited)
        settle(parts, limited, held)
        return told

    def books() -> None:
        """As many as a busy tenth of a second brings, written down together."""
        for _ in range(TOGETHER):
            write_down(parts, exchange)
        write_all(parts)

    return [
        Stage("open the exchange", "request", lambda: Exchange.begin("POST")),
        Stage(
            "key: hash and look up",
            "request",
            lambda: parts.keys.identify(CALLER_KEY, exchange.created_at),
        ),
        Stage(
            "read the request, 215 B", "request", lambda: ChatRequest.parse(UNIT_BODY)
        ),
        Stage(
            "read the request, 200 kB", "request", lambda: ChatRequest.parse(long_body)
        ),
        Stage("choose among 20 candidates", "request", route),
        Stage("limits: reserve, tell, settle", "request", limits),
        Stage(
            "splice the body, 215 B",
            "request",
            lambda: small.pieces(chosen.model.upstream_model, ask_usage=True),
        ),
        Stage(
            "splice the body, 200 kB",
            "request",
            lambda: large.pieces(chosen.model.upstream_model, ask_usage=True),
        ),
        Stage(
            "dress the request",
            "request",
            lambda: dialect.dress(small, chosen, None, fields),
        ),
        Stage(
            "read the answer's head", "request", lambda: body_of(read_head(answer_head))
        ),
        Stage("chunk framing off, 280 B", "event", lambda: body.feed(framed)),
        Stage("an event like the one before, 280 B", "event", lambda: alike(framed)),
        Stage("tail, one event a read", "event", lambda: running.feed(EVENT)),
        Stage(
            f"tail, {READ} events a read",
            "event",
            lambda: running.feed(EVENT * READ),
            READ,
        ),
        Stage("tail, first and last events", "stream", ending),
        Stage("estimate", "request", lambda: parts.scales.weigh(chosen, usage)),
        Stage("estimate, and write `lowrouter`", "request", note),
        Stage("unary answer: read and splice", "request", unary),
        Stage(
            "books: record, metrics, line",
            "request",
            books,
            TOGETHER,
        ),
    ]
