"""Counts that no noise can touch, each with a budget: a gate against regressions.

    python benchmarks/counts.py             a table; status 1 where a budget is overrun
    python benchmarks/counts.py --profile   and which functions an event and a request call

The gateway runs in this process with all its duties and is driven one event at a time
(`load/lockstep.py`), so a count is the same on any machine: what waits to be written down is
written before a count begins and before it ends, and of several takes the least counts, since
timers only ever add. System calls are counted by strace where it is installed and may attach.
"""

import argparse
import gc
import json
import socket
import sys
import tempfile
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load.figures import WAITS
from benchmarks.load.lockstep import Bench, Stream, bench
from benchmarks.load.process import find
from benchmarks.load.syscalls import counted, thread_traced

EVENTS = 100
REQUESTS = 20
STREAMS = 40
TAKES = 3
SYSTEM_CALLS = "system calls per event"


@dataclass(frozen=True)
class Budget:
    """The most that a count may be, and why that number."""

    most: float
    why: str


BUDGETS = {
    "python calls per event": Budget(
        3, "2: the upstream's socket, and the likeness that passes it on"
    ),
    "callbacks and tasks woken per event": Budget(
        0, "bytes run from the upstream's socket into the caller's; nobody is woken"
    ),
    "timers per event": Budget(0, "one deadline per stream; an event leaves a stamp"),
    "python calls per stream": Budget(
        330, "292: head to last byte of a stream of one event, every duty included"
    ),
    "python calls per unary request": Budget(
        130, "110: head to answer, every duty included"
    ),
    "KiB kept per open stream": Budget(
        17, "14: what Python allocates for a stream that waits, both connections too"
    ),
    "KiB left by an ended stream": Budget(
        0.6, "0.4: nothing is kept; what is seen is caches and rings that fill up"
    ),
    SYSTEM_CALLS: Budget(2.05, "2: one read and one write; the loop's waits apart"),
}


def in_process() -> tuple[dict[str, float], dict[str, list[str]]]:
    """Every count but the system calls; and what each is made of."""
    with tempfile.TemporaryDirectory() as folder, bench(Path(folder)) as gateway:
        found, made = _memory(gateway)
        stream = gateway.open()
        stream.relay(EVENTS)
        wakes = _slope(
            lambda n: _moved(gateway, "wakes", lambda: stream.relay(n)), EVENTS
        )
        timers = _slope(
            lambda n: _moved(gateway, "timers", lambda: stream.relay(n)), EVENTS
        )
        found["callbacks and tasks woken per event"] = wakes
        found["timers per event"] = timers
        called = {"event": _profile(gateway, stream.relay, EVENTS)}
        system_calls = _system_calls(gateway, stream, Path(folder))
        if system_calls is not None:
            found[SYSTEM_CALLS] = system_calls
        caller = gateway.ended(stream)

        def streams(number: int) -> None:
            for _ in range(number):
                gateway.ended(gateway.open(caller))

        def unary(number: int) -> None:
            for _ in range(number):
                gateway.unary(caller)

        for name, work in (("stream", streams), ("unary request", unary)):
            work(3)
            called[name] = _profile(gateway, work, REQUESTS)
        caller.close()
    parts = {"kept per open stream": made}
    for name, calls in called.items():
        found[f"python calls per {name}"] = round(sum(calls.values()), 2)
        often = sorted(calls.items(), key=lambda call: -call[1])[:60]
        parts[f"called per {name}"] = [f"{n:8.2f}  {function}" for function, n in often]
    return found, parts


def _slope(count: Callable[[int], int], number: int) -> float:
    """What one more costs: whatever is counted once drops out."""
    more, less = (min(count(n) for _ in range(TAKES)) for n in (2 * number, number))
    return (more - less) / number


def _moved(gateway: Bench, counter: str, work: Callable[[], None]) -> int:
    before = gateway.call(lambda: getattr(gateway.loop, counter))
    work()
    return int(gateway.call(lambda: getattr(gateway.loop, counter)) - before)


def _profile(
    gateway: Bench, work: Callable[[int], None], number: int
) -> dict[str, float]:
    """Python functions called on the gateway's thread, by name, for one more of the work."""
    more, less = (_called(gateway, work, n) for n in (2 * number, number))
    each = {name: (more[name] - less[name]) / number for name in more}
    return {name: n for name, n in each.items() if n}


