"""The `eco` object of a response, made from an impact."""

from typing import Any

from lowproxy.core.eco import EcoImpact, Reading
from lowproxy.core.eco_accuracy import DEMO


def eco_fields(impact: EcoImpact, full: bool = False) -> dict[str, Any]:
    """The contract's five fields, and with `full` all that is known.

    Numbers have six significant digits; what is unknown is absent. `notes` is in the
    short form only where it says that the answer is a demonstration.
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
    elif DEMO in impact.notes:
        fields["notes"] = [DEMO]
    return fields


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
