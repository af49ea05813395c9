"""What the gateway may cost: the bounds that a run is held against.

A CPU figure is a multiple of nginx's in the same round. nginx against itself spans about
a fifth on a shared machine, so a figure within 0.1 of a bound is at it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.load.figures import Run, calls_per_event, grown_kib, kib_per_stream

GATEWAY = "lowproxy"


@dataclass(frozen=True)
class Bar:
    """One bound: `figures` gives the measured values, one a round."""

    what: str
    must: float
    goal: float
    figures: Callable[[Run], list[float]]
    unit: str = " x nginx"
    digits: int = 2


def _cpu(workload: str, what: str, must: float, goal: float) -> Bar:
    return Bar(
        f"CPU per {what} ({workload})",
        must,
        goal,
        lambda run: run.ratios(GATEWAY, workload, "cpu_us"),
    )


def _delay(run: Run) -> list[float]:
    return run.ratios(GATEWAY, "S2", "delay_us.p50")


def _calls(run: Run) -> list[float]:
    return run.each(GATEWAY, "SYS", calls_per_event)


def _stream_kib(run: Run) -> list[float]:
    return run.each(GATEWAY, "S3", kib_per_stream)


def _idle_mib(run: Run) -> list[float]:
    visits = [one.get(GATEWAY, {}) for one in run.rounds]
    return [v["idle_kib"] / 1024 for v in visits if "idle_kib" in v]


def _doubled(run: Run) -> list[float]:
    """CPU per event with twice the streams, over that of S2."""
    found = []
    for one in run.rounds:
        twice, once = (run.load(one, GATEWAY, name) for name in ("S2@400", "S2"))
        if twice and once:
            found.append(twice["cpu_us"] / once["cpu_us"])
    return found


def _slow_p99(run: Run) -> list[float]:
    """The fast callers' p99 beside slow readers, over the same without them."""
    found = []
    for one in run.rounds:
        beside, alone = (run.load(one, GATEWAY, name) for name in ("SLOW", "S2"))
        if beside and alone:
            found.append(beside["delay_us"]["p99"] / alone["delay_us"]["p99"])
    return found


def _slow_kib(run: Run) -> list[float]:
    """What is held for one slow reader: growth less that of the fast streams beside it."""
    found = []
    for one in run.rounds:
        beside, many = (run.load(one, GATEWAY, name) for name in ("SLOW", "S3"))
        grown, each = (grown_kib(beside or {}), kib_per_stream(many or {}))
        if beside and grown is not None and each is not None:
            fast = beside["connections"] - beside["slow"]
            found.append(max(0.0, grown - fast * each) / beside["slow"])
    return found


BARS = (
    _cpu("S2", "event, 200 x 50/s", 1.4, 1.2),
    _cpu("S2L", "event, 20 x 50/s", 1.6, 1.3),
    _cpu("S3", "event, 1000 x 5/s", 1.4, 1.2),
    _cpu("T", "event, TLS upstream, over plain nginx", 1.8, 1.4),
    _cpu("U", "unary request", 5.0, 3.0),
    _cpu("L", "unary request with 200 kB", 2.8, 2.0),
    Bar("delay per event, p50 (S2)", 1.5, 1.15, _delay),
    # Twice the streams cost twice as much and no more, give or take the noise.
    Bar("CPU per event, 400 streams over 200 (S2@400)", 1.1, 1.0, _doubled, " x"),
    Bar("system calls per event, waits apart (SYS)", 2.1, 2.05, _calls, "", 3),
    Bar("memory per open slow stream (S3)", 30, 14, _stream_kib, " KiB", 1),
    Bar("resident, idle", 60, 45, _idle_mib, " MiB", 1),
    Bar("p99 beside slow readers, over without (SLOW)", 2.0, 1.2, _slow_p99, " x"),
    Bar("held for a slow reader (SLOW)", 256, 128, _slow_kib, " KiB", 0),
)
