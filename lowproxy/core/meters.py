"""What a limit is measured by: a bucket for a rate, a window for what is spent in a day or a month."""

MINUTE_S = 60.0


class Bucket:
    """A rate per minute: full at first, filled again evenly, emptied by requests; below zero it is a debt."""

    __slots__ = ("_at", "_level")

    def __init__(self) -> None:
        self._level: float | None = None
        self._at = 0.0

    def load(self, level: float | None, at: float) -> None:
        """Takes over what another process counted."""
        self._level, self._at = level, at

    def level(self, limit: int, now: float) -> float:
        """What is in it."""
        level, past_s = self._level, now - self._at
        if level is None:
            level = float(limit)
        if past_s > 0:
            level += past_s * limit / MINUTE_S
            self._at = now
        if level > limit:  # noqa: PLR1730 - min costs three times this, for each request
            level = limit
        self._level = level
        return level

    def set(self, level: float) -> None:
        """So much is in it; ask for the level first."""
        self._level = level

    def take(self, amount: float) -> None:
        """Less is in it; a negative amount is given back. Ask for the level first."""
        if self._level is not None:
            self._level -= amount


class Window:
    """What was spent, and what is reserved, within one day or month; a later one begins at zero."""

    __slots__ = ("number", "reserved", "spent")

    def __init__(self) -> None:
        self.number = 0
        self.spent = 0
        self.reserved = 0

    def begin(self, number: int) -> None:
        """The day or month is this one now; the clock set back begins nothing anew."""
        if number > self.number:
            self.number, self.spent, self.reserved = number, 0, 0

    def passes(self, limit: int | None, asked: int) -> bool:
        """Whether so much more would pass a limit. What costs nothing does where nothing is left."""
        if limit is None:
            return False
        taken = self.spent + self.reserved
        return taken + asked > limit or (taken >= limit and taken > 0)
