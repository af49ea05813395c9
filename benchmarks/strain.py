"""What a gateway does beyond its load: a slow reader among quick ones, and twice what a core carries.

    python -m benchmarks.strain            tables and verdicts; status 1 where one is not kept
    python -m benchmarks.strain --json     the figures
    python -m benchmarks.strain --rounds 1 --parts slow

slow      200 streams of 50 events a second, with and without one reader of 1 kB a second, in turn: the
          others' 99th percentile. Then 40 such readers: what is held for each, in the process (all that
          a stream takes counts) and in the kernel's buffers of both its connections.
doubling  CPU per event of 100, 200 and 400 streams, in turn.
overload  Unary requests by 32 times the callers that fill a core, and twice the streams that do: requests
          wait, none is cut, memory stops growing. Then with a `max_requests` that is passed: 503 with
          Retry-After, and again none is cut.
"""

import argparse
import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.load import process
from benchmarks.load.figures import is_disturbed
from benchmarks.load.proxies import PROXIES, Place, Start
from benchmarks.load.rig import Rig, call, rig, say
from benchmarks.load.workloads import WORKLOADS, Workload, named

GATEWAY = PROXIES["lowproxy"]
READERS = 40
START_LIMIT_S = 60
LOOK_S = 0.25
RETRIES = 2
MOST_REQUESTS = 64
# What a part may show at most;
MOST = {
    "p99 beside a slow reader, over without": 2.0,
    "held for a slow reader, KiB": 256.0,
    "CPU per event, 200 streams over 100": 1.1,
    "CPU per event, 400 streams over 200": 1.1,
    "cut": 0.0,
    "failed otherwise": 0.0,
    "503 without Retry-After": 0.0,
    "memory, second half of the overload over the first": 1.1,
}
Figures = dict[str, float]


