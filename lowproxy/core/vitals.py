"""What is known of one candidate's health, and how observers see it."""

from collections.abc import Mapping

import attrs

from lowproxy.core.breaker import Breaker, Limits
from lowproxy.core.rotation import Rotation
from lowproxy.core.waits import Waits

# What a wait is taken to be where nobody's is known.
PRIOR_S = 1.0


@attrs.frozen
class CandidateHealth:
    """One candidate as observers see it. Seconds; None: nothing is known."""

    state: str  # closed | open | half_open
    failures: int  # in a row
    error_rate: float | None
    first_byte_s: float | None  # of streams, median
    duration_s: float | None  # of whole answers, median
    resting_until: float | None  # on the clock that the view was asked with


@attrs.frozen
class CredentialHealth:
    """One credential at rest for one candidate; `credential` is its name, never its value."""

    candidate: str
    credential: str
    reason: str  # limited | busy | refused
    resting_until: float


@attrs.frozen
class HealthView:
    """All that is known at one moment; candidates that nobody asked lately are missing."""

    candidates: Mapping[str, CandidateHealth]
    credentials: tuple[CredentialHealth, ...]


class Latencies(dict[str, float]):
    """Expected seconds by candidate id; `latencies[id]` of one that is unknown is the prior."""

    def __init__(self, known: Mapping[str, float] | None = None) -> None:
        super().__init__(known or {})
        ranked = sorted(self.values())
        # As good as the others: who has not been asked is neither favoured nor shunned.
        self.prior_s = ranked[len(ranked) // 2] if ranked else PRIOR_S

    def __missing__(self, candidate_id: str) -> float:
        return self.prior_s

    @classmethod
    def of(cls, waits: Mapping[str, Waits], now: float) -> "Latencies":
        """The medians of those that have any."""
        medians = {id_: w.median_s(now) for id_, w in waits.items()}
        return cls({id_: s for id_, s in medians.items() if s is not None})


class Vitals:
    """One candidate's breaker, its waits, its credentials, and the request that tries it."""

    __slots__ = ("breaker", "durations", "first_bytes", "rotation", "trial")

    def __init__(self, limits: Limits) -> None:
        self.breaker = Breaker(limits)
        self.first_bytes = Waits()
        self.durations = Waits()
        self.rotation: Rotation | None = None
        self.trial: float | None = None  # when the one request went up that tries it

    @property
    def heard_at(self) -> float:
        """When it was last heard of, give or take a few seconds."""
        newest = (ring[-1][0] for ring in (self.first_bytes, self.durations) if ring)
        return max(self.breaker.heard_at, *newest, float("-inf"))

    def in_trouble(self, now: float) -> bool:
        """Whether anything of it is not as it should be."""
        return self.breaker.is_open or (
            self.rotation is not None and bool(self.rotation.rests(now))
        )

    def rests(self, now: float) -> bool:
        """Whether others should be asked first."""
        breaker, rotation = self.breaker, self.rotation
        if breaker.is_open and (now < breaker.rests_until or self.is_tried(now)):
            return True
        return rotation is not None and rotation.all_rest(now)

    def is_tried(self, now: float) -> bool:
        """Whether a request is finding out; one that takes longer than a rest holds up nobody."""
        return self.trial is not None and now < self.trial_ends

    @property
    def trial_ends(self) -> float:
        """When another request may try."""
        return (self.trial or 0.0) + self.breaker.limits.rest_s

    def end_trial(self, began: float) -> bool:
        """The request that went up at `began` is over; whether it was the one."""
        if self.trial is None or began < self.trial:
            return False
        self.trial = None
        return True

    def changes_at(self, now: float) -> float:
        """When `rests` may next say something else by itself."""
        ends = [self.breaker.rests_until, self.trial_ends]
        if self.rotation is not None:
            ends += [rest.until for rest in self.rotation.rests(now).values()]
        return min([end for end in ends if end > now], default=float("inf"))

    def seen(self, now: float) -> CandidateHealth:
        """As observers see it."""
        breaker, rotation = self.breaker, self.rotation
        state, until = "closed", None
        if breaker.is_open:
            state = "open" if now < breaker.rests_until else "half_open"
            until = breaker.rests_until
        if rotation is not None and rotation.all_rest(now):
            until = max(until or 0.0, rotation.soonest(now)[1].until)
        return CandidateHealth(
            state=state,
            failures=breaker.failures,
            error_rate=breaker.error_rate(now),
            first_byte_s=self.first_bytes.median_s(now),
            duration_s=self.durations.median_s(now),
            resting_until=until,
        )
