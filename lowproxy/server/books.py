"""What is written down of a request, whatever became of it: metrics and one access line."""

from typing import Any

import structlog

from lowproxy.core.eco_block import six
from lowproxy.core.record import UsageRecord
from lowproxy.server.exchange import Exchange
from lowproxy.server.parts import Parts

log = structlog.get_logger("lowproxy.access")


def write_down(parts: Parts, exchange: Exchange) -> None:
    """Called once per request, by the door, always."""
    usage, candidate = exchange.usage, exchange.candidate
    if usage is not None and usage != exchange.weighed and candidate is not None:
        # Cut before its final chunk, or usage came after it: what was seen counts.
        exchange.impact = parts.scales.weigh(candidate, usage)
    record = exchange.record()
    parts.metrics.count(record)
    if parts.config.log.access:
        log.info("request.done", **access_facts(record))


def access_facts(record: UsageRecord) -> dict[str, Any]:
    """The access line's facts; what is unknown is left out."""
    facts: dict[str, Any] = {
        "generation_id": record.generation_id,
        "endpoint": record.endpoint,
        "http_status": record.http_status,
        "status": record.status,
        "error": record.error,
        "key": record.key_id,
        "model": record.resolved_model,
        "provider": record.provider,
        "region": record.region,
        "streamed": record.streamed,
        "first_byte_ms": round(record.latency_ms, 1)
        if record.latency_ms is not None
        else None,
        "duration_ms": round(record.duration_ms, 1),
        "attempts": len(record.attempts),
    }
    if record.usage is not None:
        facts["prompt_tokens"] = record.usage.prompt
        facts["completion_tokens"] = record.usage.completion
    if record.impact is not None:
        facts["energy_wh"] = six(record.impact.energy_wh)
        facts["carbon_g"] = six(record.impact.carbon_g)
    return {name: value for name, value in facts.items() if value is not None}
