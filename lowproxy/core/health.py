"""Which endpoints have been failing, from what the traffic itself showed. No probes: they would cost tokens."""

import attrs

# Three in a row is no longer chance; ten seconds is long for a caller and short for an outage.
FAILURES = 3
REST_S = 10.0


@attrs.define
class _Breaker:
    failures: int = 0
    rests_until: float = 0.0


@attrs.define
class Health:
    """A breaker per candidate id (endpoint and model). Time is an argument, in seconds."""

    _breakers: dict[str, _Breaker] = attrs.field(factory=dict)

    def succeeded(self, candidate_id: str) -> None:
        """An answer began: whatever was wrong is over."""
        self._breakers.pop(candidate_id, None)

    def failed(
        self, candidate_id: str, now: float, rest_s: float | None = None
    ) -> None:
        """An attempt failed; `rest_s` is the upstream's own Retry-After and rests it at once."""
        breaker = self._breakers.setdefault(candidate_id, _Breaker())
        breaker.failures += 1
        if rest_s is None and breaker.failures >= FAILURES:
            rest_s = REST_S
        if rest_s is not None:  # a floor: nothing that follows makes it shorter
            breaker.rests_until = max(breaker.rests_until, now + rest_s)

    def resting(self, now: float) -> frozenset[str]:
        """Candidates that should be asked only when nobody else can serve."""
        if not self._breakers:
            return frozenset()
        return frozenset(
            id_ for id_, breaker in self._breakers.items() if breaker.rests_until > now
        )
