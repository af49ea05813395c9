"""Plays the week: `python -m benchmarks.sim`, from the repository's root; a minute or two.

Writes the tables into `benchmarks/sim/README.md`, the picture beside it, and the raw figures into
`benchmarks/results/`.
"""

import argparse
import datetime
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.load import machine
from benchmarks.sim import cases, report

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
COUNT, SEEDS = 12_000, 3


def simulated(count: int, seeds: int) -> dict[str, Any]:
    """All cases, in weeks of as many seeds: `count` requests each side by side, fewer in the other cases."""
    some = range(1, seeds + 1)
    return {
        "requests_per_week": count,
        "seeds": seeds,
        "strategies": cases.side_by_side(count, some),
        "places": cases.other_places(count * 2 // 5, some),
        "weights": cases.other_weights(count // 4, some),
        "budgets": cases.with_budgets(count // 4, some),
    }


def main() -> int:
    """Play, keep, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=COUNT, help="a week")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--out", type=Path, default=HERE, help="of tables and picture")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    began = time.monotonic()
    found = simulated(options.requests, options.seeds)
    took_s = round(time.monotonic() - began, 1)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    raw = {"took_s": took_s, **machine.facts(), **found}
    file = options.results / f"{now}-sim.json"
    file.write_text(json.dumps(raw, indent=1) + "\n")
    made = report.tables(found)
    text = report.README.read_text()
    (options.out / "README.md").write_text(report.renewed(text, made))
    from benchmarks.sim.drawing import draw  # only here: playing needs no matplotlib

    draw(found, options.out / "week.svg")
    for table in made.values():
        print(table, end="\n\n")
    print(f"{took_s} s; raw figures: {file}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
