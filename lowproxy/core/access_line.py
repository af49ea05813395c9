"""The access line of a request: its facts, and the same as the JSON text that is written."""

from typing import Any

from lowproxy.core.cost import NANO
from lowproxy.core.eco_block import eco_fields, eco_text
from lowproxy.core.json_text import quoted
from lowproxy.core.record import UsageRecord


def access_facts(record: UsageRecord) -> dict[str, Any]:
    """The access line's facts; what is unknown is left out."""
    facts: dict[str, Any] = {
        "generation_id": record.generation_id,
        "endpoint": record.endpoint,
        "http_status": record.http_status,
        "status": record.status,
        "streamed": record.streamed,
        "attempts": len(record.attempts),
        "duration_ms": round(record.duration_ms, 1),
    }
    if record.error is not None:
        facts["error"] = record.error
    if record.key_id is not None:
        facts["key"] = record.key_id
    if record.provider is not None:
        facts["model"] = record.resolved_model
        facts["provider"] = record.provider
        facts["region"] = record.region
    if record.latency_ms is not None:
        facts["first_byte_ms"] = round(record.latency_ms, 1)
    if record.usage is not None:
        facts["prompt_tokens"] = record.usage.prompt
        facts["completion_tokens"] = record.usage.completion
        if record.usage.cached:
            facts["cached_tokens"] = record.usage.cached
    if record.cost_nano is not None:
        facts["cost"] = record.cost_nano / NANO
    if record.impact is not None:
        facts["energy_wh"] = round(record.impact.energy_wh, 9)
        facts["carbon_g"] = round(record.impact.carbon_g, 9)
        facts["zone"] = record.impact.grid.zone
        # With bounds, method and version, grid reading and notes: enough to replay and to defend it.
        facts["eco"] = eco_fields(record.impact, full=True)
    if record.wasted is not None:
        facts["wasted_wh"] = round(record.wasted[0], 9)
        facts["wasted_g"] = round(record.wasted[1], 9)
    return facts


def access_text(record: UsageRecord) -> str:
    """The members of `access_facts` as JSON, without the braces."""
    first = (
        f'"generation_id":"{record.generation_id}","endpoint":"{record.endpoint}"'
        f',"http_status":{record.http_status},"status":"{record.status}"'
        f',"streamed":{"true" if record.streamed else "false"}'
        f',"attempts":{len(record.attempts)},"duration_ms":{record.duration_ms:.1f}'
    )
    out = [first]
    if record.error is not None:
        out.append(f',"error":"{record.error}"')
    if record.key_id is not None:
        out.append(f',"key":{quoted(record.key_id)}')
    if record.provider is not None:
        model, region = quoted(record.resolved_model or ""), quoted(record.region or "")
        provider = quoted(record.provider)
        out.append(f',"model":{model},"provider":{provider},"region":{region}')
    if record.latency_ms is not None:
        out.append(f',"first_byte_ms":{record.latency_ms:.1f}')
    usage, impact = record.usage, record.impact
    if usage is not None:
        prompt, completion = usage.prompt, usage.completion
        out.append(f',"prompt_tokens":{prompt},"completion_tokens":{completion}')
        if usage.cached:
            out.append(f',"cached_tokens":{usage.cached}')
    if record.cost_nano is not None:
        out.append(f',"cost":{record.cost_nano / NANO}')
    if impact is not None:
        out.append(
            f',"energy_wh":{round(impact.energy_wh, 9)}'
            f',"carbon_g":{round(impact.carbon_g, 9)}'
            f',"zone":{quoted(impact.grid.zone)},"eco":{eco_text(impact, full=True)}'
        )
    if record.wasted is not None:
        wasted_wh, wasted_g = record.wasted
        out.append(
            f',"wasted_wh":{round(wasted_wh, 9)},"wasted_g":{round(wasted_g, 9)}'
        )
    return "".join(out)
