"""What can be asked for and who serves it: `GET /models`, `/models/{id}`, `/providers`."""

import time
from typing import Any

import orjson

from lowproxy.core.access import ApiKey
from lowproxy.core.aliases import meant
from lowproxy.core.eco_block import six
from lowproxy.core.grid_reading import moment
from lowproxy.core.upstreams import PSEUDO_MODELS, Candidate, region_matches
from lowproxy.core.vitals import CandidateHealth
from lowproxy.errors import UnknownModelError
from lowproxy.server.exchange import Exchange
from lowproxy.server.parts import Parts
from lowproxy.server.wire import Reply, Request, send

# OpenAI's list has a date of creation, ours has none to give: the epoch, as for its oldest models.
_CREATED = 0
_PSEUDO = {
    "lowrouter/auto": "the best of the pool for the request: carbon, then price",
    "lowrouter/auto-cheap": "the cheapest of the pool for the request: price, then carbon",
}


async def list_models(parts: Parts, request: Request, exchange: Exchange) -> Reply:
    """`GET /models`: what this key can route now, the pseudo-models first."""
    rows = [_pseudo_row(name, parts, exchange) for name in PSEUDO_MODELS]
    for model_id in sorted(parts.pool.by_model):
        candidates = _allowed(exchange.key, parts.pool.by_model[model_id])
        if candidates:
            rows.append(_row(model_id, candidates))
    for alias in sorted(parts.pool.aliases):
        if row := _alias_row(alias, parts, exchange):
            rows.append(row)
    return _send(request, exchange, {"object": "list", "data": rows})


async def get_model(parts: Parts, request: Request, exchange: Exchange) -> Reply:
    """`GET /models/{id}`: one row of the list; the id may hold a slash, plain or as %2F."""
    model_id = request.path.partition("/models/")[2]
    if model_id in PSEUDO_MODELS:
        return _send(request, exchange, _pseudo_row(model_id, parts, exchange))
    assert exchange.key is not None, "the door lets nobody in without a key"
    if model_id in parts.pool.aliases:
        if row := _alias_row(model_id, parts, exchange):
            return _send(request, exchange, row)
    elif model_id not in parts.pool.by_model:
        (model_id,) = meant(model_id, exchange.key, parts.pool)
    candidates = _allowed(exchange.key, parts.pool.by_model.get(model_id, ()))
    if not candidates:
        raise UnknownModelError(
            "no such model for this key; GET /api/v1/models lists those there are",
            param="model",
        )
    return _send(request, exchange, _row(model_id, candidates))


async def list_providers(parts: Parts, request: Request, exchange: Exchange) -> Reply:
    """`GET /providers`: upstreams, where they serve, their health, the grid there."""
    resting = parts.health.resting(exchange.began)
    seen = parts.health.view(exchange.began).candidates
    rows: dict[str, dict[str, Any]] = {}
    places: dict[str, dict[str, Any]] = {}
    for candidates in parts.pool.by_model.values():
        for candidate in _allowed(exchange.key, candidates):
            endpoint = candidate.endpoint
            row: dict[str, Any] = {"id": endpoint.provider.id, "endpoints": []}
            provider = rows.setdefault(endpoint.provider.id, row)
            place = places.get(endpoint.id)
            if place is None:
                place = places[endpoint.id] = _place(parts, candidate)
                provider["endpoints"].append(place)
            place["models"] += 1
            place["resting_models"] += candidate.id in resting
            if candidate.id in seen:
                health = _health(seen[candidate.id], exchange.began)
                place["health"].append({"model": candidate.model.id, **health})
    for provider in rows.values():
        regions = {place["region"] for place in provider["endpoints"]}
        provider["regions"] = sorted(regions)
    data = [rows[name] for name in sorted(rows)]
    return _send(request, exchange, {"object": "list", "data": data})


def _place(parts: Parts, candidate: Candidate) -> dict[str, Any]:
    endpoint = candidate.endpoint
    grid = parts.scales.reading(endpoint)
    reading: dict[str, Any] = {
        "zone": grid.zone,
        "intensity_g_per_kwh": six(grid.grams_per_kwh),
        "factor": grid.factor,
        "at": grid.at,
        "source": grid.source,
        "live": grid.live,
    }
    if grid.live:
        reading["age_s"] = round(time.time() - moment(grid.at))
    return {
        "id": endpoint.id,
        "region": endpoint.region,
        "region_provenance": endpoint.provenance,
        "grid": reading,
        "models": 0,
        "resting_models": 0,
        "health": [],  # of the models that were asked for lately
    }