def main(argv: list[str] | None = None) -> int:
    """Measures and prints; 1 where a figure is beyond what it may be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    found: dict[str, Figures] = {}
    with rig(tls=False) as where:
        for name in options.parts.split(","):
            found |= PARTS[name](where, options.rounds)
    if options.json:
        print(json.dumps(found))
    else:
        print("| part | figure | found | at most | verdict |")
        print("| --- | --- | --- | --- | --- |")
        for part, name, value in each(found):
            most, verdict = MOST.get(name), ""
            if most is not None:
                verdict = "over" if value > most else "within"
            at_most = "" if most is None else f"{most:g}"
            print(f"| {part} | {name} | {value:.4g} | {at_most} | {verdict} |")
    over = [name for _, name, value in each(found) if value > MOST.get(name, value)]
    return int(bool(over))


def each(found: dict[str, Figures]) -> Iterator[tuple[str, str, float]]:
    """Part, figure and value."""
    for part, figures in found.items():
        for name, value in figures.items():
            yield part, name, value


# ---- the parts ----


def slow(where: Rig, rounds: int) -> dict[str, Figures]:
    """A slow reader: what it costs the others, and what is held for it."""
    alone, beside = WORKLOADS["S2"], replace(WORKLOADS["S2"], name="slow", slow=1)
    ratios = []
    with _started(where) as up:
        for number in range(rounds):
            loads = (alone, beside) if number % 2 else (beside, alone)
            p99 = {w.name: up.steady(w)["delay_us"]["p99"] for w in loads}
            say(f"slow {number + 1}: {p99}")
            ratios.append(p99["slow"] / p99["S2"])
    # One quick stream and many slow readers, for long enough that all buffers are full.
    many = replace(WORKLOADS["S2L"], connections=1, slow=READERS, window_ms=4000)
    with _started(where) as up:
        before_kib = process.memory_kib(up.pids)
        looks = up.watched(many)
    in_process = (max(look.kib for look in looks) - before_kib) / READERS
    in_kernel = max(look.kernel_bytes for look in looks) / READERS / 1024
    return {
        "slow reader": {
            "p99 beside a slow reader, over without": median(ratios),
            "rounds": rounds,
            "held for a slow reader, KiB": in_process,
            "beside it in the kernel's buffers, KiB": in_kernel,
        }
    }


def doubling(where: Rig, rounds: int) -> dict[str, Figures]:
    """What an event costs as streams double."""
    ratios: dict[str, list[float]] = {
        "200 streams over 100": [],
        "400 streams over 200": [],
    }
    with _started(where) as up:
        for number in range(rounds):
            order = (100, 200, 400) if number % 2 else (400, 200, 100)
            cpu = {n: up.steady(named(f"S2@{n}"))["cpu_us"] for n in order}
            say(f"doubling {number + 1}: {cpu}")
            ratios["200 streams over 100"].append(cpu[200] / cpu[100])
            ratios["400 streams over 200"].append(cpu[400] / cpu[200])
    return {"doubling": {f"CPU per event, {n}": median(r) for n, r in ratios.items()}}


def overload(where: Rig, rounds: int) -> dict[str, Figures]:
    """Twice what a core carries, and more requests than are let in."""
    del rounds  # nothing here is a matter of noise
    found = {}
    with _started(where) as up:
        events_per_s = 1e6 / up.steady(WORKLOADS["S2"])["cpu_us"]
        streams = int(2 * events_per_s / 50)
        twice = replace(WORKLOADS["OVER"], connections=streams, window_ms=6000)
        found[f"overload, {streams} streams x 50/s"] = up.overloaded(twice)
    with _started(where) as up:
        unary = replace(WORKLOADS["U"], connections=1024, window_ms=6000)
        found["overload, unary, 1024 callers"] = up.overloaded(unary)
    with _started(where, f"max_requests = {MOST_REQUESTS}") as up:
        unary = replace(WORKLOADS["U"], connections=1024, window_ms=4000)
        name = f"overload, unary, 1024 callers, max_requests = {MOST_REQUESTS}"
        found[name] = up.overloaded(unary)
    return found


PARTS: dict[str, Callable[[Rig, int], dict[str, Figures]]] = {
    "slow": slow,
    "doubling": doubling,
    "overload": overload,
}


# ---- a gateway that is up ----


@dataclass(frozen=True)
class Look:
    """Resident memory of the gateway, and bytes that wait in the buffers of its connections."""

    kib: int
    kernel_bytes: int


@dataclass(frozen=True)
class Up:
    """A running gateway."""

    where: Rig
    place: Place
    pids: list[int]

    def load(self, load: Workload) -> dict[str, Any]:
        """The load generator's figures. Raises RuntimeError where it gave none."""
        at = f"http://127.0.0.1:{self.place.port}"
        figures = call(self.where, GATEWAY, load, at, self.pids)
        process.settle(self.pids)
        if "failed" in figures:
            raise RuntimeError(f"{load.name}: {figures['failed']}")
        return figures

    def steady(self, load: Workload) -> dict[str, Any]:
        """The same; taken again, a few times at most, while other processes keep the cores busy."""
        for _ in range(RETRIES):
            figures = self.load(load)
            if not is_disturbed(figures):
                return figures
        return self.load(load)

    def watched(self, load: Workload) -> list[Look]:
        """A look now and then while the load is on."""
        return self._watched(load)[1]

    def overloaded(self, load: Workload) -> Figures:
        """What became of the requests, and of the memory."""
        figures, looks = self._watched(load)
        errors = figures["errors"]
        refused, gone = errors["refused_503"], errors["cut"] + errors["no_connection"]
        # Once the callers have all come: before, memory grows with them.
        begun = int((load.warm_ms + load.ramp_ms) / 1000 / LOOK_S)
        kib = [look.kib for look in looks[begun:]]
        half = len(kib) // 2
        unit = "event" if load.streams else "answer"
        return {
            f"{unit}s/s": figures[f"{unit}s_per_s"],
            "core busy": figures["cpu_busy"],
            "cut": gone,
            "503 with Retry-After": figures["retry_after"],
            "503 without Retry-After": refused - figures["retry_after"],
            "failed otherwise": sum(errors.values()) - refused - gone,
            "latency p99, ms": figures["latency_us"]["p99"] / 1000,
            "memory, MiB": max(kib) / 1024,
            "memory, second half of the overload over the first": max(kib[half:])
            / max(kib[:half]),
        }

    def _watched(self, load: Workload) -> tuple[dict[str, Any], list[Look]]:
        looks: list[Look] = []
        over = threading.Event()

        def watch() -> None:
            while not over.wait(LOOK_S):
                looks.append(Look(process.memory_kib(self.pids), self._kernel_bytes()))

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            figures = self.load(load)
        finally:
            over.set()
            watching.join()
        return figures, looks

    def _kernel_bytes(self) -> int:
        """Unsent to callers and unread from the provider."""
        provider = int(self.where.provider.rpartition(":")[2])
        total = 0
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, _, queues, *_ = line.split()
            unsent, unread = (int(part, 16) for part in queues.split(":"))
            if int(local.rpartition(":")[2], 16) == self.place.port:
                total += unsent
            elif int(remote.rpartition(":")[2], 16) == provider:
                total += unread
        return total


@contextlib.contextmanager
def _started(where: Rig, option: str = "") -> Iterator[Up]:
    """A gateway on its core, with one more option of `[server]`, warmed up."""
    folder = where.folder / f"gateway-{process.free_port()}"
    folder.mkdir()
    place = Place(process.free_port(), process.free_port(), folder, where.provider)
    start = GATEWAY.start(place)
    assert isinstance(start, Start), "it is what is measured"
    config = folder / "lowproxy.toml"
    config.write_text(config.read_text().replace("[server]", f"[server]\n{option}", 1))
    os.sched_setaffinity(0, {where.other_core})
    log = folder / "log"
    with process.started(start.command, where.proxy_core, log, start.env) as running:
        if not process.answers(start.ready, START_LIMIT_S, running):
            raise RuntimeError(f"the gateway did not start: {log.read_text()[-2000:]}")
        up = Up(where, place, process.tree(running.pid))
        warm = replace(WORKLOADS["U"], connections=8, warm_ms=0, window_ms=600)
        up.load(warm)
        yield up


if __name__ == "__main__":
    sys.exit(main())
