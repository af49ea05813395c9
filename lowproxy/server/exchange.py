"""The notebook of one request: opened at the door, filled on the way, read when the books are written."""

import secrets
import time
from typing import Any

import attrs

from lowproxy.core.access import ApiKey
from lowproxy.core.eco import EcoImpact, Reading
from lowproxy.core.eco_outcomes import UPSTREAM_CACHE
from lowproxy.core.limits import Rates, Reservation
from lowproxy.core.rate_fields import rate_fields
from lowproxy.core.record import UsageRecord
from lowproxy.core.routing import RouteDecision
from lowproxy.core.routing_trace import trace
from lowproxy.core.upstreams import Candidate
from lowproxy.core.usage import Usage
from lowproxy.errors import LowproxyError
from lowproxy.telemetry import Span
from lowproxy.transport.dispatch import Attempt


class _Ids:
    """Unguessable ids, drawn from the system a hundred at a time: one system call each would show."""

    def __init__(self) -> None:
        self._ready: list[str] = []

    def next(self) -> str:
        if not self._ready:
            drawn = secrets.token_urlsafe(18 * 100)
            self._ready = [f"gen_{drawn[i : i + 24]}" for i in range(0, 2400, 24)]
        return self._ready.pop()


_ids = _Ids()


@attrs.define
class Exchange:
    """What is known of the request so far. Only its own handler writes here."""

    generation_id: str
    created_at: float
    began: float  # on the monotonic clock, as first_byte and now
    is_post: bool
    completed_at: float = 0.0
    ended: float = 0.0
    endpoint: str = "unknown"
    key: ApiKey | None = None
    requested_model: str | None = None
    streamed: bool = False
    decision: RouteDecision | None = None
    attempts: list[Attempt] = attrs.field(factory=list)
    candidate: Candidate | None = None
    http_status: int = 0
    outcome: str = "ok"
    error: str | None = None
    first_byte: float | None = None
    usage: Usage | None = None
    weighed: Usage | None = None  # the usage that `impact` was made from
    impact: EcoImpact | None = None
    reading: Reading | None = None  # what the upstream says that the answer took
    wasted: tuple[float, float] | None = None  # Wh and grams of attempts that failed
    eco: str | None = None  # "full" or "short", where the request says
    trace: bool = False  # the answer is to tell how it was routed
    pinned: bool = (
        False  # by the request or by the key: the answer says how sure the place is
    )
    conversation: bytes | None = None  # what `core.affinity` knows it by
    notes: tuple[str, ...] = ()  # what an impact has to say of the request
    unreadable_events: int = 0
    cost_nano: int | None = None  # in the billing currency; None: unknown
    reservation: Reservation | None = None  # of a key with limits, until it is settled
    rates: Rates | None = None  # of a key with limits: what is left of them
    span: Span | None = None  # its place in a trace, where traces are made
    begun: bool = False  # a head has left, though nothing of the answer behind it
    deferred: bool = False  # the books are written later, by the aftermath

    @classmethod
    def begin(cls, method: str) -> "Exchange":
        """Opens the notebook."""
        return cls(
            generation_id=_ids.next(),
            created_at=time.time(),
            began=time.monotonic(),
            is_post=method == "POST",
        )

    def answer_fields(self) -> list[tuple[str, str]]:
        """Our own header fields for an answer given now."""
        fields = (
            [("X-LowRouter-Generation-ID", self.generation_id)] if self.is_post else []
        )
        if self.candidate is not None:
            fields.append(("X-LowRouter-Provider", self.candidate.endpoint.provider.id))
            fields.append(("X-LowRouter-Region", self.candidate.endpoint.region))
        if self.rates is not None:
            fields += rate_fields(self.rates)
        return fields

    def decided(self, decision: RouteDecision) -> None:
        """A route was chosen."""
        self.decision = decision
        self.candidate = decision.chosen

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
        self.http_status = self.http_status or status
        self.error = failure.code
        self.outcome = {"downstream": "client_error", "upstream": "upstream_error"}.get(
            failure.side, "gateway_error"
        )

    def routing_trace(self) -> dict[str, Any]:
        """How the request was routed, so far: candidates and attempts. Empty before a decision."""
        if self.decision is None:
            return {}
        attempts = [(a.candidate, a.outcome, a.duration_s) for a in self.attempts]
        last = self.attempts[-1] if self.attempts else None
        used = last.candidate if last is not None and last.outcome == "ok" else None
        return trace(self.decision, attempts, used)

    def about(self) -> dict[str, Any]:
        """The `lowrouter` object of what is not an answer: the id, and the trace where it is wanted."""
        about: dict[str, Any] = {"generation_id": self.generation_id}
        if self.trace and self.decision is not None:
            about["trace"] = self.routing_trace()
        return about

    def end(self) -> None:
        """The request is over."""
        self.completed_at = time.time()
        self.ended = time.monotonic()

    def record(self) -> UsageRecord:
        """The row for the books."""
        candidate = self.candidate
        latency = self.first_byte - self.began if self.first_byte is not None else None
        return UsageRecord(
            generation_id=self.generation_id,
            created_at=self.created_at,
            completed_at=self.completed_at,
            endpoint=self.endpoint,
            http_status=self.http_status,
            status=self.outcome,
            error=self.error,
            key_id=self.key.name if self.key else None,
            requested_model=self.requested_model,
            resolved_model=candidate.model.id if candidate else None,
            provider=candidate.endpoint.provider.id if candidate else None,
            region=candidate.endpoint.region if candidate else None,
            streamed=self.streamed,
            latency_ms=latency * 1000 if latency is not None else None,
            duration_ms=(self.ended - self.began) * 1000,
            usage=self.usage,
            impact=self.impact,
            attempts=tuple([(a.candidate, a.outcome) for a in self.attempts]),
            unreadable_events=self.unreadable_events,
            wasted=self.wasted,
            cost_nano=self.cost_nano,
            currency=_currency(candidate) if self.cost_nano is not None else None,
            trace=None if self.decision is None else self.routing_trace,
        )


def _currency(candidate: Candidate | None) -> str | None:
    prices = candidate.model.prices if candidate is not None else None
    return None if prices is None else prices.currency
