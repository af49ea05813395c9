"""What a scrape sees, and that its size is bounded."""

from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lowproxy.core.record import UsageRecord
from lowproxy.core.usage import Usage
from lowproxy.metrics import Metrics
from lowproxy.tally import MOST_RECENT

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
    currency=None,
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
        labels = {"provider": "acme", "model": "acme/small", "kind": kind}
        assert value(metrics, "lowproxy_tokens_total", **labels) == count
    assert value(metrics, "lowproxy_unreadable_events_total", provider="acme") == 2
    unweighed = {"provider": "acme", "model": "acme/small"}
    assert value(metrics, "lowproxy_eco_omitted_total", **unweighed) == 1
    assert value(metrics, "lowproxy_retries_total", provider="acme") == 1
    assert value(metrics, "lowproxy_open_requests") == 0


def test_histograms_are_cumulative(metrics):
    """Each bucket holds what was at most its bound; sum and count are there."""
    name = "lowproxy_request_duration_seconds"
    for le, count in (("1.28", 0), ("2.56", 1), ("+Inf", 1)):
        assert value(metrics, name + "_bucket", endpoint="chat", le=le) == count
    assert value(metrics, name + "_sum", endpoint="chat") == 1.5
    assert value(metrics, name + "_count", endpoint="chat") == 1
    first = "lowproxy_first_byte_seconds"
    assert value(metrics, first + "_sum", provider="acme") == pytest.approx(0.12)


def test_the_conventions_names(metrics):
    """What OpenTelemetry has a name for: tokens, durations, time to and between tokens."""
    labels = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "acme",
        "gen_ai_response_model": "acme/small",
    }
    for kind, count in (("input", 10), ("output", 20)):
        name = "gen_ai_client_token_usage"
        tokens = {**labels, "gen_ai_token_type": kind}
        assert value(metrics, name + "_sum", **tokens) == count
        assert value(metrics, name + "_count", **tokens) == 1
    name = "gen_ai_client_operation_duration_seconds_sum"
    assert value(metrics, name, **labels, error_type="") == 1.5
    name = "gen_ai_client_operation_time_to_first_chunk_seconds_sum"
    assert value(metrics, name, **labels) == pytest.approx(0.12)
    name = "gen_ai_server_time_per_output_token_seconds_sum"
    assert value(metrics, name, **labels) == pytest.approx((1.5 - 0.12) / 19)


def test_a_provider_has_its_well_known_name():
    """In the conventions' metrics, and its own id in ours."""
    metrics = Metrics()
    metrics.count(RECORD._replace(provider="mistral"))
    text = metrics.exposition().decode()
    assert 'gen_ai_provider_name="mistral_ai"' in text
    assert 'provider="mistral"' in text


def test_a_failure_is_counted(metrics):
    """By the code of its class; a request that found no provider has none."""
    failed = RECORD._replace(
        status="client_error",
        error="invalid_api_key",
        provider=None,
        usage=None,
        latency_ms=None,
        attempts=(),
        unreadable_events=0,
    )
    metrics.count(failed)
    wrong = {"code": "invalid_api_key", "side": "caller", "provider": "none"}
    assert value(metrics, "lowproxy_errors_total", **wrong) == 1
    labels = {"endpoint": "chat", "provider": "none", "status": "client_error"}
    assert value(metrics, "lowproxy_requests_total", **labels) == 1


def test_energy_and_carbon_add_up(metrics):
    """As the answers said."""
    impact: Any = SimpleNamespace(energy_wh=0.5, carbon_g=0.125)
    for _ in range(3):
        metrics.count(RECORD._replace(impact=impact))
    place = {"provider": "acme", "model": "acme/small", "region": "eu-west"}
    assert value(metrics, "lowproxy_energy_watt_hours_total", **place) == 1.5
    assert value(metrics, "lowproxy_carbon_grams_total", **place) == 0.375
    metrics.count(RECORD._replace(wasted=(0.25, 0.125)))
    wasted = "lowproxy_wasted_energy_watt_hours_total"
    assert value(metrics, wasted, provider="acme") == 0.25


def test_nothing_of_a_request_is_a_label(metrics):
    """Ids of keys, requests and asked models would grow without bound, or tell too much."""
    text = metrics.exposition().decode()
    assert "canary" not in text
    before = len(text)
    for number in range(100):
        metrics.count(
            RECORD._replace(generation_id=f"g{number}", requested_model=f"m{number}")
        )
    assert len(metrics.exposition().decode()) < before * 1.2


def test_odd_label_values_are_escaped():
    """An id with a quote or a line break stays one value."""
    metrics = Metrics()
    metrics.grid_failures.add(('q"\n\\', "cut"), 2)
    labels = {"source": 'q"\n\\', "reason": "cut"}
    assert value(metrics, "lowproxy_grid_failures_total", **labels) == 2


def test_every_metric_has_its_help_and_unit(metrics):
    """Names as Prometheus wants them: a prefix, a base unit, total for counters."""
    families = list(text_string_to_metric_families(metrics.exposition().decode()))
    assert len(families) >= 10
    for family in families:
        assert family.name.startswith(("lowproxy_", "gen_ai_", "process_"))
        assert family.documentation
        assert not family.name.endswith(("_ms", "_wh", "_g"))


def test_what_is_remembered_is_bounded(metrics):
    """The last requests for the page, and no more of them."""
    for _ in range(MOST_RECENT + 5):
        metrics.count(RECORD)
    assert len(metrics.tally.recent) == MOST_RECENT


def test_what_other_parts_tell(metrics):
    """Grid readings with their age, health, queues: asked for at the scrape."""
    metrics.hooks.grid = lambda: [("FR", "src", 41.0, 60.0), ("DE", "src", None, 1e6)]
    metrics.hooks.upstreams = lambda: [("acme-1", "acme/small", 0.5)]
    metrics.hooks.queues["ledger"] = lambda: 7
    zone = {"zone": "FR", "source": "src"}
    assert value(metrics, "lowproxy_grid_intensity", **zone) == 41
    assert value(metrics, "lowproxy_grid_age_seconds", zone="DE", source="src") == 1e6
    health = {"endpoint": "acme-1", "model": "acme/small"}
    assert value(metrics, "lowproxy_upstream_health", **health) == 0.5
    assert value(metrics, "lowproxy_queue_depth", queue="ledger") == 7
    text = metrics.exposition().decode()
    assert 'lowproxy_grid_intensity{source="src",zone="DE"}' not in text
