"""Markdown tables from raw files. Nothing is measured here."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.load.bars import BARS
from benchmarks.load.figures import (
    STRANGERS,
    Run,
    calls_per_event,
    kib_per_stream,
    waits_per_event,
)
from benchmarks.micro.table import stage_table

# `tables` are all of the files that the mark names, `bounds` the gateway against its bounds, `beside` all
# proxies by what they cost over nginx.
MARK = re.compile(
    r"(<!-- (tables|bounds|beside): ([^>]*?) -->\n).*?(<!-- /\2 -->)", re.DOTALL
)


def tables(files: list[dict[str, Any]]) -> str:
    """All tables of one run, or of several taken on one machine as if they were one."""
    run = Run(files)
    bounds = bars(run)
    parts = [head(files), disturbance(run), bounds and f"### Bounds\n\n{bounds}"]
    for name, workload in run.workloads.items():
        parts.append(syscalls(run, name) if workload["syscalls"] else cost(run, name))
    parts += [memory(run)]
    return "\n\n".join(part for part in parts if part) + "\n"


def renewed(text: str, results: Path) -> str:
    """The text with the tables between its marks made anew from the files the marks name."""

    def again(match: re.Match[str]) -> str:
        names = match[3].split()
        files = [json.loads((results / name).read_text()) for name in names]
        if match[2] != "tables":
            run = Run(files)
            shown = [head(files), bars(run) if match[2] == "bounds" else beside(run)]
            return "\n".join([match[1], "\n\n".join(shown), "", match[4]])
        shown = [
            f"{head([file])}\n\n{stage_table(file)}\n"
            for file in files
            if "stages" in file
        ]
        if runs := [file for file in files if "rounds" in file]:
            shown.append(tables(runs))
        return "\n".join([match[1], *shown, match[4]])

    return MARK.sub(again, text)


def spread(values: Iterable[float], digits: int = 1) -> str:
    """Median and range, `12.3 (11.0-14.8)`; a dash where there is nothing."""
    found = sorted(values)
    if not found:
        return "-"
    middle = f"{median(found):.{digits}f}"
    if len(found) == 1:
        return middle
    return f"{middle} ({found[0]:.{digits}f}-{found[-1]:.{digits}f})"


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    """A markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# ---- the tables ----


def head(files: list[dict[str, Any]]) -> str:
    """Machine, versions and commit of each file, once where they are the same."""
    told = []
    for file in files:
        m, v = file["machine"], file["versions"]
        kind = "virtual cores" if m["virtual"] else "cores"
        rounds = f", {len(file['rounds'])} rounds" if "rounds" in file else ""
        named = ", ".join(f"{name} {value}" for name, value in v.items() if value)
        told.append(
            f"{file['date']}, commit {file['commit']}{rounds}. "
            f"{m['cores']} {kind} of {m['cpu']}, {m['memory_gib']} GiB; {m['system']}, "
            f"Linux {m['kernel']}. {named}."
        )
    return "\n\n".join(dict.fromkeys(told))


def disturbance(run: Run) -> str:
    """A warning where other processes took part of the cores; else nothing."""
    disturbed, every = run.disturbed()
    if not disturbed:
        return ""
    return (
        f"{disturbed} of {every} measurements were disturbed: other processes took more than "
        f"{STRANGERS:.0%} of a core meanwhile."
    )


def bars(run: Run) -> str:
    """The gateway against its bounds; empty where it did not take part."""
    rows = []
    for bar in BARS:
        values = bar.figures(run)
        if values:
            worst = "over" if median(values) > bar.must else "within"
            verdict = "goal met" if median(values) <= bar.goal else worst
            must, goal = f"{bar.must:g}{bar.unit}", f"{bar.goal:g}{bar.unit}"
            rows.append([bar.what, must, goal, spread(values, bar.digits), verdict])
    if not rows:
        return ""
    header = ["bounds", "must be at most", "goal", "measured", "verdict"]
    return table(header, rows)


