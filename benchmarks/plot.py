"""Draws what the raw files hold; needs matplotlib, which nothing else here does.

    python benchmarks/plot.py benchmarks/results/FILE.json ... [--out FOLDER] [--format svg]

delay.svg    how the delay of an event is distributed (S2)
cpu.svg      CPU per event against the load (S2 and S2@N)
memory.svg   memory against open streams (S3 and S3@N)
stages.svg   where the time of a request and of an event goes (a file of benchmarks.micro)

A plot whose measurements are not in the files is not drawn.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load.figures import Run, grown_kib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUANTILES = {
    "p1": 0.01,
    "p10": 0.1,
    "p25": 0.25,
    "p50": 0.5,
    "p75": 0.75,
    "p90": 0.9,
    "p95": 0.95,
    "p99": 0.99,
    "p999": 0.999,
    "p9999": 0.9999,
}
Points = list[tuple[float, float]]


def delays(run: Run, proxy: str) -> Points:
    """(share of events, microseconds), medians of the rounds, under S2."""
    found = []
    for name, share in QUANTILES.items():
        if values := run.at(proxy, "S2", f"delay_us.{name}"):
            found.append((share, median(values)))
    return found


def costs(run: Run, proxy: str) -> Points:
    """(events a second, CPU microseconds per event), by load."""
    found = []
    for name in _family(run, "S2"):
        cpu = run.at(proxy, name, "cpu_us")
        if cpu:
            found.append((median(run.at(proxy, name, "events_per_s")), median(cpu)))
    return sorted(found)


def memories(run: Run, proxy: str) -> Points:
    """(open streams, MiB resident beyond idle), by number of streams."""
    found = []
    for name in _family(run, "S3"):
        if grown := run.each(proxy, name, grown_kib):
            streams = float(run.workloads[name]["connections"])
            found.append((streams, median(grown) / 1024))
    return sorted(found)


def _family(run: Run, base: str) -> list[str]:
    return [name for name in run.workloads if name.partition("@")[0] == base]


def lines(run: Run, points: Any) -> dict[str, Points]:
    """A line for every proxy that has more than one point."""
    found = {proxy: points(run, proxy) for proxy in run.proxies}
    return {proxy: line for proxy, line in found.items() if len(line) > 1}


# ---- drawing ----


def _figure(title: str, x: str, y: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(visible=True, alpha=0.3)
    return figure, axes


def draw_delay(found: dict[str, Points]) -> "Figure":
    """The delay's quantiles; the share is drawn by how few events are slower."""
    figure, axes = _figure(
        "Delay of an event, 200 streams x 50/s", "share of events", "microseconds"
    )
    for proxy, points in found.items():
        axes.plot(
            [1 / (1 - s) for s, _ in points], [us for _, us in points], label=proxy
        )
    axes.set(xscale="log", yscale="log")
    shown = (0.5, 0.9, 0.99, 0.999, 0.9999)
    axes.set_xticks([1 / (1 - s) for s in shown], [f"{s:.4g}" for s in shown])
    axes.legend()
    return figure


def draw_cost(found: dict[str, Points]) -> "Figure":
    """CPU per event: flat where doubling the streams doubles the cost and no more."""
    figure, axes = _figure("CPU per event against load", "events/s", "CPU us per event")
    for proxy, points in found.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=proxy)
    axes.set(xscale="log", ylim=(0, None))
    axes.legend()
    return figure


def draw_memory(found: dict[str, Points]) -> "Figure":
    """Resident memory beyond idle."""
    figure, axes = _figure("Memory against open streams", "streams", "MiB beyond idle")
    for proxy, points in found.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=proxy)
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.legend()
    return figure


def draw_stages(file: dict[str, Any]) -> "Figure":
    """One bar a stage."""
    figure, axes = _figure("Time of a stage", "units of one JSON parse", "")
    rows = file["stages"][::-1]
    names = [f"{row['name']} (per {row['per']})" for row in rows]
    axes.barh(names, [row["ns"] / file["unit_ns"] for row in rows])
    axes.set(xscale="log")
    return figure


def drawings(files: list[dict[str, Any]]) -> "dict[str, Figure]":
    """File name -> drawing, of all that the raw files allow."""
    run = Run([file for file in files if "rounds" in file])
    found: dict[str, Figure] = {}
    for name, points, draw in (
        ("delay", delays, draw_delay),
        ("cpu", costs, draw_cost),
        ("memory", memories, draw_memory),
    ):
        if drawn := lines(run, points):
            found[name] = draw(drawn)
    for file in files:
        if "stages" in file:
            found["stages"] = draw_stages(file)
    return found


def main(argv: list[str] | None = None) -> int:
    """Draw and say what was drawn."""
    about = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(description=about[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results"))
    parser.add_argument("--format", choices=("svg", "png"), default="svg")
    options = parser.parse_args(argv)
    try:
        figures = drawings([json.loads(file.read_text()) for file in options.files])
    except ModuleNotFoundError as missing:
        print(f"plots need {missing.name}: pip install {missing.name}", file=sys.stderr)
        return 1
    for name, figure in figures.items():
        to = options.out / f"{name}.{options.format}"
        # Without a date, the same figures make the same file.
        figure.savefig(to, metadata={"Date": None} if options.format == "svg" else None)
        print(to)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
