"""Every metric, declared in one place. To add one: a line here, and a number where it happens.

Labels are bounded: ids from the configuration and codes from the class tree of errors, never text from a
request. One process, one event loop: values are plain numbers, and prometheus_client is asked for families
only when somebody scrapes (its own counters take a lock and build a child at every call, which together
would cost a request more than choosing its route). What has a name in OpenTelemetry's conventions for
generative AI is exported under that one.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Protocol

import attrs
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from lowproxy import __version__
from lowproxy.core import semconv
from lowproxy.core.record import UsageRecord
from lowproxy.sums import (
    Counter,
    Histogram,
    Spread,
    Sum,
    asked_a_model,
    streamed,
    with_values,
)
from lowproxy.tally import Tally

_LAG_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_MODEL = ("provider", "model")
_PLACE = ("provider", "model", "region")
_GEN_AI = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_response_model")

OF_REQUESTS: tuple[Sum | Spread, ...] = (
    Sum(
        "lowproxy_requests",
        "Requests by outcome",
        ("endpoint", "provider", "status"),
        {"": "requests"},
    ),
    Sum(
        "lowproxy_errors",
        "Requests that ended with an error: its code, and whose fault it is",
        ("code", "side", "provider"),
        {"": "requests"},
        of=attrgetter("code"),
    ),
    Spread(
        "lowproxy_request_duration_seconds",
        "From the request's head to the answer's end",
        ("endpoint",),
        semconv.DURATION_S,
        {"": ("durations", "duration_ms")},
        scale=1000,
    ),
    Spread(
        "lowproxy_first_byte_seconds",
        "From the request's head to the answer's first byte",
        ("provider",),
        semconv.FIRST_TOKEN_S,
        {"": ("firsts", "first_ms")},
        scale=1000,
    ),
    Sum(
        "lowproxy_retries",
        "Attempts after a request's first",
        ("provider",),
        {"": "retries"},
    ),
    Sum(
        "lowproxy_tokens",
        "Tokens; cached are among the prompt's, reasoning among the completion's",
        _MODEL,
        {
            "prompt": "prompt",
            "completion": "completion",
            "cached": "cached",
            "reasoning": "reasoning",
        },
        "kind",
    ),
    Sum(
        "lowproxy_cost",
        "What the answers cost, by the catalogue's prices",
        ("provider", "model", "currency"),
        {"": "cost_nano"},
        scale=1e9,
    ),
    Sum(
        "lowproxy_energy_watt_hours", "Energy of the answers", _PLACE, {"": "energy_wh"}
    ),
    Sum(
        "lowproxy_carbon_grams",
        "CO2 equivalent of the answers",
        _PLACE,
        {"": "carbon_g"},
    ),
    Sum(
        "lowproxy_wasted_energy_watt_hours",
        "Energy of failed attempts whose tokens are known",
        ("provider",),
        {"": "wasted_wh"},
    ),
    Sum(
        "lowproxy_wasted_carbon_grams",
        "CO2 equivalent of failed attempts whose tokens are known",
        ("provider",),
        {"": "wasted_g"},
    ),
    Sum(
        "lowproxy_eco_omitted",
        "Answers without eco figures: the model's size is unknown",
        _MODEL,
        {"": "unweighed"},
    ),
    Sum(
        "lowproxy_unreadable_events",
        "Stream events that were passed on unread",
        ("provider",),
        {"": "unreadable"},
    ),
    Spread(
        "gen_ai_client_token_usage",
        "Tokens of one request",
        _GEN_AI,
        semconv.TOKENS,
        {"input": ("prompts", "prompt"), "output": ("completions", "completion")},
        "gen_ai_token_type",
        asked_a_model,
    ),
    Spread(
        "gen_ai_client_operation_duration_seconds",
        "Requests that reached a provider, to the answer's end",
        (*_GEN_AI, "error_type"),
        semconv.DURATION_S,
        {"": ("durations", "duration_ms")},
        of=asked_a_model,
        scale=1000,
    ),
    Spread(
        "gen_ai_client_operation_time_to_first_chunk_seconds",
        "Streams: from the request's head to the first byte",
        _GEN_AI,
        semconv.FIRST_TOKEN_S,
        {"": ("firsts", "first_ms")},
        of=streamed,
        scale=1000,
    ),
    Spread(
        "gen_ai_server_time_per_output_token_seconds",
        "Complete streams: mean time between tokens after the first",
        _GEN_AI,
        semconv.OUTPUT_TOKEN_S,
        {"": ("tokens", "token_ms")},
        of=streamed,
        scale=1000,
    ),
)


class Books(Protocol):
    """What became of records; `lowproxy.store.ledger` counts it."""

    written: int
    spilled: int
    replayed: int
    lost: int
    flushes: int
    flush_s: float
    spill_bytes: int
    up: bool


def _nothing() -> None:
    """All is up to date."""


class SharedStore(Protocol):
    """How the shared store is; `lowproxy.store.shared` counts it."""

    up: bool
    failures: dict[tuple[str, ...], float]  # by reason
    lost: int


@attrs.define
class Hooks:
    """What is asked of other parts when somebody scrapes; each part sets its own."""

    # Brings what is counted up to date.
    before: Callable[[], None] = _nothing
    # Zone, source, grams per kWh (None: too old to be used) and age in seconds.
    grid: Callable[[], Iterable[tuple[str, str, float | None, float]]] = tuple
    # Endpoint, model, and how it is: 1 in use, 0.5 on trial, 0 resting.
    upstreams: Callable[[], Iterable[tuple[str, str, float]]] = tuple
    # Candidate, name of a credential that rests for it, why, and for how many seconds yet.
    credentials: Callable[[], Iterable[tuple[str, str, str, float]]] = tuple
    # Whose carbon budget, grams spent in 24 hours, and what a gram costs now.
    carbon: Callable[[], Iterable[tuple[str, float, float]]] = tuple
    # What waits, by the queue's name.
    queues: dict[str, Callable[[], float]] = attrs.field(factory=dict)
    # None: no books are kept.
    books: Callable[[], Books | None] = lambda: None
    # None: this process counts alone.
    shared: Callable[[], SharedStore | None] = lambda: None


class Metrics:
    """The metrics of one gateway, in a registry of their own."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.hooks = Hooks()
        self.open_requests = 0
        self.open_streams = 0
        self.loop_lag_s = Histogram(
            "lowproxy_event_loop_lag_seconds",
            "How late a timer of one second fires",
            _LAG_S,
        )
        self.grid_failures = Counter(
            "lowproxy_grid_failures",
            "Answers of grid sources that could not be used, by reason",
            ("source", "reason"),
        )
        self.config_reloads = Counter(
            "lowproxy_config_reloads",
            "Reloads of the configuration, by what became of them",
            ("outcome",),
        )
        self.config_loaded_at = time.time()
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def count(self, *records: UsageRecord) -> None:
        """Finished requests of one kind: see `tally.by_kind`."""
        self.tally.count(records)

    def collect(self) -> Iterator[Metric]:
        """All families, as prometheus_client asks for them."""
        self.hooks.before()
        rows = list(self.tally.rows())
        for each in OF_REQUESTS:
            yield each.family(rows)
        yield with_values(
            CounterMetricFamily(
                "lowproxy_upstream_attempts",
                "Attempts by candidate and outcome",
                labels=("candidate", "outcome"),
            ),
            self.tally.attempts,
        )
        yield self.loop_lag_s.family()
        yield self.grid_failures.family()
        yield self.config_reloads.family()
        yield from self._gauges()
        yield from self._books()
        yield from self._shared()

    def _gauges(self) -> Iterator[Metric]:
        hooks = self.hooks
        grid = list(hooks.grid())
        fresh = {(zone, source): g for zone, source, g, _ in grid if g is not None}
        ages = {(zone, source): age_s for zone, source, _, age_s in grid}
        states = {(endpoint, model): up for endpoint, model, up in hooks.upstreams()}
        budgets = {scope: pair for scope, *pair in hooks.carbon()}
        depths = {(name,): depth() for name, depth in hooks.queues.items()}
        for name, text, labels, values in (
            (
                "lowproxy_build_info",
                "Always 1; the version",
                ("version",),
                {(__version__,): 1},
            ),
            (
                "lowproxy_config_loaded_timestamp_seconds",
                "When the configuration in force was read",
                (),
                {(): self.config_loaded_at},
            ),
            (
                "lowproxy_open_requests",
                "Requests being served",
                (),
                {(): self.open_requests},
            ),
            (
                "lowproxy_open_streams",
                "Streams being passed on",
                (),
                {(): self.open_streams},
            ),
            (
                "lowproxy_upstream_health",
                "1 in use, 0.5 on trial, 0 resting",
                ("endpoint", "model"),
                states,
            ),
            (
                "lowproxy_credential_rest_seconds",
                "How long a provider's credential is left alone yet",
                ("candidate", "credential", "reason"),
                {tuple(names): left_s for *names, left_s in hooks.credentials()},
            ),
            (
                "lowproxy_carbon_budget_spent_grams",
                "CO2 equivalent of 24 hours that counts against a carbon budget",
                ("scope",),
                {(scope,): spent_g for scope, (spent_g, _) in budgets.items()},
            ),
            (
                "lowproxy_carbon_budget_price",
                "What a gram costs in routing, in the currency of the prices",
                ("scope",),
                {(scope,): price for scope, (_, price) in budgets.items()},
            ),
            ("lowproxy_queue_depth", "What waits in a queue", ("queue",), depths),
            (
                "lowproxy_grid_intensity",
                "Grams of CO2 equivalent per kWh, of live readings that are fresh",
                ("zone", "source"),
                fresh,
            ),
            (
                "lowproxy_grid_age_seconds",
                "Since the moment that the last good reading is of",
                ("zone", "source"),
                ages,
            ),
        ):
            yield with_values(GaugeMetricFamily(name, text, labels=labels), values)

    def _shared(self) -> Iterator[Metric]:
        shared = self.hooks.shared()
        up = GaugeMetricFamily(
            "lowproxy_shared_up", "1 while the shared store answers", labels=()
        )
        yield with_values(up, {} if shared is None else {(): float(shared.up)})
        failures = CounterMetricFamily(
            "lowproxy_shared_failures",
            "Questions to the shared store that failed, by reason",
            labels=("reason",),
        )
        yield with_values(failures, {} if shared is None else shared.failures)

    def _books(self) -> Iterator[Metric]:
        books = self.hooks.books()
        records: dict[tuple[str, ...], float] = {}
        if books is not None:
            outcomes = ("written", "spilled", "replayed", "lost")
            records = {(each,): getattr(books, each) for each in outcomes}
        yield with_values(
            CounterMetricFamily(
                "lowproxy_ledger_records",
                "Records by what became of them; one that is spilled is replayed later",
                labels=("outcome",),
            ),
            records,
        )
        flush_s = SummaryMetricFamily(
            "lowproxy_ledger_flush_seconds", "Writing down what had come since the last"
        )
        if books is not None:
            flush_s.add_metric((), books.flushes, books.flush_s)
        yield flush_s
        for name, text, field in (
            ("lowproxy_ledger_up", "1 while the database takes records", "up"),
            ("lowproxy_ledger_spill_bytes", "What waits in the file", "spill_bytes"),
        ):
            values = {} if books is None else {(): float(getattr(books, field))}
            yield with_values(GaugeMetricFamily(name, text, labels=()), values)

    def describe(self) -> Iterable[Metric]:
        """The names alone, so that registering does not collect."""
        return self.collect()

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
