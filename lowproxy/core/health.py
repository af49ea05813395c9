"""Who has been failing, who rests, and how long answers take, from what the traffic itself showed.

No probes: they would cost tokens. Everything is kept per candidate id (endpoint and model), in memory, and
fades within minutes. Time is an argument, in seconds on any one clock.
"""

from collections.abc import Callable, Sequence

from lowproxy.core.breaker import Breaker, Limits
from lowproxy.core.rotation import REFUSED, Credential, Rest, Rotation
from lowproxy.core.upstreams import Candidate
from lowproxy.core.vitals import CredentialHealth, HealthView, Latencies, Vitals

# How often medians are worked out, at the most.
FRESH_S = 1.0

_NOBODY: frozenset[str] = frozenset()
# Who rests, the latencies of whole answers, and those of streams.
Readings = tuple[frozenset[str], Latencies, Latencies]


class Health:
    """The vitals of every candidate that has been asked lately.

    `began` is when a request went up. A request that is neither said to have worked nor to have failed has
    to be said to be `abandoned`: it may be the one that others wait for.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        # Whose breaker is open, or who has a credential at rest.
        self.troubled: dict[str, Vitals] = {}
        # Told of every rest that an upstream named the time of: other gateways want to know.
        self.tell: Callable[[Candidate, Credential, float, str], None] | None = None
        self._known: dict[str, Vitals] = {}
        self._resting = _NOBODY
        self._resting_ends = float("-inf")
        self._latencies = (Latencies(), Latencies())
        self._latencies_end = float("-inf")
        self._readings: Readings = (_NOBODY, *self._latencies)
        self._readings_end = float("-inf")

    def use(self, limits: Limits) -> None:
        """Goes by other limits from now on; a rest that has begun stays as long as it was to be."""
        self.limits = limits
        for vitals in self._known.values():
            vitals.breaker.limits = limits

    # --- what becomes of requests ----------------------------------------------------------

    def answered(
        self, candidate_id: str, credential: Credential, began: float, now: float
    ) -> None:
        """A whole answer came."""
        vitals = self._known.get(candidate_id) or self._meet(candidate_id)
        vitals.durations.append((now, now - began))
        breaker = vitals.breaker
        if breaker.is_open or now >= breaker.fades_at:
            breaker.succeeded(began, now)
        else:  # one more, as nearly always
            breaker.good += 1
            breaker.failures = 0
        if self.troubled:
            self._settle(candidate_id, vitals, credential, began, now)

    def streaming(
        self, candidate_id: str, credential: Credential, began: float, now: float
    ) -> None:
        """A stream began; `ended` or `failed` is to follow, unless the caller leaves."""
        vitals = self._known.get(candidate_id) or self._meet(candidate_id)
        vitals.first_bytes.append((now, now - began))
        if self.troubled:
            vitals.breaker.began(began, now)
            self._settle(candidate_id, vitals, credential, began, now)

    def ended(self, candidate_id: str, began: float, now: float) -> None:
        """A stream came to its end as it should."""
        vitals = self._known.get(candidate_id) or self._meet(candidate_id)
        if vitals.breaker.succeeded(began, now):
            self._changed(candidate_id, vitals, now)

    def worked(
        self, candidate_id: str, credential: Credential, began: float, now: float
    ) -> None:
        """The upstream refused the request itself: it is well, and the wait says nothing of answers."""
        vitals = self._known.get(candidate_id) or self._meet(candidate_id)
        vitals.breaker.succeeded(began, now)
        if self.troubled:
            self._settle(candidate_id, vitals, credential, began, now)

    def failed(self, candidate_id: str, began: float, now: float) -> None:
        """No answer came, or one that was none, or it broke off."""
        vitals = self._known.get(candidate_id) or self._meet(candidate_id)
        was_trial = vitals.end_trial(began)
        if vitals.breaker.failed(began, now) or was_trial:
            self._changed(candidate_id, vitals, now)

    def rest(
        self,
        candidate: Candidate,
        credential: Credential,
        began: float,
        now: float,
        reason: str,
        retry_after_s: float | None = None,
    ) -> None:
        """The upstream will not have this credential for now; `reason` as in `Rest`.

        With `retry_after_s` nobody asks with it before.
        """
        limits = self.limits
        vitals = self._known.get(candidate.id) or self._meet(candidate.id)
        own_s = limits.credential_rest_s if reason == REFUSED else limits.rest_s
        is_floor = retry_after_s is not None
        rest_s = own_s if retry_after_s is None else retry_after_s
        until = now + min(rest_s, max(own_s, limits.retry_after_max_s))
        version = credential.version if credential is not None else 0
        rest = Rest(until, now, reason, is_floor, version)
        self._rotation(vitals, candidate).rest(credential, rest)
        vitals.end_trial(began)
        self._changed(candidate.id, vitals, now)
        if is_floor and self.tell is not None:
            self.tell(candidate, credential, until - now, reason)

    def abandoned(self, candidate_id: str, began: float, now: float) -> None:
        """The caller left before anything was known."""
        vitals = self.troubled.get(candidate_id)
        if vitals is not None and vitals.end_trial(began):
            self._changed(candidate_id, vitals, now)

    # --- whom to ask -----------------------------------------------------------------------

    def readings(self, now: float) -> Readings:
        """Who rests, and the latencies of whole answers and of streams, at one look."""
        if now < self._readings_end:
            return self._readings
        whole, streams = self.latencies(now, streamed=False), self.latencies(now)
        resting = self.resting(now)
        self._readings = resting, whole, streams
        self._readings_end = self._latencies_end
        if self.troubled:
            self._readings_end = min(self._latencies_end, self._resting_ends)
        return self._readings

    def resting(self, now: float) -> frozenset[str]:
        """Candidates that should be asked only when nobody else can serve."""
        if not self.troubled:
            return _NOBODY
        if now >= self._resting_ends:
            self._look(now)
        return self._resting

    def admits(self, candidate: Candidate, now: float) -> bool:
        """Whether it may be asked before those that rest.

        Of a candidate whose rest has ended this is said once, to the request that tries it.
        """
        vitals = self.troubled.get(candidate.id)
        if vitals is None:
            return True
        if vitals.rests(now):
            return False
        if vitals.breaker.is_open:
            self._begin_trial(vitals, now)
        return True

    def admits_last(self, candidate: Candidate, now: float) -> bool:
        """Whether it may be asked though it rests, since nobody else can serve.

        One request at a time, and never before a time that the upstream has named.
        """
        vitals = self.troubled.get(candidate.id)
        if vitals is None:
            return True
        if self.rest_of(candidate, now) is not None or vitals.is_tried(now):
            return False
        self._begin_trial(vitals, now)
        return True

    def credential(
        self, candidate: Candidate, now: float, tried: Sequence[Credential] = ()
    ) -> Credential:
        """Whose turn it is; where all rest, one that may be asked all the same.

        Raises LookupError when all that do not rest have been `tried`.
        """
        credentials = candidate.endpoint.provider.credentials
        if len(credentials) < 2 and not tried:
            return credentials[0] if credentials else None
        vitals = self._known.get(candidate.id) or self._meet(candidate.id)
        rotation = self._rotation(vitals, candidate)
        if not tried and rotation.all_rest(now):
            return rotation.soonest(now)[0]
        return rotation.next(now, tried)

    def rest_of(self, candidate: Candidate, now: float) -> Rest | None:
        """The rest that the upstream has asked for, where it holds for every credential."""
        vitals = self.troubled.get(candidate.id)
        if vitals is None or vitals.rotation is None:
            return None
        if not self._rotation(vitals, candidate).all_rest(now):
            return None
        rest = vitals.rotation.soonest(now)[1]
        return rest if rest.is_floor else None

    def latencies(self, now: float, *, streamed: bool = True) -> Latencies:
        """Median seconds of the last minutes: to the first byte of streams, else of whole answers.

        Worked out once a second at the most; the mapping is not changed afterwards.
        """
        if now >= self._latencies_end:
            self._latencies_end = now + FRESH_S
            self._forget(now)
            known = self._known.items()
            self._latencies = (
                Latencies.of({id_: v.durations for id_, v in known}, now),
                Latencies.of({id_: v.first_bytes for id_, v in known}, now),
            )
        return self._latencies[streamed]

    def view(self, now: float) -> HealthView:
        """Everything, for people and for metrics; nothing is changed by looking."""
        candidates = {id_: v.seen(now) for id_, v in self._known.items()}
        credentials = [
            CredentialHealth(
                id_, credential.name if credential else "", rest.reason, rest.until
            )
            for id_, vitals in self.troubled.items()
            if vitals.rotation is not None
            for credential, rest in vitals.rotation.rests(now).items()
        ]
        return HealthView(candidates, tuple(credentials))

    # --- helpers ---------------------------------------------------------------------------

    def _meet(self, candidate_id: str) -> Vitals:
        vitals = self._known[candidate_id] = Vitals(self.limits)
        return vitals

    def _settle(
        self,
        candidate_id: str,
        vitals: Vitals,
        credential: Credential,
        began: float,
        now: float,
    ) -> None:
        """An answer came while somebody is in trouble: perhaps this one."""
        if candidate_id in self.troubled:
            vitals.end_trial(began)
            if vitals.rotation is not None:
                vitals.rotation.worked(credential, began)
            self._changed(candidate_id, vitals, now)

    def _changed(self, candidate_id: str, vitals: Vitals, now: float) -> None:
        if vitals.in_trouble(now):
            self.troubled[candidate_id] = vitals
        else:
            self.troubled.pop(candidate_id, None)
        self._resting_ends = self._readings_end = float("-inf")

    def _rotation(self, vitals: Vitals, candidate: Candidate) -> Rotation:
        credentials = candidate.endpoint.provider.credentials
        if vitals.rotation is None or not vitals.rotation.is_of(credentials):
            vitals.rotation = Rotation(credentials)
        return vitals.rotation

    def _begin_trial(self, vitals: Vitals, now: float) -> None:
        vitals.trial = now
        self._resting_ends = self._readings_end = float("-inf")

    def _look(self, now: float) -> None:
        """Who rests, until that may change; it is looked at every second in any case."""
        for id_, vitals in list(self.troubled.items()):
            if vitals.rotation is not None:
                vitals.rotation.look_again()
            over = now >= vitals.breaker.rests_until and vitals.breaker.is_forgotten(
                now
            )
            if vitals.breaker.is_open and over:
                vitals.breaker = Breaker(self.limits)
            self._changed(id_, vitals, now)
        self._resting = frozenset(
            [id_ for id_, v in self.troubled.items() if v.rests(now)]
        )
        changes = [v.changes_at(now) for v in self.troubled.values()]
        self._resting_ends = min([now + FRESH_S, *changes])

    def _forget(self, now: float) -> None:
        """Candidates of which everything has faded: also those that are no more."""
        faded_s = 5 * max(self.limits.half_life_s, 60.0)
        self._known = {
            id_: vitals
            for id_, vitals in self._known.items()
            if id_ in self.troubled or now - vitals.heard_at < faded_s
        }
