"""The `eco` object of a response, made from an impact."""

from typing import Any

import orjson

from lowproxy.core.eco import EcoImpact, Reading
from lowproxy.core.eco_accuracy import DEMO
from lowproxy.core.eco_outcomes import UPSTREAM_CACHE


def eco_fields(impact: EcoImpact, full: bool = False) -> dict[str, Any]:
    """The contract's five fields, and with `full` all that is known.

    Numbers have six significant digits; what is unknown is absent. `notes` is in the
    short form only where it says that the answer is a demonstration, or why it took nothing.
    """
    fields: dict[str, Any] = {
        "energy_wh": six(impact.energy_wh),
        "carbon_g": six(impact.carbon_g),
        "carbon_per_1k_tokens_g": six(impact.carbon_per_1k_tokens_g),
        "accuracy": impact.accuracy,
        "methodology_version": impact.methodology_version,
    }
    if full:
        fields.update(_provenance(impact))
    elif notes := _must_say(impact):
        fields["notes"] = notes
    return fields


def eco_text(impact: EcoImpact, full: bool = False) -> str:
    """`eco_fields` as JSON. What requests to one model at one place have in common is rendered once."""
    if impact.reading is not None:
        return orjson.dumps(eco_fields(impact, full)).decode()
    energy, low, high, carbon, carbon_low, carbon_high = impact[:6]
    tokens = impact.tokens
    total = tokens.prompt + tokens.completion
    quality, provenance = _common(impact)
    short = (
        f'{{"energy_wh":{energy:.6g},"carbon_g":{carbon:.6g},"carbon_per_1k_tokens_g":'
        f"{carbon / total * 1000 if total else 0.0:.6g},{quality}"
    )
    if not full:
        if energy and DEMO not in impact.notes:
            return short + "}"
        notes = _must_say(impact)
        return short + (f',"notes":{orjson.dumps(notes).decode()}}}' if notes else "}")
    embodied, water = impact.embodied_g, impact.water_ml
    embodied_g = "" if embodied is None else f',"embodied_g":{embodied:.6g}'
    water_ml = "" if water is None else f',"water_ml":{water:.6g}'
    return (
        f'{short},"energy_wh_low":{low:.6g},"energy_wh_high":{high:.6g}'
        f',"carbon_g_low":{carbon_low:.6g},"carbon_g_high":{carbon_high:.6g}'
        f"{embodied_g}{water_ml},{provenance}"
        f',"tokens":{{"prompt":{tokens.prompt},"cached":{tokens.cached}'
        f',"completion":{tokens.completion},"reasoning":{tokens.reasoning}}}}}'
    )


def _must_say(impact: EcoImpact) -> list[str]:
    return [note for note in impact.notes if note in (DEMO, UPSTREAM_CACHE)]


# By what they say; the grid is kept with it, since another could come to have its id.
_commons: dict[tuple[object, ...], tuple[str, str, object]] = {}
_MOST_COMMONS = 4096


def _common(impact: EcoImpact) -> tuple[str, str]:
    """JSON members that do not depend on the request: accuracy and version, and the provenance."""
    grid = impact.grid
    accuracy, version, notes = impact.accuracy, impact.methodology_version, impact.notes
    about = (impact.method, impact.pue, impact.boundary, impact.model_ref)
    key = (id(grid), accuracy, version, notes, about)
    known = _commons.get(key)
    if known is None:
        if len(_commons) >= _MOST_COMMONS:
            _commons.clear()
        fields = eco_fields(impact, full=True)
        first = {name: fields.pop(name) for name in ("accuracy", "methodology_version")}
        rest = {name: fields[name] for name in _COMMON if name in fields}
        texts = [orjson.dumps(each).decode()[1:-1] for each in (first, rest)]
        known = _commons[key] = (texts[0], texts[1], grid)
    return known[:2]


_COMMON = ("method", "pue", "boundary", "grid", "model_ref", "notes")


def six(value: float) -> float:
    """The value at six significant digits."""
    return float(f"{value:.6g}")


def _provenance(impact: EcoImpact) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "method": impact.method,
        "energy_wh_low": six(impact.energy_wh_low),
        "energy_wh_high": six(impact.energy_wh_high),
        "carbon_g_low": six(impact.carbon_g_low),
        "carbon_g_high": six(impact.carbon_g_high),
    }
    for name in ("embodied_g", "water_ml", "pue"):
        value = getattr(impact, name)
        if value is not None:
            fields[name] = six(value)
    fields["boundary"] = impact.boundary
    fields["grid"] = _grid(impact)
    fields["tokens"] = _tokens(impact)
    if impact.reading is not None:
        fields["measured"] = _measured(impact.reading)
    if impact.model_ref is not None:
        fields["model_ref"] = impact.model_ref
    if impact.notes:
        fields["notes"] = list(impact.notes)
    return fields


def _grid(impact: EcoImpact) -> dict[str, Any]:
    grid = impact.grid
    fields: dict[str, Any] = {
        "zone": grid.zone,
        "intensity_g_per_kwh": six(grid.grams_per_kwh),
        "kind": grid.kind,
        "factor": grid.factor,
        "source": grid.source,
        "at": grid.at,
        "live": grid.live,
    }
    fields = {name: value for name, value in fields.items() if value != ""}
    if grid.estimated is not None:
        fields["estimated"] = grid.estimated
    return fields


def _measured(reading: Reading) -> dict[str, Any]:
    """What the provider said, before it was scaled to the facility."""
    fields: dict[str, Any] = {
        "source": reading.source,
        "energy_wh": six(reading.energy_wh),
        "boundary": reading.boundary,
    }
    if reading.carbon_g is not None:
        fields["carbon_g"] = six(reading.carbon_g)
    if reading.zone is not None:
        fields["zone"] = reading.zone
    return fields


def _tokens(impact: EcoImpact) -> dict[str, int]:
    tokens = impact.tokens
    return {
        "prompt": tokens.prompt,
        "cached": tokens.cached,
        "completion": tokens.completion,
        "reasoning": tokens.reasoning,
    }
