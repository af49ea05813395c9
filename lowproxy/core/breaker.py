"""Whether a candidate's failures are chance or trouble: a breaker, fed by the traffic itself."""

import attrs

# The counts are made to fade in steps: a power per request would cost more than all the rest.
_STEP_S = 5.0
# After so many half-lives nothing is left of what was.
_FADED = 5


@attrs.frozen
class Limits:
    """What is trouble, and how long one in trouble is left alone.

    Five in a row: the SDKs ask again twice, so that one bad request of one caller fails three times.
    """

    failures: int = 5  # in a row
    error_rate: float = 0.5  # of recent requests ...
    min_requests: int = 10  # ... where there were so many
    half_life_s: float = 60.0  # what happened so long ago counts half
    rest_s: float = 10.0  # long for a caller, short for an outage
    credential_rest_s: float = (
        60.0  # of a credential that was refused: nothing heals it soon
    )
    retry_after_max_s: float = 600.0  # no upstream's Retry-After is believed for longer


@attrs.define
class Breaker:
    """Closed: all is well. Open: it rests, then it is half open until a request that began since succeeds.

    Every method takes the time in seconds. `began` is when the request went up: what began before the
    state last changed tells nothing of the present one.
    """

    limits: Limits
    failures: int = 0  # in a row
    is_open: bool = False
    rests_until: float = 0.0
    _since: float = float("-inf")  # when the state last changed
    _failed_at: float = float("-inf")
    good: float = 0.0
    _bad: float = 0.0
    heard_at: float = float("-inf")  # when the counts last faded
    fades_at: float = float("-inf")  # when a success makes them fade again

    def succeeded(self, began: float, now: float) -> bool:
        """A request came to a good end; whether that changes the state."""
        if now >= self.fades_at:
            self._fade(now)
        self.good += 1
        if self.is_open:
            return self._close(began, now, failures=0)
        self.failures = 0
        return False

    def began(self, began: float, now: float) -> bool:
        """A stream has begun, and may still break: whether that changes the state.

        It ends the rest; but the next failure brings it back, until something ends well.
        """
        return self.is_open and self._close(began, now, self.limits.failures - 1)

    def failed(self, began: float, now: float) -> bool:
        """A request failed; whether that changes the state."""
        if began < self._since:
            return False
        self._fade(now)
        self._bad += 1
        if now - self._failed_at > _FADED * self.limits.half_life_s:
            self.failures = 0
        self.failures += 1
        self._failed_at = now
        if not self.is_open and not self._is_trouble():
            return False
        self.is_open = True
        self.rests_until, self._since = now + self.limits.rest_s, now
        return True

    def error_rate(self, now: float) -> float | None:
        """The faded share of failures; None where nothing is left to divide."""
        whole = self.good + self._bad
        left = whole and whole * 0.5 ** (
            (now - self.heard_at) / self.limits.half_life_s
        )
        return self._bad / whole if left >= 0.5**_FADED else None

    def is_forgotten(self, now: float) -> bool:
        """Whether its last failure is too long ago to mean anything."""
        return now - self._failed_at > _FADED * self.limits.half_life_s

    def _is_trouble(self) -> bool:
        limits, whole = self.limits, self.good + self._bad
        return self.failures >= limits.failures or (
            whole >= limits.min_requests and self._bad >= limits.error_rate * whole
        )

    def _close(self, began: float, now: float, failures: int) -> bool:
        if began < self._since:
            return False
        self.is_open, self._since, self.failures = False, now, failures
        self.good = self._bad = 0.0
        return True

    def _fade(self, now: float) -> None:
        if self.good or self._bad:
            factor = 0.5 ** ((now - self.heard_at) / self.limits.half_life_s)
            self.good *= factor
            self._bad *= factor
        self.heard_at, self.fades_at = now, now + _STEP_S
