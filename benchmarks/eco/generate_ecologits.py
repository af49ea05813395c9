"""Make the data files that come from the pinned EcoLogits package.

    python -m benchmarks.eco.generate_ecologits [--date 2026-10-14]

Writes `lowproxy/data/models_ecologits.json` and `lowproxy/data/grid_annual.json`, both
under the MPL-2.0 as the files that they are made from. Needs `ecologits` and, for the
country codes, `pycountry`; the gateway itself needs neither.
"""

import argparse
import json
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import pycountry

DATA = Path(__file__).resolve().parents[2] / "lowproxy" / "data"
HOME = "https://github.com/mlco2/ecologits"
OWID = "https://ourworldindata.org/grapher/carbon-intensity-electricity"
WRI = "https://www.wri.org/research/guidance-calculating-water-use-embedded-purchased-electricity"

# EcoLogits' provider keys in the words of our catalogue; its Hugging Face rows carry
# their own namespace.
NAMESPACES = {
    "openai": "openai/",
    "anthropic": "anthropic/",
    "mistralai": "mistral/",
    "google_genai": "google/",
    "cohere": "cohere/",
    "huggingface_hub": "",
}

# Groups that are not countries and have no ISO 3166 code.
GROUPS = {"WOR": "WOR", "EEE": "EU"}


def main() -> None:
    """Read the installed package, write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--date", default="2026-10-14", help="the package's release")
    date = parser.parse_args().date
    release = version("ecologits")
    write("models_ecologits.json", models(release, date))
    write("grid_annual.json", grid(release, date))


def models(release: str, date: str) -> dict[str, Any]:
    """Sizes, speeds and places of EcoLogits' models, by our ids."""
    raw = json.loads((files("ecologits") / "data/models.json").read_text())
    rows = {}
    for model in raw["models"]:
        rows[NAMESPACES[model["provider"]] + model["name"]] = model_row(model)
    aliases = {
        NAMESPACES[alias["provider"]] + alias["name"]: NAMESPACES[alias["provider"]]
        + alias["alias"]
        for alias in raw["aliases"]
    }
    return {
        "license": "MPL-2.0",
        "source": f"EcoLogits {release}, ecologits/data/models.json, {HOME}",
        "version": release,
        "date": date,
        "generated_by": "benchmarks/eco/generate_ecologits.py",
        "providers": providers(),
        "aliases": dict(sorted(aliases.items())),
        "models": dict(sorted(rows.items())),
    }


def model_row(model: dict[str, Any]) -> dict[str, Any]:
    """One model: `total` and `active` in billions, a number or [low, high]."""
    size = model["architecture"]["parameters"]
    if isinstance(size, dict) and "total" in size:
        total, active = ends(size["total"]), ends(size["active"])
    else:
        total = active = ends(size)
    row: dict[str, Any] = {"provider": model["provider"], "total": total}
    if active != total:
        row["active"] = active
    deployment = model["deployment"] or {}
    for name in ("tps", "ttft"):
        if deployment.get(name) is not None:
            row[name] = deployment[name]
    if model["warnings"]:
        row["notes"] = [note.removeprefix("model-") for note in model["warnings"]]
    row["source"] = (model["sources"] or [HOME])[0]
    return row


def providers() -> dict[str, Any]:
    """Where EcoLogits thinks each provider computes, with PUE and WUE (L/kWh)."""
    from ecologits.tracers.utils import PROVIDER_CONFIG_MAP

    return {
        name: {
            "zone": alpha_2(config.datacenter_location),
            "pue": ends(config.datacenter_pue),
            "wue": ends(config.datacenter_wue),
        }
        for name, config in sorted(PROVIDER_CONFIG_MAP.items())
    }


def ends(value: Any) -> Any:
    """A number, or [low, high] of EcoLogits' two kinds of range."""
    if isinstance(value, dict):
        return [value["min"], value["max"]]
    return [value.min, value.max] if hasattr(value, "min") else value


def grid(release: str, date: str) -> dict[str, Any]:
    """Grams and litres per kWh by country, from EcoLogits' electricity mixes."""
    raw = json.loads((files("ecologits") / "data/electricity_mixes.json").read_text())
    zones = {}
    for mix in raw["electricity_mixes"]:
        if mix["gwp"] <= 0:  # rounded away at the source; no grid is at zero
            continue
        row = {"iso3": mix["name"], "g": round(mix["gwp"] * 1000, 4)}
        # A country without a figure of its own carries the world's: that is unknown.
        if "electricity-mix-wue-world" not in (mix["warnings"] or ()):
            row["water_l"] = mix["wue"]
        zones[alpha_2(mix["name"])] = row
    return {
        "license": "MPL-2.0",
        "source": f"EcoLogits {release}, ecologits/data/electricity_mixes.json, {HOME}",
        "date": date,
        "generated_by": "benchmarks/eco/generate_ecologits.py",
        "label": "owid-ember",
        "at": "2025",
        "note": "The latest year that the source had at the package's release.",
        "factor": "lifecycle",
        "carbon_source": f"Our World in Data, from Ember (CC BY 4.0), {OWID}",
        "water_source": f"World Resources Institute (CC BY 4.0), {WRI}",
        "zones": dict(sorted(zones.items())),
    }


def alpha_2(iso3: str) -> str:
    """The two letters that grid zones are named by."""
    country: Any = pycountry.countries.get(alpha_3=iso3)
    return GROUPS.get(iso3) or str(country.alpha_2)


def write(name: str, content: dict[str, Any]) -> None:
    """One row a line, so that a new release shows as a readable difference."""
    lines = []
    for key, value in content.items():
        if isinstance(value, dict) and value:
            rows = ",\n".join(
                f"  {json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}"
                for k, v in value.items()
            )
            lines.append(f" {json.dumps(key)}: {{\n{rows}\n }}")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value)}")
    path = DATA / name
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
