"""A candidate's credentials: whose turn it is, and which of them rest.

A rest is per credential, endpoint and model: a candidate's own. Upstreams that want no credential have one
place for None, so that their Retry-After is kept too.
"""

from collections.abc import Sequence

import attrs

from lowproxy.core.secret import Secret

Credential = Secret | None

# Why a credential rests.
LIMITED, BUSY, REFUSED = "limited", "busy", "refused"


@attrs.frozen
class Rest:
    """One credential's rest. `is_floor`: the upstream named the time, so nobody asks before it."""

    until: float
    since: float
    reason: str  # limited: a 429; busy: another answer with Retry-After; refused: 401, 402, 403
    is_floor: bool
    version: int  # of the credential: another one has not been refused

    def holds(self, credential: Credential, now: float) -> bool:
        """Whether it is still on."""
        if now >= self.until:
            return False
        return (
            self.reason != REFUSED
            or credential is None
            or credential.version == self.version
        )


class Rotation:
    """The rests and the turn among `credentials`, which may be empty. Times are in seconds."""

    __slots__ = ("_credentials", "_rests", "_turn")

    def __init__(self, credentials: Sequence[Secret]) -> None:
        self._credentials: tuple[Credential, ...] = tuple(credentials) or (None,)
        self._rests: dict[Credential, Rest] = {}
        self._turn = 0

    def next(self, now: float, tried: Sequence[Credential] = ()) -> Credential:
        """The next one in turn that is not resting. Raises LookupError where there is none."""
        for _ in self._credentials:
            self._turn = (self._turn + 1) % len(self._credentials)
            credential = self._credentials[self._turn]
            if credential not in tried and not self._rests_now(credential, now):
                return credential
        raise LookupError("every credential rests")

    def soonest(self, now: float) -> tuple[Credential, Rest]:
        """For when all rest: one that may be asked all the same, or the floor that ends first.

        The rest that ends first, those without a floor before the others.
        """
        held = [(c, r) for c, r in self._rests.items() if r.holds(c, now)]
        return min(held, key=lambda each: (each[1].is_floor, each[1].until))

    def rest(self, credential: Credential, rest: Rest) -> None:
        """Nothing that follows makes a rest shorter."""
        if credential not in self._credentials:
            return  # of a configuration that is no more
        known = self._rests.get(credential)
        if known is not None and known.version == rest.version:
            until = max(known.until, rest.until)
            is_floor = rest.is_floor or known.is_floor and known.until > rest.since
            rest = attrs.evolve(rest, until=until, is_floor=is_floor)
        self._rests[credential] = rest

    def worked(self, credential: Credential, began: float) -> bool:
        """An answer came: a rest that was our own idea is over. Whether there was one."""
        rest = self._rests.get(credential)
        if rest is None or rest.is_floor or began < rest.since:
            return False
        del self._rests[credential]
        return True

    def look_again(self) -> None:
        """Whoever was refused may have been replaced."""
        for credential, rest in self._rests.items():
            if credential is not None and rest.reason == REFUSED:
                credential.look_again()

    def rests(self, now: float) -> dict[Credential, Rest]:
        """Those at rest; what is over is forgotten."""
        self._rests = {c: r for c, r in self._rests.items() if r.holds(c, now)}
        return self._rests

    def all_rest(self, now: float) -> bool:
        """Whether nobody is left to ask with."""
        return len(self.rests(now)) == len(self._credentials)

    def is_of(self, credentials: Sequence[Secret]) -> bool:
        """Whether these are the credentials; they change with the configuration."""
        return self._credentials == (tuple(credentials) or (None,))

    def _rests_now(self, credential: Credential, now: float) -> bool:
        rest = self._rests.get(credential)
        return rest is not None and rest.holds(credential, now)
