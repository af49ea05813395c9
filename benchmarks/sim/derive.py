"""Makes `grid.json` and `requests.json` from the published figures, which are not in this repository.

    python -m benchmarks.sim.derive FOLDER

FOLDER holds, under the names in ZONES, hourly generation by fuel as its publishers or those who passed it on
give it, and `conversation.csv` and `conversation.png` of the Azure LLM inference traces (see README.md).
Intensity is worked out as it is for live sources: `lowproxy.core.grid_mix`, life cycle, imports left out.
"""

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from lowproxy.core.grid_mix import OTHER, lifecycle

HERE = Path(__file__).parent
HOURS = 7 * 24
BINS, ANSWERS = 20, 10  # of prompts by length, of answers within each
# The trace of 2024 begins on Sunday the 12th of May: the weeks begin on Sundays too.
MAY = datetime(2020, 5, 10, tzinfo=UTC)
NOVEMBER = datetime(2020, 11, 8, tzinfo=UTC)
_FUELS = {
    "coal": ("coal", "Fossil Hard coal", "COL"),
    "gas": ("nat_gas", "Fossil Gas", "NG"),
    "oil": ("oil", "Fossil Oil", "OIL"),
    "nuclear": ("nuclear", "Nuclear", "NUC"),
    "hydro": (
        "hydro",
        "Hydro Run-of-river and poundage",
        "Hydro Water Reservoir",
        "WAT",
    ),
    "solar": ("solar", "Solar", "SUN"),
    "wind": ("wind", "Wind Onshore", "Wind Offshore", "WND"),
    "biomass": ("biomass", "Biomass"),
    "geothermal": ("geothermal",),
    OTHER: ("other", "unknown", "Other", "Waste", "OTH"),
}
_FUEL_OF = {name: fuel for fuel, names in _FUELS.items() for name in names}


class Zone(NamedTuple):
    """A file, and by how many days its weeks are later: 2022 where there is no 2020."""

    file: str
    later_days: int = 0


ZONES = {
    "DE": Zone("DE.csv"),
    "FR": Zone("FR.csv"),
    "GB": Zone("GB.csv"),
    "SE": Zone("SE.csv"),
    "US-CAL-CISO": Zone("CISO.csv"),
    "US-MIDA-PJM": Zone("PJM.csv"),
    "US-NE-ISNE": Zone("ISNE.csv"),
    "US-NW-BPAT": Zone("BPAT.csv", 728),
    "US-NY-NYIS": Zone("NYIS.csv", 728),
    "US-TEX-ERCO": Zone("ERCO.csv"),
}


def week(folder: Path, zone: Zone, begin: datetime) -> list[float]:
    """Grams per kWh for each hour, one decimal; an hour that is missing is as the one before."""
    first = begin + timedelta(days=zone.later_days)
    mixes: dict[int, list[Mapping[str, float]]] = {}
    with (folder / zone.file).open(newline="") as file:
        for at, row in _rows(file):
            hour = int((at - first).total_seconds() // 3600)
            if 0 <= hour < HOURS:
                mixes.setdefault(hour, []).append(row)
    found: list[float] = []
    for hour in range(HOURS):
        if hour in mixes:
            found.append(round(mean(lifecycle(mix) for mix in mixes[hour]), 1))
        else:
            found.append(found[-1])
    return found


def _rows(file: Any) -> Iterator[tuple[datetime, dict[str, float]]]:
    for row in csv.DictReader(file):
        stamp = row.get("UTC time") or row.get("timestamp") or row.get("") or ""
        if not stamp[:4].isdigit():
            stamp = row.get("UTC time") or ""
        mix: dict[str, float] = {}
        for name, value in row.items():
            fuel = _FUEL_OF.get(name)
            if fuel is not None and value:
                mix[fuel] = mix.get(fuel, 0.0) + float(value)
        at = datetime.fromisoformat(stamp)
        yield (at if at.tzinfo else at.replace(tzinfo=UTC)), mix


def rates(png: Path) -> list[float]:
    """Requests per minute for each hour of the week, read off the drawn line; rounded to ten.

    The axes stand at known pixels: x 74 to 1471 is the week, y 404 is 0 and 61 is 5000.
    """
    from matplotlib.image import imread  # only here: reading needs no drawing

    image = imread(png)
    blue = abs(image[:, :, :3] - [31 / 255, 119 / 255, 180 / 255]).max(axis=2) < 0.1
    hourly = []
    for hour in range(HOURS):
        left, right = (74 + 1397 * h / HOURS for h in (hour, hour + 1))
        heights = []
        for x in range(round(left) + 1, round(right) + 1):
            ys = [y for y in range(33, 404) if blue[y, x]]
            if ys:
                heights.append((404 - (ys[0] + ys[-1]) / 2) / 343 * 5000)
        hourly.append(round(mean(heights), -1))
    return hourly


def lengths(path: Path) -> list[tuple[int, int]]:
    """Tokens of prompt and answer: 200 pairs of equal weight that keep how the two go together."""
    with path.open(newline="") as file:
        pairs = sorted(
            (int(row["ContextTokens"]), int(row["GeneratedTokens"]))
            for row in csv.DictReader(file)
        )
    found = []
    for n in range(BINS):
        part = pairs[len(pairs) * n // BINS : len(pairs) * (n + 1) // BINS]
        prompt = round(mean(each for each, _ in part))
        answers = sorted(each for _, each in part)
        for m in range(ANSWERS):
            some = answers[len(part) * m // ANSWERS : len(part) * (m + 1) // ANSWERS]
            found.append((prompt, max(1, round(mean(some)))))
    return found


def main() -> None:
    """Writes both files."""
    folder = Path(sys.argv[1])
    weeks = {
        name: {zone: week(folder, each, begin) for zone, each in ZONES.items()}
        for name, begin in (("may", MAY), ("november", NOVEMBER))
    }
    _write("grid.json", {"unit": "gCO2e/kWh, life cycle", "weeks": weeks})
    found = {
        "per_minute": rates(folder / "conversation.png"),
        "tokens": lengths(folder / "conversation.csv"),
    }
    _write("requests.json", found)


def _write(name: str, value: object) -> None:
    text = json.dumps(value, separators=(",", ":")).replace('],"', '],\n"')
    (HERE / name).write_text(text + "\n")


if __name__ == "__main__":
    main()
