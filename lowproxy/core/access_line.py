"""The access line of a request: its facts, and the same as the JSON text that is written."""

from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import Any

from lowproxy.core.cost import NANO, money
from lowproxy.core.eco_block import eco_fields, eco_members, six
from lowproxy.core.json_text import quoted
from lowproxy.core.record import KIND, UsageRecord


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
        facts["energy_wh"] = six(record.impact.energy_wh)
        facts["carbon_g"] = six(record.impact.carbon_g)
        facts["zone"] = record.impact.grid.zone
        # With bounds, method and version, grid reading and notes: enough to replay and to defend it.
        facts["eco"] = eco_fields(record.impact, full=True)
    if record.wasted is not None:
        facts["wasted_wh"] = round(record.wasted[0], 9)
        facts["wasted_g"] = round(record.wasted[1], 9)
    return facts


def access_texts(records: Iterable[UsageRecord]) -> list[bytes]:
    """The members of each one's `access_facts` as JSON, without the braces."""
    lines = []
    for names, alike in groupby(records, _NAMES):
        before, after = _known.get(names) or _named(names)
        for record in alike:
            # In one go: to read a field by its name costs as much as three by their places.
            own: Any = record[_OWN]
            first_ms, took_ms, usage, impact, tried, _, wasted, cost_nano, cost, _ = own
            timed = counted = priced = weighed = lost = b""
            if first_ms is not None:
                timed = b',"first_byte_ms":%.1f' % first_ms
            if usage is not None:
                counted = _COUNTED % usage[:2]
                if usage[2]:
                    counted += b',"cached_tokens":%d' % usage[2]
            if cost_nano is not None:
                priced = b',"cost":' + (cost or money(cost_nano)).encode()
            if impact is not None:
                weighed = b"," + eco_members(impact)
            if wasted is not None:
                lost = b',"wasted_wh":%.9f,"wasted_g":%.9f' % wasted
            lines.append(
                _LINE
                % (
                    record[0].encode(),
                    before,
                    len(tried),
                    took_ms,
                    after,
                    timed,
                    counted,
                    priced,
                    weighed,
                    lost,
                )
            )
    return lines


# Of bytes, since that is how a float is rendered with the least ado.
_LINE = b'"generation_id":"%b",%b%d,"duration_ms":%.1f%b%b%b%b%b%b'
_COUNTED = b',"prompt_tokens":%d,"completion_tokens":%d'
# Key, HTTP status and kind of a record, by which requests of one caller to one place are alike.
_NAMES = itemgetter(slice(4, KIND.stop))
# What follows them.
_OWN = slice(KIND.stop, None)
_known: dict[tuple[Any, ...], tuple[bytes, bytes]] = {}
_MOST_KNOWN = 4096


def _named(names: tuple[Any, ...]) -> tuple[bytes, bytes]:
    """The members before the number of attempts, and those behind the duration, of such records."""
    key_id, http_status, endpoint, provider, model, region, streamed, *rest = names
    status, error, _ = rest
    before = (
        f'"endpoint":"{endpoint}","http_status":{http_status},"status":"{status}"'
        f',"streamed":{"true" if streamed else "false"},"attempts":'
    )
    after = "" if error is None else f',"error":"{error}"'
    if key_id is not None:
        after += f',"key":{quoted(key_id)}'
    if provider is not None:
        after += f',"model":{quoted(model or "")},"provider":{quoted(provider)}'
        after += f',"region":{quoted(region or "")}'
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    known = _known[names] = before.encode(), after.encode()
    return known
