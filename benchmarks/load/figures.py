"""Raw files as figures: by round, by proxy, by workload, as multiples of nginx's."""

from collections.abc import Callable
from statistics import mean
from typing import Any

Load = dict[str, Any]
Round = dict[str, Any]

# Above this share of a core, what other processes do shows in the figures.
STRANGERS = 0.1
BASELINE = "nginx"  # and "nginx2", where it took part


class Run:
    """Raw files seen as one: rounds, names, and figures by proxy and workload."""

    def __init__(self, files: list[dict[str, Any]]) -> None:
        self.rounds: list[Round] = [r for f in files for r in f["rounds"]]
        self.workloads: dict[str, Load] = {}
        self.proxies: list[str] = []
        for file in files:
            self.workloads.update(file["workloads"])
            self.proxies += [n for n in file["order"] if n not in self.proxies]

    def load(self, one: Round, proxy: str, workload: str) -> Load | None:
        """A visit's figures; None where there are none."""
        found = one.get(proxy, {}).get("loads", {}).get(workload)
        return found if found and "failed" not in found else None

    def each(
        self, proxy: str, workload: str, figure: Callable[[Load], float | None]
    ) -> list[float]:
        """One figure of every round in which it was taken."""
        loads = (self.load(one, proxy, workload) for one in self.rounds)
        values = (figure(load) for load in loads if load)
        return [value for value in values if value is not None]

    def at(self, proxy: str, workload: str, path: str) -> list[float]:
        """The figure at a dotted path, of every round in which it was taken."""
        return self.each(proxy, workload, lambda load: at(load, path))

    def disturbed(self) -> tuple[int, int]:
        """How many measurements others disturbed, and how many there are."""
        loads = [
            load
            for one in self.rounds
            for visit in one.values()
            for load in visit.get("loads", {}).values()
            if "strangers" in load and "syscalls" not in load
        ]
        return sum(map(is_disturbed, loads)), len(loads)

    def ratios(
        self, proxy: str, workload: str, path: str, *, base: str | None = None
    ) -> list[float]:
        """A figure as a multiple of nginx's of the same round, for every round."""
        found = []
        for one in self.rounds:
            mine = self.load(one, proxy, workload)
            others = [
                at(load, path)
                for name in (BASELINE, BASELINE + "2")
                if (load := self.load(one, name, base or plain(workload)))
            ]
            known = [value for value in others if value]
            if mine and known and (value := at(mine, path)):
                found.append(value / mean(known))
        return found


def plain(workload: str) -> str:
    """The workload whose nginx figure is the yardstick: TLS is held against plain HTTP."""
    return {"T": "S2", "TU": "U"}.get(workload, workload)


def is_disturbed(load: Load) -> bool:
    """Whether other processes took more of the cores than may be overlooked."""
    return max(load.get("strangers", {}).values(), default=0.0) > STRANGERS


def at(load: Load, path: str) -> float | None:
    """The figure at a dotted path."""
    value: Any = load
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return None if value is None else float(value)


# How often a loop waits depends on how much the tracer slows it, so waits are told apart.
WAITS = ("epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select")


def calls_per_event(load: Load) -> float | None:
    """System calls in the window, waits apart, for each event in it."""
    return _per_event(load, lambda call: call not in WAITS)


def waits_per_event(load: Load) -> float | None:
    """Waits of the event loop for each event."""
    return _per_event(load, lambda call: call in WAITS)


def _per_event(load: Load, chosen: Callable[[str], bool]) -> float | None:
    calls: dict[str, int] | None = load.get("syscalls")
    if not calls or not load["events"]:
        return None
    number = sum(number for call, number in calls.items() if chosen(call))
    return number / float(load["events"])


def grown_kib(load: Load) -> float | None:
    """Resident memory beyond idle; what an earlier load left behind counts too."""
    if not load.get("during_kib"):
        return None
    return float(load["during_kib"] - load["idle_kib"])


def kib_per_stream(load: Load) -> float | None:
    """Growth of the resident memory for each open stream."""
    grown = grown_kib(load)
    return None if grown is None else grown / float(load["connections"])
