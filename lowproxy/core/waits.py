"""How long an upstream has lately taken: its newest waits, and their median."""

from array import array
from statistics import median

# What is older says little of how an upstream is now.
RECENT_S = 300.0
# So many of the newest are kept: beyond it a median hardly moves. A power of two.
KEPT = 128


class Waits:
    """The last `KEPT` waits with their times: two rings, 2 kB. Noting one costs a fraction of a microsecond."""

    __slots__ = ("_at", "_next", "_seconds")

    def __init__(self) -> None:
        self._at = array("d", [float("-inf")]) * KEPT
        self._seconds = array("d", [0.0]) * KEPT
        self._next = 0

    def note(self, now: float, seconds: float) -> None:
        """One more wait, which ended at `now`."""
        i = self._next
        self._at[i] = now
        self._seconds[i] = seconds
        self._next = (i + 1) & (KEPT - 1)

    def median_s(self, now: float) -> float | None:
        """The median of those that ended within `RECENT_S` of `now`; None where there are none."""
        oldest = now - RECENT_S
        pairs = zip(self._at, self._seconds, strict=True)
        recent = [seconds for at, seconds in pairs if at > oldest]
        return median(recent) if recent else None