def beside(run: Run) -> str:
    """CPU of every proxy over nginx's in the same round, a column for each workload."""
    names = [name for name, w in run.workloads.items() if not w["syscalls"]]
    rows = [
        [proxy, *(spread(run.ratios(proxy, name, "cpu_us"), 2) for name in names)]
        for proxy in run.proxies
        if proxy != "direct"
    ]
    return table(["CPU, x nginx", *names], rows)


def cost(run: Run, name: str) -> str:
    """CPU, ratio, times and errors of one workload for every proxy."""
    workload = run.workloads[name]
    unit, times = workload["unit"], workload["times"]
    rate = "events_per_s" if unit == "event" else "answers_per_s"
    header = ["proxy", f"CPU us/{unit}", "x nginx", f"{unit}s/s", "core busy"]
    header += [f"{times.replace('_', ' ')}: p50", "p90", "p99", "p99.9"]
    header += ["resident MiB", "errors"]
    rows = [
        [
            proxy,
            spread(run.at(proxy, name, "cpu_us")),
            spread(run.ratios(proxy, name, "cpu_us"), 2),
            spread(run.at(proxy, name, rate), 0),
            spread(run.at(proxy, name, "cpu_busy"), 2),
            spread(run.at(proxy, name, f"{times}.p50"), 0),
            spread(run.at(proxy, name, f"{times}.p90"), 0),
            spread(run.at(proxy, name, f"{times}.p99"), 0),
            spread(run.at(proxy, name, f"{times}.p999"), 0),
            spread(kib / 1024 for kib in run.at(proxy, name, "during_kib")),
            errors(run, proxy, name),
        ]
        for proxy in run.proxies
        if run.at(proxy, name, rate)
    ]
    return f"### {name}: {workload['what']}\n\n" + table(header, rows) if rows else ""


def errors(run: Run, proxy: str, workload: str) -> str:
    """What went wrong over all rounds: `0`, or each kind with its number."""
    kinds: Counter[str] = Counter()
    for one in run.rounds:
        load = run.load(one, proxy, workload) or {}
        kinds.update(load.get("errors", {}))
        kinds["with_retry_after"] += load.get("retry_after", 0)
    told = [f"{number} {kind}" for kind, number in kinds.items() if number]
    return ", ".join(told) or "0"


def syscalls(run: Run, name: str) -> str:
    """System calls per event, the frequent ones by name."""
    rows = []
    for proxy in run.proxies:
        loads = [x for one in run.rounds if (x := run.load(one, proxy, name))]
        if not loads:
            continue
        names = dict.fromkeys(call for load in loads for call in load["syscalls"])
        shares = {
            call: median(x["syscalls"].get(call, 0) / x["events"] for x in loads)
            for call in names
        }
        which = [f"{call} {share:.3f}" for call, share in shares.items()]
        often = [told for told in which if not told.endswith(("0.000", "0.001"))]
        calls, waits = calls_per_event, waits_per_event
        row = [proxy, *(spread(run.each(proxy, name, f), 3) for f in (calls, waits))]
        rows.append(
            [*row, spread(run.at(proxy, name, "events_per_s"), 0), ", ".join(often)]
        )
    if not rows:
        return ""
    header = ["proxy", "calls per event", "waits per event", "events/s", "which"]
    return f"### {name}: {run.workloads[name]['what']}\n\n" + table(header, rows)


def memory(run: Run) -> str:
    """Resident memory: started, after the first requests, at most; and per open stream."""
    header = ["proxy", "fresh MiB", "idle MiB", "peak MiB"]
    many = [n for n in run.workloads if n.partition("@")[0] == "S3"]
    header += [f"KiB per stream, {n}" for n in many]
    rows = []
    for proxy in run.proxies:
        visits = [one[proxy] for one in run.rounds if "idle_kib" in one.get(proxy, {})]
        if not visits:
            continue
        row = [proxy]
        for field in ("fresh_kib", "idle_kib", "peak_kib"):
            row.append(spread(visit[field] / 1024 for visit in visits))
        row += [spread(run.each(proxy, name, kib_per_stream)) for name in many]
        rows.append(row)
    return "### Memory\n\n" + table(header, rows) if rows else ""