def _health(seen: CandidateHealth, now: float) -> dict[str, Any]:
    told: dict[str, Any] = {"state": seen.state, "failures": seen.failures}
    if seen.error_rate is not None:
        told["error_rate"] = round(seen.error_rate, 3)
    if seen.first_byte_s is not None:
        told["first_byte_s"] = six(seen.first_byte_s)
    if seen.duration_s is not None:
        told["duration_s"] = six(seen.duration_s)
    if seen.resting_until is not None:
        told["rests_for_s"] = round(max(0.0, seen.resting_until - now), 1)
    return told


def _allowed(key: ApiKey | None, candidates: tuple[Candidate, ...]) -> list[Candidate]:
    assert key is not None, "the door lets nobody in without a key"
    return [
        c
        for c in candidates
        if key.allows_model(c.model.id)
        and key.allows_provider(c.endpoint.provider.id)
        and (key.region is None or region_matches(c.endpoint.region, key.region))
    ]


def _row(model_id: str, candidates: list[Candidate]) -> dict[str, Any]:
    model = candidates[0].model
    grams = [c.carbon_g_per_1k for c in candidates if c.carbon_g_per_1k is not None]
    row: dict[str, Any] = {
        "id": model_id,
        "object": "model",
        "created": _CREATED,
        "owned_by": model_id.partition("/")[0],
        "context_length": model.context_length,
        "architecture": {
            "input_modalities": ["text", "image"]
            if "vision" in model.capabilities
            else ["text"],
            "output_modalities": ["text"],
        },
        "supported_parameters": _parameters(model.capabilities),
        "regions": sorted({c.endpoint.region for c in candidates}),
        "providers": sorted({c.endpoint.provider.id for c in candidates}),
    }
    if model.price_prompt is not None and model.price_completion is not None:
        # OpenRouter's shape: strings, per token.
        row["pricing"] = {
            "prompt": _per_token(model.price_prompt),
            "completion": _per_token(model.price_completion),
            "currency": candidates[0].endpoint.provider.currency,
        }
    if grams:
        row["eco"] = {
            "carbon_per_1k_tokens_g": {"low": six(min(grams)), "high": six(max(grams))}
        }
    return row


def _alias_row(name: str, parts: Parts, exchange: Exchange) -> dict[str, Any] | None:
    """An alias looks like the first model it stands for; None where the key may use none of them."""
    assert exchange.key is not None, "the door lets nobody in without a key"
    rows: dict[str, dict[str, Any]] = {}
    for target in meant(name, exchange.key, parts.pool):
        candidates = _allowed(exchange.key, parts.pool.by_model.get(target, ()))
        if target in PSEUDO_MODELS:
            rows[target] = _pseudo_row(target, parts, exchange)
        elif candidates:
            rows[target] = _row(target, candidates)
    first = next(iter(rows.values()), None)
    return {**first, "id": name, "resolves_to": list(rows)} if first else None


def _pseudo_row(name: str, parts: Parts, exchange: Exchange) -> dict[str, Any]:
    pool = [
        c
        for model in parts.pool.auto
        for c in _allowed(exchange.key, parts.pool.by_model.get(model, ()))
    ]
    return {
        "id": name,
        "object": "model",
        "created": _CREATED,
        "owned_by": "lowrouter",
        "description": _PSEUDO[name],
        "regions": sorted({c.endpoint.region for c in pool}),
        "providers": sorted({c.endpoint.provider.id for c in pool}),
    }


def _parameters(capabilities: frozenset[str]) -> list[str]:
    extra = {
        "tools": ["tools", "tool_choice"],
        "structured_output": ["response_format", "structured_outputs"],
    }
    names = ["max_tokens", "stop", "temperature", "top_p"]
    for capability in sorted(capabilities):
        names += extra.get(capability, [])
    return sorted(names)


def _per_token(per_million: float) -> str:
    return f"{per_million / 1_000_000:.12f}".rstrip("0").rstrip(".") or "0"


def _send(request: Request, exchange: Exchange, value: object) -> Reply:
    exchange.http_status = 200
    return send(request, 200, exchange.answer_fields(), orjson.dumps(value))
