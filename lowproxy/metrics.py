"""Every metric, declared in one place. To add one: a line here, and a call where it happens.

Labels are bounded: ids from the configuration and codes from the class tree of errors, never text from a
request. A gateway has its own registry, so that two in one process do not meet.
"""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from lowproxy.core.record import UsageRecord

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The registry and its metrics."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "lowproxy_requests",
            "Requests by endpoint, provider and outcome",
            ("endpoint", "provider", "status"),
            registry=registry,
        )
        self.errors = Counter(
            "lowproxy_errors",
            "Requests that ended with an error, by its code",
            ("code",),
            registry=registry,
        )
        self.duration_s = Histogram(
            "lowproxy_request_duration_seconds",
            "From the request's head to the answer's end",
            ("endpoint",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.first_byte_s = Histogram(
            "lowproxy_first_byte_seconds",
            "From the request's head to the answer's first byte",
            ("provider",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.attempts = Counter(
            "lowproxy_upstream_attempts",
            "Attempts by candidate and outcome",
            ("candidate", "outcome"),
            registry=registry,
        )
        self.tokens = Counter(
            "lowproxy_tokens",
            "Tokens by provider and kind",
            ("provider", "kind"),
            registry=registry,
        )
        self.energy_wh = Counter(
            "lowproxy_energy_watt_hours",
            "Energy, estimated",
            ("provider",),
            registry=registry,
        )
        self.carbon_g = Counter(
            "lowproxy_carbon_grams",
            "CO2 equivalent, estimated",
            ("provider",),
            registry=registry,
        )
        self.eco_omitted = Counter(
            "lowproxy_eco_omitted",
            "Answers without eco figures, by reason",
            ("reason",),
            registry=registry,
        )
        self.unreadable_events = Counter(
            "lowproxy_unreadable_events",
            "Stream events passed on unread",
            ("provider",),
            registry=registry,
        )
        self.open_requests = Gauge(
            "lowproxy_open_requests", "Requests being served", registry=registry
        )

    def count(self, record: UsageRecord) -> None:
        """One finished request."""
        provider = record.provider or "none"
        self.requests.labels(record.endpoint, provider, record.status).inc()
        self.duration_s.labels(record.endpoint).observe(record.duration_ms / 1000)
        if record.error is not None:
            self.errors.labels(record.error).inc()
        if record.latency_ms is not None:
            self.first_byte_s.labels(provider).observe(record.latency_ms / 1000)
        for candidate, outcome in record.attempts:
            self.attempts.labels(candidate, outcome).inc()
        if record.unreadable_events:
            self.unreadable_events.labels(provider).inc(record.unreadable_events)
        if record.usage is not None:
            self.tokens.labels(provider, "prompt").inc(record.usage.prompt)
            self.tokens.labels(provider, "completion").inc(record.usage.completion)
            self._count_eco(record, provider)

    def _count_eco(self, record: UsageRecord, provider: str) -> None:
        if record.impact is None:
            self.eco_omitted.labels("unknown_model_size").inc()
        else:
            self.energy_wh.labels(provider).inc(record.impact.energy_wh)
            self.carbon_g.labels(provider).inc(record.impact.carbon_g)

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
