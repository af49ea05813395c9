"""Every metric, declared in one place. To add one: a line in `Metrics`, and a call where it happens.

Labels are bounded: ids from the configuration and codes from the class tree of errors, never text from a
request. One process, one event loop: values are plain numbers, and prometheus_client is asked for families
only when somebody scrapes (its own counters take a lock and build a child at every call, which together
would cost a request more than choosing its route).
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from lowproxy.core.record import UsageRecord

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

Labels = tuple[str, ...]


class Counter:
    """A number per combination of labels that only grows."""

    def __init__(self, name: str, text: str, labels: Labels) -> None:
        self.name, self.text, self.labels = name, text, labels
        self.values: dict[Labels, float] = {}

    def add(self, labels: Labels, amount: float = 1) -> None:
        """Counts; `labels` are values in the order of the names."""
        self.values[labels] = self.values.get(labels, 0) + amount

    def family(self) -> Metric:
        """What a scrape sees."""
        family = CounterMetricFamily(self.name, self.text, labels=self.labels)
        for labels, value in self.values.items():
            family.add_metric(labels, value)
        return family


class Histogram:
    """How observations spread over buckets, per combination of labels."""

    def __init__(
        self, name: str, text: str, labels: Labels, bounds: tuple[float, ...]
    ) -> None:
        self.name, self.text, self.labels, self.bounds = name, text, labels, bounds
        self._rows: dict[Labels, tuple[list[int], list[float]]] = {}

    def observe(self, labels: Labels, value: float) -> None:
        """One observation."""
        row = self._rows.get(labels)
        if row is None:
            row = self._rows[labels] = ([0] * (len(self.bounds) + 1), [0.0])
        row[0][bisect_left(self.bounds, value)] += 1
        row[1][0] += value

    def family(self) -> Metric:
        """What a scrape sees."""
        family = HistogramMetricFamily(self.name, self.text, labels=self.labels)
        for labels, (counts, total) in self._rows.items():
            buckets, seen = [], 0
            for bound, count in zip(
                (*map(str, self.bounds), "+Inf"), counts, strict=True
            ):
                seen += count
                buckets.append((bound, seen))
            family.add_metric(labels, buckets, total[0])
        return family


class Metrics:
    """The metrics of one gateway, in a registry of their own."""

    def __init__(self) -> None:
        self.requests = Counter(
            "lowproxy_requests",
            "Requests by endpoint, provider and outcome",
            ("endpoint", "provider", "status"),
        )
        self.errors = Counter(
            "lowproxy_errors",
            "Requests that ended with an error, by its code",
            ("code",),
        )
        self.duration_s = Histogram(
            "lowproxy_request_duration_seconds",
            "From the request's head to the answer's end",
            ("endpoint",),
            _SECONDS,
        )
        self.first_byte_s = Histogram(
            "lowproxy_first_byte_seconds",
            "From the request's head to the answer's first byte",
            ("provider",),
            _SECONDS,
        )
        self.attempts = Counter(
            "lowproxy_upstream_attempts",
            "Attempts by candidate and outcome",
            ("candidate", "outcome"),
        )
        self.tokens = Counter(
            "lowproxy_tokens", "Tokens by provider and kind", ("provider", "kind")
        )
        self.energy_wh = Counter(
            "lowproxy_energy_watt_hours", "Energy of the answers", ("provider",)
        )
        self.carbon_g = Counter(
            "lowproxy_carbon_grams", "CO2 equivalent of the answers", ("provider",)
        )
        self.eco_omitted = Counter(
            "lowproxy_eco_omitted",
            "Answers without eco figures, by reason",
            ("reason",),
        )
        self.unreadable_events = Counter(
            "lowproxy_unreadable_events",
            "Stream events that were passed on unread",
            ("provider",),
        )
        self.grid_failures = Counter(
            "lowproxy_grid_failures",
            "Answers of grid sources that could not be used, by reason",
            ("source", "reason"),
        )
        # Zone, source, grams per kWh (None: too old to be used) and age in seconds.
        self.grid_readings: Callable[
            [], Iterable[tuple[str, str, float | None, float]]
        ] = tuple
        self.open_requests = 0
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def count(self, record: UsageRecord) -> None:
        """One finished request."""
        provider = record.provider or "none"
        self.requests.add((record.endpoint, provider, record.status))
        self.duration_s.observe((record.endpoint,), record.duration_ms / 1000)
        if record.error is not None:
            self.errors.add((record.error,))
        if record.latency_ms is not None:
            self.first_byte_s.observe((provider,), record.latency_ms / 1000)
        for attempt in record.attempts:
            self.attempts.add(attempt)
        if record.unreadable_events:
            self.unreadable_events.add((provider,), record.unreadable_events)
        if record.usage is not None:
            self.tokens.add((provider, "prompt"), record.usage.prompt)
            self.tokens.add((provider, "completion"), record.usage.completion)
            if record.impact is None:
                self.eco_omitted.add(("unknown_model_size",))
            else:
                self.energy_wh.add((provider,), record.impact.energy_wh)
                self.carbon_g.add((provider,), record.impact.carbon_g)

    def collect(self) -> Iterator[Metric]:
        """All families, as prometheus_client asks for them."""
        for each in self._all():
            yield each.family()
        yield GaugeMetricFamily(
            "lowproxy_open_requests", "Requests being served", value=self.open_requests
        )
        yield from self._grid()

    def _grid(self) -> Iterator[Metric]:
        grams = GaugeMetricFamily(
            "lowproxy_grid_intensity",
            "Grams of CO2 equivalent per kWh, of live readings that are fresh",
            labels=("zone", "source"),
        )
        age_s = GaugeMetricFamily(
            "lowproxy_grid_age_seconds",
            "Since the moment that the last good reading is of",
            labels=("zone", "source"),
        )
        for zone, source, g_per_kwh, seconds in self.grid_readings():
            age_s.add_metric((zone, source), seconds)
            if g_per_kwh is not None:
                grams.add_metric((zone, source), g_per_kwh)
        yield from (grams, age_s)

    def describe(self) -> Iterable[Metric]:
        """The names alone, so that registering does not collect."""
        return self.collect()

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)

    def _all(self) -> list[Counter | Histogram]:
        return [
            each
            for each in vars(self).values()
            if isinstance(each, Counter | Histogram)
        ]
