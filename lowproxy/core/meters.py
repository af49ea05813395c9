"""What a limit is measured by: a bucket for a rate, a window for what is spent in a day or a month."""

from math import inf

from lowproxy.core.limits import MINUTE_S


class Bucket:
    """A rate per minute: full at first, filled again evenly, emptied by requests; below zero it is a debt."""

    __slots__ = ("at", "left")

    def __init__(self) -> None:
        self.left = inf  # when last looked at: `level` knows what is in it now
        self.at = 0.0

    def load(self, left: float | None, at: float) -> None:
        """Takes over what another process counted."""
        self.left, self.at = inf if left is None else left, at

    def level(self, limit: int, now: float) -> float:
        """What is in it, of at most so much."""
        left, past_s = self.left, now - self.at
        if past_s > 0:
            left += past_s * limit / MINUTE_S
            self.at = now
        if left > limit:  # noqa: PLR1730 - min costs three times this, for each request
            left = limit
        self.left = left
        return left


class Window:
    """What was spent, and what is reserved, within one day or month; a later one begins at zero."""

    __slots__ = ("number", "spent", "taken")

    def __init__(self) -> None:
        self.number = 0
        self.spent = 0
        self.taken = 0  # spent and reserved together

    @property
    def reserved(self) -> int:
        """By requests under way."""
        return self.taken - self.spent

    def load(self, number: int, spent: int, reserved: int = 0) -> None:
        """Takes over what another process counted."""
        self.number, self.spent, self.taken = number, spent, spent + reserved

    def begin(self, number: int) -> None:
        """The day or month is this one now; the clock set back begins nothing anew."""
        if number > self.number:
            self.load(number, 0)

    def spend(self, amount: int) -> None:
        """So much was spent that nobody had reserved."""
        self.spent += amount
        self.taken += amount

    def passes(self, limit: int | None, asked: int) -> bool:
        """Whether so much more would pass a limit. What costs nothing does where nothing is left."""
        if limit is None:
            return False
        taken = self.taken
        return taken + (asked or taken > 0) > limit
