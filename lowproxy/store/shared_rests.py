"""Rests that upstreams asked for, told from one gateway to the others: whoever has not asked yet need not.

A credential is known by its position in its provider's list: it is nowhere but in the
gateways themselves. Replicas of one configuration mean the same by it.
"""

import math
from collections.abc import Callable

from lowproxy.store.shared import Shared
from lowproxy.store.shared_scripts import REST

# Candidate, position of the credential, seconds that are left, reason.
Use = Callable[[str, int, float, str], None]


class SharedRests:
    """Times are epoch seconds: gateways' monotonic clocks differ."""

    def __init__(self, shared: Shared, use: Use, clock: Callable[[], float]) -> None:
        self._shared, self._use, self._clock = shared, use, clock
        self._key = shared.name("rests")
        self._seen: dict[str, str] = {}
        shared.each_turn(self.look)

    def tell(self, candidate: str, position: int, rest_s: float, reason: str) -> None:
        """To the others, without waiting."""
        if not self._shared.up:
            return  # it would come too late
        who = f"{position} {candidate}"
        what = f"{self._clock() + rest_s:.3f} {reason}"
        self._seen[who] = what
        self._shared.post(REST, (self._key,), (who, what, math.ceil(rest_s) + 1))

    async def look(self) -> None:
        """What the others have told since the last look."""
        found: dict[str, str] = await self._shared.client.hgetall(self._key)
        now = self._clock()
        over = []
        for who, what in found.items():
            until, _, reason = what.partition(" ")
            left_s = float(until) - now
            if left_s <= 0:
                over.append(who)
            elif self._seen.get(who) != what:
                position, _, candidate = who.partition(" ")
                self._use(candidate, int(position), left_s, reason)
        self._seen = {who: what for who, what in found.items() if who not in over}
        if over:
            await self._shared.client.hdel(self._key, *over)
