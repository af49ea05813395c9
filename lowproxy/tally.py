"""What is counted of requests: plain numbers in one row per kind of request, no object per count.

The kind (see `Kind`) is bounded by the catalogue and by the class tree of errors. Every metric of requests
is a sum over rows, made when somebody scrapes, so a request pays for one look-up and some additions.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from lowproxy.core.record import KIND, UsageRecord
from lowproxy.core.semconv import DURATION_S, FIRST_TOKEN_S, OUTPUT_TOKEN_S, TOKENS
from lowproxy.core.usage import Usage

# Far more than a catalogue gives; beyond it a kind is counted as "other".
MOST_KINDS = 4096
# Requests that are kept for the page of the admin port: some 2 kB each.
MOST_RECENT = 500
# How far back the page's curves go.
MINUTES = 3
# From here on it costs less to sort values than to look for the bucket of each.
_FEW = 8

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

    def add(self, tokens: "_Tokens") -> None:
        """The tokens of some requests, and what they took."""
        prompts, completions, cached, reasoning, unweighed, energy_wh, carbon_g = tokens
        self.prompt += sum(prompts)
        self.completion += sum(completions)
        self.cached += cached
        self.reasoning += reasoning
        self.unweighed += unweighed
        self.energy_wh += energy_wh
        self.carbon_g += carbon_g
        _spread(self.prompts, TOKENS, prompts)
        _spread(self.completions, TOKENS, completions)


class _Tokens(NamedTuple):
    """Of the requests whose tokens are known; sums, but for the first two."""

    prompts: Sequence[int]
    completions: Sequence[int]
    cached: int
    reasoning: int
    unweighed: int  # requests
    energy_wh: float
    carbon_g: float

    @classmethod
    def of(cls, told: Any) -> "_Tokens | None":
        """`told` has columns of usage and of impacts."""
        known = _known(told.usage)
        if not known:
            return None
        # A usage of columns, likewise.
        used: Any = Usage._make(zip(*known, strict=True))
        both = zip(told.usage, told.impact, strict=True)
        weighed = [impact for usage, impact in both if usage and impact is not None]
        return cls(
            used.prompt,
            used.completion,
            sum(used.cached),
            sum(used.reasoning),
            len(known) - len(weighed),
            sum([impact.energy_wh for impact in weighed]),
            sum([impact.carbon_g for impact in weighed]),
        )


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

    def count(self, records: Sequence[UsageRecord]) -> None:
        """Finished requests of one kind: a hundred cost little more than ten.

        One that cannot be added up raises before any of them is counted.
        """
        # A record of columns: each field is that of all of them.
        told: Any = UsageRecord._make(zip(*records, strict=True))
        firsts_ms, costs = _known(told.latency_ms), _known(told.cost_nano)
        gaps_ms = _known(map(token_time_ms, records)) if records[0].streamed else []
        duration_ms, first_ms, gap_ms = map(sum, (told.duration_ms, firsts_ms, gaps_ms))
        unreadable, cost_nano = sum(told.unreadable_events), sum(costs)
        wasted = [sum(each) for each in zip(*_known(told.wasted), strict=True)]
        retries = sum([len(tried) - 1 for tried in told.attempts if tried])
        tokens = _Tokens.of(told)

        kind: Any = records[0][KIND]
        row = self._rows.get(kind) or self._new(kind)
        row.requests += len(records)
        row.retries += retries
        row.unreadable += unreadable
        row.cost_nano += cost_nano
        row.duration_ms += duration_ms
        row.first_ms += first_ms
        row.token_ms += gap_ms
        _spread(row.durations, _DURATION_MS, told.duration_ms)
        _spread(row.firsts, _FIRST_MS, firsts_ms)
        _spread(row.tokens, _TOKEN_MS, gaps_ms)
        if wasted:
            row.wasted_wh += wasted[0]
            row.wasted_g += wasted[1]
        if tokens is not None:
            row.add(tokens)
        attempts = self.attempts
        for tried, alike in groupby(told.attempts):
            times = len(list(alike))
            for attempt in tried:
                attempts[attempt] = attempts.get(attempt, 0) + times
        self.recent.extend(records)

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


def by_kind(records: Iterable[UsageRecord]) -> Iterable[list[UsageRecord]]:
    """The records, those of one kind together and in their order."""
    kinds: dict[tuple[object, ...], list[UsageRecord]] = {}
    for kind, alike in groupby(records, _KIND):
        kinds.setdefault(kind, []).extend(alike)
    return kinds.values()


_KIND = itemgetter(KIND)


def _known(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def _spread(
    counts: list[int], bounds: Sequence[float], values: Sequence[float]
) -> None:
    """Adds values to a histogram: few by a search for each, many by a search for each bucket."""
    if len(values) < _FEW:
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        return
    ordered, before = sorted(values), 0
    for bucket, bound in enumerate(bounds):
        until = bisect_right(ordered, bound, before)
        counts[bucket] += until - before
        if until == len(ordered):
            return
        before = until
    counts[-1] += len(ordered) - before
