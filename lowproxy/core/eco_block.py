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
    if full:
        return _full(impact).decode()
    basis = impact.basis
    if basis.reading is not None:
        return orjson.dumps(eco_fields(impact)).decode()
    wording = basis.wording or _worded(impact)
    return (impact.told or _told(impact)).decode() + wording[1]


def eco_members(impact: EcoImpact) -> bytes:
    """What an access line has of an impact, as JSON members: energy, carbon, zone, and the full `eco` object."""
    eco = _full(impact)
    zone = (impact.basis.wording or _worded(impact))[3]
    # Energy and carbon are the first of its members: rendered once for both places.
    return eco[1 : eco.index(b',"carbon_per_1k')] + zone + eco


def _full(impact: EcoImpact) -> bytes:
    basis = impact.basis
    if basis.reading is not None:
        return orjson.dumps(eco_fields(impact, full=True))
    quality, _, common, _ = basis.wording or _worded(impact)
    embodied, water = impact.embodied_g, impact.water_ml
    prompt, completion, cached, reasoning, _ = impact.tokens
    return _FULL % (
        impact.told or _told(impact),
        quality,
        impact.energy_wh_low,
        impact.energy_wh_high,
        impact.carbon_g_low,
        impact.carbon_g_high,
        b"" if embodied is None else b',"embodied_g":%.6g' % embodied,
        b"" if water is None else b',"water_ml":%.6g' % water,
        prompt,
        cached,
        completion,
        reasoning,
        common,
    )


def _told(impact: EcoImpact) -> bytes:
    """The figures that every form begins with; kept, since the answer and the access line tell the same."""
    tokens, carbon = impact.tokens, impact.carbon_g
    total = tokens.prompt + tokens.completion
    each = carbon / total * 1000 if total else 0.0
    impact.told = told = _FIRST % (impact.energy_wh, carbon, each)
    return told


# Of bytes, since that is how a float is rendered with the least ado; and short, since all
# of it is read for every request.
_FIRST = b'{"energy_wh":%.6g,"carbon_g":%.6g,"carbon_per_1k_tokens_g":%.6g,'
_FULL = (
    b'%b%b,"energy_wh_low":%.6g,"energy_wh_high":%.6g,"carbon_g_low":%.6g'
    b',"carbon_g_high":%.6g%b%b,"tokens":{"prompt":%d,"cached":%d,"completion":%d'
    b',"reasoning":%d},%b'
)
# What follows the first figures in the full form, how the short form ends then, how the full one does; and
# the zone, as an access line has it before the object.
_Wording = tuple[bytes, str, bytes, bytes]
_COMMON = ("method", "pue", "boundary", "grid", "model_ref", "notes")


def _worded(impact: EcoImpact) -> _Wording:
    """What does not depend on the request; kept in the basis."""
    fields = eco_fields(impact, full=True)
    first = {name: fields[name] for name in ("accuracy", "methodology_version")}
    common = {name: fields[name] for name in _COMMON if name in fields}
    must_say = _must_say(impact)
    short = {**first, "notes": must_say} if must_say else first
    wording = impact.basis.wording = (
        orjson.dumps(first)[1:-1],
        orjson.dumps(short).decode()[1:],
        orjson.dumps(common)[1:],
        b',"zone":%b,"eco":' % orjson.dumps(impact.basis.grid.zone),
    )
    return wording


def _must_say(impact: EcoImpact) -> list[str]:
    return [note for note in impact.notes if note in (DEMO, UPSTREAM_CACHE)]


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
