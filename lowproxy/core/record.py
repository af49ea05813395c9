"""One row of the books: what became of a request. No text of it, ever."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from lowproxy.core.eco import EcoImpact
from lowproxy.core.usage import Usage


@attrs.frozen(slots=False)
class UsageRecord:
    """What is written down of one request, whatever its outcome.

    `latency_ms` is to the first byte where streamed, else to the whole answer. `status` is ok, partial,
    client_error, client_closed, upstream_error or gateway_error.
    """

    generation_id: str
    created_at: float  # seconds since the epoch
    completed_at: float
    endpoint: str
    http_status: int
    status: str
    error: str | None
    key_id: str | None
    requested_model: str | None
    resolved_model: str | None
    provider: str | None
    region: str | None
    streamed: bool
    latency_ms: float | None
    duration_ms: float
    usage: Usage | None
    impact: EcoImpact | None
    attempts: tuple[tuple[str, str], ...]  # candidate and outcome, in order
    unreadable_events: int = 0
    wasted: tuple[float, float] | None = None  # Wh and grams of attempts that failed
    cost_nano: int | None = None  # billionths of a unit of `currency`; None: no price
    currency: str | None = None
    # How the route was chosen, for JSON: worked out where the books are kept, not on the way of a request.
    trace: Callable[[], Mapping[str, Any]] | None = None
