"""The notebook of one request: opened at the door, filled on the way, read when the books are written."""

import secrets
import time
from collections.abc import Iterator
from typing import Any

from lowproxy.core.access import ApiKey
from lowproxy.core.eco import EcoImpact, Reading
from lowproxy.core.eco_outcomes import UPSTREAM_CACHE
from lowproxy.core.limits import Rates, Reservation
from lowproxy.core.rate_fields import rate_lines
from lowproxy.core.record import UsageRecord
from lowproxy.core.routing import RouteDecision
from lowproxy.core.routing_trace import Routed
from lowproxy.core.upstreams import Candidate
from lowproxy.core.usage import Usage
from lowproxy.errors import LowproxyError
from lowproxy.server.wire import CallerStream
from lowproxy.store.ledger_rows import MOST_CHARS
from lowproxy.telemetry import Span
from lowproxy.transport.dispatch import Attempt

_new = tuple.__new__


def _drawn() -> Iterator[str]:
    """Unguessable ids, drawn from the system a hundred at a time: one system call each would show.

    In front of 96 random bits each has the second of its draw. So what is put into the books together stands
    together in their index; ids without an order would have each record write a page of it.
    """
    while True:
        second = f"gen_{int(time.time()):08x}"
        drawn = secrets.token_urlsafe(12 * 100)
        for i in range(0, 1600, 16):
            yield f"{second}{drawn[i : i + 16]}"


_next_id = _drawn().__next__


class Exchange:
    """What is known of the request so far. Only its own handler writes here.

    A plain class: one is made per request, and of a generated `__init__` with this many arguments the calling
    alone costs as much as all that is set here.
    """

    __slots__ = (
        "attempts",
        "began",
        "begun",
        "candidate",
        "conversation",
        "cost",
        "cost_nano",
        "created_at",
        "decision",
        "deferred",
        "eco",
        "ended",
        "endpoint",
        "error",
        "first_byte",
        "generation_id",
        "http_status",
        "impact",
        "is_post",
        "key",
        "notes",
        "outcome",
        "pinned",
        "rates",
        "reading",
        "requested_model",
        "reservation",
        "span",
        "streamed",
        "trace",
        "unreadable_events",
        "usage",
        "wasted",
        "weighed",
    )

    def __init__(self, is_post: bool) -> None:
        self.generation_id = _next_id()
        self.created_at = time.time()
        self.began = time.monotonic()  # the same clock as of first_byte and ended
        self.is_post = is_post
        self.ended = self.began
        self.endpoint = "unknown"
        self.outcome = "ok"
        self.http_status = self.unreadable_events = 0
        self.attempts: list[Attempt] = []
        self.notes: tuple[str, ...] = ()  # what an impact has to say of the request
        self.key: ApiKey | None = None
        self.requested_model: str | None = None
        self.decision: RouteDecision | None = None
        self.candidate: Candidate | None = None
        self.error: str | None = None
        self.first_byte: float | None = None
        self.usage: Usage | None = None
        self.weighed: Usage | None = None  # the usage that `impact` was made from
        self.impact: EcoImpact | None = None
        # What the upstream says that the answer took.
        self.reading: Reading | None = None
        # Wh and grams of attempts that failed.
        self.wasted: tuple[float, float] | None = None
        self.eco: str | None = None  # "full" or "short", where the request says
        self.conversation: bytes | None = None  # what `core.affinity` knows it by
        self.cost_nano: int | None = None  # in the billing currency; None: unknown
        self.cost: str | None = None  # the same as text, once an answer has told it
        # Of a key with limits, until it is settled; and what is left of them.
        self.reservation: Reservation | None = None
        self.rates: Rates | None = None
        self.span: Span | None = None  # its place in a trace, where traces are made
        self.streamed = False
        self.trace = False  # the answer is to tell how it was routed
        # By the request or by the key: the answer says how sure the place is.
        self.pinned = False
        # Whose head has left, though nothing of the answer behind it.
        self.begun: CallerStream | None = None
        self.deferred = False  # the books are written later, by the aftermath

    def __repr__(self) -> str:
        return f"Exchange({self.generation_id})"

    @classmethod
    def begin(cls, method: str) -> "Exchange":
        """Opens the notebook."""
        return cls(method == "POST")

    def answer_fields(self) -> str:
        """Our own header fields for an answer given now, as the lines of its head."""
        text = ""
        if self.is_post:
            text = f"X-LowRouter-Generation-ID: {self.generation_id}\r\n"
        if self.candidate is not None:
            text += self.candidate.endpoint.told
        if self.rates is not None:
            text += rate_lines(self.rates)
        return text

    def answered(self) -> None:
        """The attempts are over: the last one's candidate is who served."""
        decision, candidate = self.decision, self.candidate
        if not self.attempts or decision is None or candidate is None:
            return
        last = self.attempts[-1].candidate
        if last != candidate.id:
            self.candidate = decision.find(last)

    def heard(self, reading: Reading) -> None:
        """The upstream told its energy; an impact that was made before has to be made again."""
        if self.reading is not None and self.reading.source == UPSTREAM_CACHE:
            return  # the answer tells what it took when it was made
        self.reading = reading
        self.weighed = None

    def failed(self, failure: LowproxyError, status: int) -> None:
        """The request ends with this failure."""
        asked = self.requested_model
        if asked is not None and len(asked) > MOST_CHARS:
            # Nobody's name, and up to the whole body: records wait, and the last ones are kept.
            self.requested_model = asked[:MOST_CHARS]
        self.http_status = self.http_status or status
        self.error = failure.code
        self.outcome = {"downstream": "client_error", "upstream": "upstream_error"}.get(
            failure.side, "gateway_error"
        )

    def routing_trace(self) -> dict[str, Any]:
        """How the request was routed, so far: candidates and attempts. Empty before a decision."""
        if self.decision is None:
            return {}
        return Routed(self.decision, self.attempts)()

    def about(self) -> dict[str, Any]:
        """The `lowrouter` object of what is not an answer: the id, and the trace where it is wanted."""
        about: dict[str, Any] = {"generation_id": self.generation_id}
        if self.trace and self.decision is not None:
            about["trace"] = self.routing_trace()
        return about

    def end(self) -> None:
        """The request is over."""
        self.ended = time.monotonic()

    def record(self) -> UsageRecord:
        """The row for the books."""
        began, first_byte = self.began, self.first_byte
        candidate, cost_nano, attempts = self.candidate, self.cost_nano, self.attempts
        model = provider = region = currency = None
        if candidate is not None:
            provider, model, region, currency = candidate.booked
        tried: tuple[tuple[str, str], ...] = ()
        if len(attempts) == 1:
            one = attempts[0]
            tried = ((one.candidate, one.outcome),)
        elif attempts:
            tried = tuple([(each.candidate, each.outcome) for each in attempts])
        took_s = self.ended - began
        # Not by UsageRecord's own __new__, which is a function more, of all these arguments.
        return _new(
            UsageRecord,
            (
                self.generation_id,
                self.created_at,
                self.created_at + took_s,
                self.requested_model,
                None if self.key is None else self.key.name,
                self.http_status,
                self.endpoint,
                provider,
                model,
                region,
                self.streamed,
                self.outcome,
                self.error,
                None if cost_nano is None else currency,
                None if first_byte is None else (first_byte - began) * 1000,
                took_s * 1000,
                self.usage,
                self.impact,
                tried,
                self.unreadable_events,
                self.wasted,
                cost_nano,
                self.cost,
                None
                if self.decision is None
                else _new(Routed, (self.decision, attempts)),
            ),
        )
