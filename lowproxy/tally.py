"""What is counted of requests: plain numbers in one row per kind of request, no object per count.

The kind (see `Kind`) is bounded by the catalogue and by the class tree of errors. Every metric of requests
is a sum over rows, made when somebody scrapes, so a request pays for one look-up and some additions.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from lowproxy.core.record import UsageRecord
from lowproxy.core.semconv import DURATION_S, FIRST_TOKEN_S, OUTPUT_TOKEN_S, TOKENS

# Far more than a catalogue gives; beyond it a kind is counted as "other".
MOST_KINDS = 4096
# Requests that are kept for the page of the admin port: some 2 kB each.
MOST_RECENT = 500
# How far back the page's curves go.
MINUTES = 3

_DURATION_MS = tuple(bound * 1000 for bound in DURATION_S)
_FIRST_MS = tuple(bound * 1000 for bound in FIRST_TOKEN_S)
_TOKEN_MS = tuple(bound * 1000 for bound in OUTPUT_TOKEN_S)


class Kind(NamedTuple):
    """What requests of one row have in common."""

    endpoint: str
    provider: str | None
    model: str | None
    region: str | None
    streamed: bool
    status: str
    code: str | None  # of the error
    currency: str | None  # of what it cost


class Row:
    """The sums of one kind of request; times in milliseconds, energy in Wh, carbon in grams, cost in 1e-9."""

    __slots__ = (
        "cached",
        "carbon_g",
        "completion",
        "completions",
        "cost_nano",
        "duration_ms",
        "durations",
        "energy_wh",
        "first_ms",
        "firsts",
        "prompt",
        "prompts",
        "reasoning",
        "requests",
        "retries",
        "token_ms",
        "tokens",
        "unreadable",
        "unweighed",
        "wasted_g",
        "wasted_wh",
    )

    def __init__(self) -> None:
        self.requests = self.retries = self.unreadable = self.unweighed = 0
        self.prompt = self.completion = self.cached = self.reasoning = 0
        self.cost_nano = 0
        self.duration_ms = self.first_ms = self.token_ms = 0.0
        self.energy_wh = self.carbon_g = self.wasted_wh = self.wasted_g = 0.0
        self.durations = [0] * (len(DURATION_S) + 1)
        self.firsts = [0] * (len(FIRST_TOKEN_S) + 1)
        self.tokens = [0] * (len(OUTPUT_TOKEN_S) + 1)
        self.prompts = [0] * (len(TOKENS) + 1)
        self.completions = [0] * (len(TOKENS) + 1)


class Tally:
    """Rows by kind, attempts by candidate and outcome, the last requests, the last minutes."""

    def __init__(self) -> None:
        self._rows: dict[tuple[object, ...], Row] = {}
        self.attempts: dict[tuple[str, str], int] = {}
        self.recent: deque[UsageRecord] = deque(maxlen=MOST_RECENT)
        # Requests so far, those that failed, open streams: once a second.
        self.history: deque[tuple[int, int, int]] = deque(maxlen=MINUTES * 60 + 1)

    def rows(self) -> Iterator[tuple[Kind, Row]]:
        """Every kind that has been seen, with its sums."""
        for kind, row in self._rows.items():
            yield Kind(*kind), row  # type: ignore[arg-type]

    def count(self, record: UsageRecord) -> None:
        """One finished request."""
        kind = (
            record.endpoint,
            record.provider,
            record.resolved_model,
            record.region,
            record.streamed,
            record.status,
            record.error,
            record.currency,
        )
        row = self._rows.get(kind) or self._new(kind)
        row.requests += 1
        took_ms, first_ms = record.duration_ms, record.latency_ms
        row.durations[bisect_left(_DURATION_MS, took_ms)] += 1
        row.duration_ms += took_ms
        if first_ms is not None:
            row.firsts[bisect_left(_FIRST_MS, first_ms)] += 1
            row.first_ms += first_ms
        attempts = record.attempts
        for attempt in attempts:
            self.attempts[attempt] = self.attempts.get(attempt, 0) + 1
        if len(attempts) > 1:
            row.retries += len(attempts) - 1
        if record.usage is not None:
            _count_tokens(row, record)
        if record.cost_nano:
            row.cost_nano += record.cost_nano
        if record.unreadable_events:
            row.unreadable += record.unreadable_events
        if record.wasted is not None:
            row.wasted_wh += record.wasted[0]
            row.wasted_g += record.wasted[1]
        self.recent.append(record)

    def beat(self, open_streams: int) -> None:
        """Called once a second, for the curves of the last minutes."""
        requests = failed = 0
        for kind, row in self._rows.items():
            requests += row.requests
            failed += row.requests if is_failure(str(kind[5])) else 0
        self.history.append((requests, failed, open_streams))

    def _new(self, kind: tuple[object, ...]) -> Row:
        if len(self._rows) >= MOST_KINDS:
            kind = (kind[0], "other", "other", "other", *kind[4:])
        return self._rows.setdefault(kind, Row())


def is_failure(status: str) -> bool:
    """Whether it was for us or for the upstream to get right."""
    return status in ("upstream_error", "gateway_error")


def token_time_ms(record: UsageRecord) -> float | None:
    """Mean time between two tokens as the caller saw them: no event is timed for it.

    From the first byte to the end, by the tokens after the first that were shown (reasoning is not).
    None where the answer was not streamed to its end or its tokens are our own count.
    """
    usage, first_ms = record.usage, record.latency_ms
    if not record.streamed or record.status != "ok" or usage is None or usage.counted:
        return None
    gaps = usage.completion - usage.reasoning - 1
    if gaps < 1 or first_ms is None:
        return None
    return (record.duration_ms - first_ms) / gaps


def _count_tokens(row: Row, record: UsageRecord) -> None:
    usage, impact = record.usage, record.impact
    assert usage is not None, "asked for by the caller"
    prompt, completion = usage.prompt, usage.completion
    row.prompt += prompt
    row.completion += completion
    row.prompts[bisect_left(TOKENS, prompt)] += 1
    row.completions[bisect_left(TOKENS, completion)] += 1
    if usage.cached:
        row.cached += usage.cached
    if usage.reasoning:
        row.reasoning += usage.reasoning
    if impact is None:
        row.unweighed += 1
    else:
        row.energy_wh += impact.energy_wh
        row.carbon_g += impact.carbon_g
    if record.streamed:
        gap_ms = token_time_ms(record)
        if gap_ms is not None:
            row.tokens[bisect_left(_TOKEN_MS, gap_ms)] += 1
            row.token_ms += gap_ms
