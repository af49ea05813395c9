"""An estimate taken apart: each step with its number, its unit and where it is from."""

import math
from collections.abc import Mapping
from typing import Any

import attrs

from lowproxy.core.eco import CarbonIntensity, Method, ModelFacts
from lowproxy.core.eco_block import six
from lowproxy.core.usage import Usage


@attrs.frozen
class Step:
    """One line of a derivation: a central value with its bounds."""

    name: str
    central: float
    low: float
    high: float
    unit: str
    how: str


@attrs.frozen
class Derivation:
    """From a model's facts to grams, step by step."""

    method: Method
    facts: ModelFacts
    grid: CarbonIntensity
    accuracy: str
    steps: tuple[Step, ...]

    def fields(self) -> dict[str, Any]:
        """For `--json`: each step's value, and `_low` and `_high` beside it."""
        fields: dict[str, Any] = {"methodology_version": self.method.version}
        for step in self.steps:
            fields[step.name] = six(step.central)
            fields[step.name + "_low"] = six(step.low)
            fields[step.name + "_high"] = six(step.high)
        fields["accuracy"] = self.accuracy
        fields["model"] = _model(self.facts)
        fields["grid"] = {
            "zone": self.grid.zone,
            "intensity_g_per_kwh": six(self.grid.grams_per_kwh),
            "source": self.grid.source,
            "at": self.grid.at,
        }
        return fields


def derive(
    method: Method,
    facts: ModelFacts,
    usage: Usage,
    grid: CarbonIntensity,
    pue: float | None = None,
) -> Derivation:
    """The steps of one estimate: GPUs, servers, facility, carbon."""
    rates = method.coefficients(facts, grid, pue)
    impact = rates.impact(usage)
    pue_used = impact.pue
    stages = rates.stages(usage)
    how = {
        "gpu_wh": "the accelerators' energy for these tokens",
        "it_wh": "with their servers"
        if stages["it_wh"] != stages["gpu_wh"]
        else "gpu_wh: no servers in the method",
        "energy_wh": _cooled(stages, pue_used),
    }
    steps = [Step(name, *values, "Wh", how[name]) for name, values in stages.items()]
    intensity = f"{six(grid.grams_per_kwh):g} g/kWh ({grid.source}, {grid.at})"
    carbon = impact.carbon_g, impact.carbon_g_low, impact.carbon_g_high
    steps.append(Step("carbon_g", *carbon, "g", f"energy_wh x {intensity} / 1000"))
    if (grams := impact.embodied_g) is not None:
        made = "making the hardware; not in carbon_g"
        steps.append(Step("embodied_g", grams, grams, grams, "g", made))
    if (water := impact.water_ml) is not None:
        used = "on site and in generation"
        steps.append(Step("water_ml", water, water, water, "ml", used))
    return Derivation(method, facts, grid, impact.accuracy, tuple(steps))


def _cooled(stages: Mapping[str, tuple[float, float, float]], pue: float | None) -> str:
    if pue is None:
        return "it_wh: no PUE in the method"
    if math.isclose(stages["it_wh"][0] * pue, stages["energy_wh"][0], rel_tol=1e-9):
        return f"it_wh x PUE {pue:g}"
    # A range of sizes and one of PUEs: the middle of the products is not the product.
    return "the middle of both ends, each its it_wh x its PUE"


def _model(facts: ModelFacts) -> dict[str, Any]:
    values = {
        "name": facts.name,
        "total_params_b": facts.total_params_b,
        "active_params_b": facts.active_params_b,
        "weight_bits": facts.weight_bits,
        "kv_kb": facts.kv_kb,
        "experts": facts.experts,
        "source": facts.source,
    }
    return {name: value for name, value in values.items() if value is not None}
