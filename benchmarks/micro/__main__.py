"""Times every stage by itself: `python -m benchmarks.micro`, from the repository's root.

Nanoseconds are the best of several repetitions. Units are of one `orjson.loads` of a 215-byte chat request,
timed immediately before each repetition: the median of the ratios, which a machine that is busy with something
else disturbs least, and which can be laid beside another machine's.
"""

import argparse
import asyncio
import datetime
import json
import statistics
import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import uvloop

from benchmarks.load import machine
from benchmarks.load.proxies import CALLER_KEY, UPSTREAM_KEY, Place, lowproxy_config
from benchmarks.micro.decisions import decisions
from benchmarks.micro.stages import UNIT_BODY, stages
from benchmarks.micro.table import stage_table
from lowproxy.catalogue import open_config
from lowproxy.logs import set_up
from lowproxy.server.app import running
from lowproxy.server.parts import Parts

RESULTS = Path(__file__).resolve().parents[1] / "results"
REPEATS = 9
PAIRS = 25
SLICE_S = 0.02


def best_ns(call: Callable[[], object], repeats: int = REPEATS) -> float:
    """Nanoseconds of one call: the least disturbed of the repetitions."""
    timer = timeit.Timer(call)
    number = 1
    while (took_s := timer.timeit(number)) < SLICE_S / 4:
        number *= 4
    number = max(1, int(number * SLICE_S / took_s))
    return min(timer.repeat(repeats, number)) / number * 1e9


def in_pairs(
    call: Callable[[], object], unit: Callable[[], object], pairs: int = PAIRS
) -> tuple[float, float, float]:
    """Least nanoseconds of the call and of the unit, and the median of their ratios, slice by slice."""
    timers = timeit.Timer(call), timeit.Timer(unit)
    numbers = [1, 1]
    for i, timer in enumerate(timers):
        while timer.timeit(numbers[i]) < SLICE_S / 8:
            numbers[i] *= 2
    found = []
    for _ in range(pairs):
        unit_s = timers[1].timeit(numbers[1]) / numbers[1]
        found.append((timers[0].timeit(numbers[0]) / numbers[0], unit_s))
    ratio = statistics.median(took_s / unit_s for took_s, unit_s in found)
    took, least = (min(each) * 1e9 for each in zip(*found, strict=True))
    return took, least, ratio


def measured(parts: Parts) -> dict[str, Any]:
    """Every stage's time, and the least time of the unit."""
    units, rows = [], []
    for stage in [*stages(parts), *decisions()]:
        ns, unit_ns, ratio = in_pairs(stage.call, lambda: orjson.loads(UNIT_BODY))
        units.append(unit_ns)
        rows.append(
            {
                "name": stage.name,
                "per": stage.per,
                "ns": round(ns / stage.times, 1),
                "units": round(ratio / stage.times, 3),
            }
        )
    return {**machine.facts(), "unit_ns": round(min(units), 1), "stages": rows}


async def with_gateway(folder: Path) -> dict[str, Any]:
    """The stages with the parts of a gateway that is up, and idle."""
    file = folder / "lowproxy.toml"
    file.write_text(lowproxy_config(Place(0, 0, folder, "http://127.0.0.1:9")))
    secrets = {"LOWROUTER_API_KEY": CALLER_KEY, "BENCH_UPSTREAM_KEY": UPSTREAM_KEY}
    secrets["STATE_DIRECTORY"] = str(folder)
    with (folder / "access.log").open("w") as log:
        flush = set_up("json", log, batched=True)
        async with running(*open_config(file, secrets)) as gateway:
            found = measured(gateway.parts)
        flush()
        return found


def main() -> int:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="the raw file (default: in results/)")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        found = runner.run(with_gateway(Path(folder)))
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d-%H%M")
    out = options.out or RESULTS / f"micro-{now}.json"
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(stage_table(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