def _called(gateway: Bench, work: Callable[[int], None], number: int) -> Counter[str]:
    """How often each function was called: the least of several takes."""
    takes = [_take(gateway, work, number) for _ in range(TAKES)]
    least = takes[0]
    for other in takes[1:]:
        least &= other
    return least


def _take(gateway: Bench, work: Callable[[int], None], number: int) -> Counter[str]:
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: Any) -> None:
        module = frame.f_globals.get("__name__", "?")
        if event == "call" and not module.startswith("benchmarks."):
            calls[f"{module}.{frame.f_code.co_qualname}"] += 1

    gateway.settle()
    gateway.call(lambda: sys.setprofile(note))
    work(number)
    gateway.settle()
    gateway.call(lambda: sys.setprofile(None))
    return calls


def _memory(gateway: Bench) -> tuple[dict[str, float], list[str]]:
    """Memory of streams that wait and of streams that have ended; where the first is made."""
    tracemalloc.start()
    try:
        callers = [gateway.ended(gateway.open()) for _ in range(STREAMS)]
        _again(gateway, callers)  # what is made once is made
        before = _traced(gateway)
        _again(gateway, callers)
        after = _traced(gateway)
        streams = [gateway.open() for _ in range(STREAMS)]
        with_open = _traced(gateway)
    finally:
        tracemalloc.stop()
    for stream in streams:
        stream.close()
    for caller in callers:
        caller.close()
    found = {
        "KiB kept per open stream": (_size(with_open) - _size(after)) / STREAMS / 1024,
        "KiB left by an ended stream": (_size(after) - _size(before)) / STREAMS / 1024,
    }
    grown = with_open.compare_to(after, "lineno")[:25]
    return found, [f"{g.size_diff / STREAMS:8.0f} B  {g.traceback}" for g in grown]


def _again(gateway: Bench, callers: list[socket.socket]) -> None:
    for caller in callers:
        gateway.ended(gateway.open(caller))


def _size(snapshot: tracemalloc.Snapshot) -> int:
    return sum(trace.size for trace in snapshot.traces)


def _traced(gateway: Bench) -> tracemalloc.Snapshot:
    """What lives now that all is written down, without what belongs to the driver.

    And without caches of a bounded size, which take their time to fill.
    """
    gateway.settle(forget=True)
    gc.collect()
    drivers = ("*/benchmarks/*", socket.__file__, tracemalloc.__file__)
    apart = [tracemalloc.Filter(inclusive=False, filename_pattern=f) for f in drivers]
    return tracemalloc.take_snapshot().filter_traces(apart)


def _system_calls(gateway: Bench, stream: Stream, folder: Path) -> float | None:
    """System calls of the gateway's thread per event, waits apart; None where strace cannot count them."""
    if find("strace") is None:
        return None
    tid = gateway.call(threading.get_native_id)

    def made(events: int) -> int:
        log = folder / "strace.log"
        with thread_traced(tid, log):
            stream.relay(events)
        calls = counted(log, 0.0, float("inf"))
        log.unlink(missing_ok=True)
        # The interpreter's lock, which goes to the driver and back: one thread alone has no such calls.
        apart = (*WAITS, "futex")
        return sum(number for call, number in calls.items() if call not in apart)

    calls = _slope(made, EVENTS)
    return calls or None  # nothing: it may not attach


def main() -> int:
    """Count, print, compare; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", action="store_true", help="the counts alone, as JSON")
    options = parser.parse_args()
    found, parts = in_process()
    if options.json:
        print(json.dumps(found))
        return 0
    over = [name for name, value in found.items() if value > BUDGETS[name].most]
    print("| count | found | at most | why |\n| --- | --- | --- | --- |")
    for name, value in found.items():
        mark = " (over)" if name in over else ""
        print(
            f"| {name} | {value:.2f}{mark} | {BUDGETS[name].most:g} | {BUDGETS[name].why} |"
        )
    if options.profile:
        for name, lines in parts.items():
            print(f"\n{name}:", *lines, sep="\n")
    return 1 if over else 0


if __name__ == "__main__":
    raise SystemExit(main())
