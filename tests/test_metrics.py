"""What a scrape sees, and that its size is bounded."""

from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lowproxy.core.record import UsageRecord
from lowproxy.core.usage import Usage
from lowproxy.metrics import Counter, Histogram, Metrics

RECORD = UsageRecord(
    generation_id="gen_canary",
    created_at=0.0,
    completed_at=1.0,
    endpoint="chat",
    http_status=200,
    status="ok",
    error=None,
    key_id="canary-key",
    requested_model="canary-model",
    resolved_model="acme/small",
    provider="acme",
    region="eu-west",
    streamed=True,
    latency_ms=120.0,
    duration_ms=1500.0,
    usage=Usage(10, 20),
    impact=None,
    attempts=(("acme-1/acme/small", "upstream_cut"), ("acme-2/acme/small", "ok")),
    unreadable_events=2,
)


def scraped(metrics):
    """Samples by name and labels."""
    text = metrics.exposition().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics, name, **labels):
    """One sample."""
    return scraped(metrics)[(name, tuple(sorted(labels.items())))]


@pytest.fixture
def metrics():
    """With one request counted."""
    made = Metrics()
    made.count(RECORD)
    return made


def test_a_request_is_counted(metrics):
    """By endpoint, provider and outcome; its attempts, tokens and times."""
    chat = {"endpoint": "chat", "provider": "acme", "status": "ok"}
    assert value(metrics, "lowproxy_requests_total", **chat) == 1
    for candidate, outcome in RECORD.attempts:
        labels = {"candidate": candidate, "outcome": outcome}
        assert value(metrics, "lowproxy_upstream_attempts_total", **labels) == 1
    for kind, count in (("prompt", 10), ("completion", 20)):
        labels = {"provider": "acme", "kind": kind}
        assert value(metrics, "lowproxy_tokens_total", **labels) == count
    assert value(metrics, "lowproxy_unreadable_events_total", provider="acme") == 2
    assert value(metrics, "lowproxy_eco_omitted_total", reason="unknown_model_size")
    assert value(metrics, "lowproxy_open_requests") == 0


def test_histograms_are_cumulative(metrics):
    """Each bucket holds what was at most its bound; sum and count are there."""
    name = "lowproxy_request_duration_seconds"
    for le, count in (("1", 0), ("2.5", 1), ("+Inf", 1)):
        bound = le if (name + "_bucket", _le(le)) in scraped(metrics) else f"{le}.0"
        assert value(metrics, name + "_bucket", endpoint="chat", le=bound) == count
    assert value(metrics, name + "_sum", endpoint="chat") == 1.5
    assert value(metrics, name + "_count", endpoint="chat") == 1
    first = "lowproxy_first_byte_seconds"
    assert value(metrics, first + "_sum", provider="acme") == pytest.approx(0.12)


def _le(le):
    return (("endpoint", "chat"), ("le", le))


def test_a_bound_belongs_to_its_bucket():
    """`le` is less or equal."""
    histogram = Histogram("x", "x", (), (1, 2))
    for seconds in (0.5, 1, 1.5, 2, 3):
        histogram.observe((), seconds)
    buckets = {
        sample.labels["le"]: sample.value
        for sample in histogram.family().samples
        if sample.name == "x_bucket"
    }
    assert list(buckets.values()) == [2, 4, 5]


def test_a_failure_is_counted(metrics):
    """By the code of its class; a request that found no provider has none."""
    failed = attrs.evolve(
        RECORD,
        status="client_error",
        error="invalid_api_key",
        provider=None,
        usage=None,
        latency_ms=None,
        attempts=(),
        unreadable_events=0,
    )
    metrics.count(failed)
    assert value(metrics, "lowproxy_errors_total", code="invalid_api_key") == 1
    labels = {"endpoint": "chat", "provider": "none", "status": "client_error"}
    assert value(metrics, "lowproxy_requests_total", **labels) == 1


def test_energy_and_carbon_add_up(metrics):
    """As the answers said."""
    impact: Any = SimpleNamespace(energy_wh=0.5, carbon_g=0.125)
    for _ in range(3):
        metrics.count(attrs.evolve(RECORD, impact=impact))
    assert value(metrics, "lowproxy_energy_watt_hours_total", provider="acme") == 1.5
    assert value(metrics, "lowproxy_carbon_grams_total", provider="acme") == 0.375


def test_nothing_of_a_request_is_a_label(metrics):
    """Ids of keys, requests and asked models would grow without bound, or tell too much."""
    text = metrics.exposition().decode()
    assert "canary" not in text
    before = len(text)
    for number in range(100):
        metrics.count(
            attrs.evolve(
                RECORD, generation_id=f"g{number}", requested_model=f"m{number}"
            )
        )
    assert len(metrics.exposition().decode()) < before * 1.2


def test_odd_label_values_are_escaped():
    """An id with a quote or a line break stays one value."""
    counter = Counter("x", "x", ("a",))
    counter.add(('q"\n\\',), 2)
    metrics = Metrics()
    metrics.errors.add(('q"\n\\',))
    assert value(metrics, "lowproxy_errors_total", code='q"\n\\') == 1
    assert counter.family().samples[0].value == 2


def test_every_metric_has_its_help_and_unit(metrics):
    """Names as Prometheus wants them: a prefix, a base unit, total for counters."""
    families = list(text_string_to_metric_families(metrics.exposition().decode()))
    assert len(families) >= 10
    for family in families:
        assert family.name.startswith("lowproxy_")
        assert family.documentation
        assert not family.name.endswith(("_ms", "_wh", "_g"))
