"""One row of the books: what became of a request. No text of it, ever."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lowproxy.core.eco import EcoImpact
from lowproxy.core.routing_trace import Routed
from lowproxy.core.usage import Usage


# A tuple, because one is built per request and a frozen attrs value of this many fields takes ten times as
# long to build.
class UsageRecord(NamedTuple):
    """What is written down of one request, whatever its outcome.

    `latency_ms` is to the first byte where streamed, else to the whole answer. `status` is ok, partial,
    client_error, client_closed, upstream_error or gateway_error.
    """

    generation_id: str
    created_at: float  # seconds since the epoch
    completed_at: float
    requested_model: str | None
    key_id: str | None
    http_status: int
    # The kind of request, see `tally.Kind`; KIND is where it stands.
    endpoint: str
    provider: str | None
    resolved_model: str | None
    region: str | None
    streamed: bool
    status: str
    error: str | None
    currency: str | None  # of `cost_nano`
    latency_ms: float | None
    duration_ms: float
    usage: Usage | None
    impact: EcoImpact | None
    attempts: tuple[tuple[str, str], ...]  # candidate and outcome, in order
    unreadable_events: int = 0
    wasted: tuple[float, float] | None = None  # Wh and grams of attempts that failed
    cost_nano: int | None = None  # billionths of a unit of `currency`; None: no price
    cost: str | None = None  # the same as text, where the answer has told it
    # How the route was chosen, for JSON: worked out where the books are kept, not on the way of a request.
    trace: Routed | Callable[[], Mapping[str, Any]] | None = None


KIND = slice(6, 14)
