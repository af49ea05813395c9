"""How long an upstream has lately taken: its newest waits, and their median."""

from collections import deque
from statistics import median

# What is older says little of how an upstream is now.
RECENT_S = 300.0
# So many of the newest are kept: beyond it a median hardly moves.
KEPT = 128


class Waits(deque[tuple[float, float]]):
    """A ring of pairs: when a wait ended, and how long it was. `append` is all that a request pays."""

    def __init__(self) -> None:
        super().__init__(maxlen=KEPT)

    def median_s(self, now: float) -> float | None:
        """The median of those that ended within `RECENT_S` of `now`; None where there are none."""
        recent = [seconds for at, seconds in self if now - at < RECENT_S]
        return median(recent) if recent else None
