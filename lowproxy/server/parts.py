"""What a request needs to find at hand: made once by `server.app`, passed to every handler."""

from typing import Protocol

import attrs

from lowproxy.catalogue import Catalogue
from lowproxy.config import Config
from lowproxy.core.affinity import Affinity
from lowproxy.core.health import Health
from lowproxy.core.routing import Memo
from lowproxy.core.upstreams import Pool
from lowproxy.metrics import Metrics
from lowproxy.server.aftermath import Aftermath
from lowproxy.server.carbon import CarbonBudgets
from lowproxy.server.exchange import Exchange
from lowproxy.server.scales import Scales
from lowproxy.server.wire import Request
from lowproxy.store.keys import KeyStore
from lowproxy.store.ledger import Ledger
from lowproxy.store.limiter import Limiter
from lowproxy.telemetry import Telemetry
from lowproxy.transport.dispatch import Dispatch
from lowproxy.transport.watch import Watch


class Pick(Protocol):
    """Draws one of n equals."""

    def __call__(self, user: str | None, n: int) -> int:
        """A number below n: the same for the same user, else any."""


@attrs.define
class Life:
    """Where the gateway is on its way from start to end. One for all configurations."""

    starting: bool = True  # not every port is open yet
    stopping: bool = False  # not ready any more; every answer is its connection's last
    cutting: bool = False  # what is still running is being ended, by us
    hurry: bool = False  # somebody is waiting for the end: no pause, no lingering


@attrs.define
class Parts:
    """The running parts, as one configuration has them. A request keeps those it began with.

    `pool` is swapped whole when live readings change. What `server.making.made_from` does not make
    is handed on from one configuration to the next.
    """

    config: Config
    keys: KeyStore
    pool: Pool
    memo: Memo  # of the pool
    health: Health
    dispatch: Dispatch
    scales: Scales
    metrics: Metrics
    pick: Pick
    aftermath: Aftermath
    limiter: Limiter
    body_watch: Watch  # over bodies that are still coming in
    life: Life
    affinity: Affinity | None = None  # None: conversations are not kept together
    carbon: CarbonBudgets | None = None  # None: no budget is configured
    ledger: Ledger | None = None  # None: no books are kept
    telemetry: Telemetry | None = None  # None: nobody asks for it
    # Requests that have ended and are about to be written down.
    unwritten: list[Exchange] = attrs.field(factory=list)
    # Connections that are being answered, and the request of each.
    busy: dict[object, Request] = attrs.field(factory=dict)


@attrs.define
class Live:
    """What is in force now: the door looks here once for each request. Swapped by a reload."""

    parts: Parts
    catalogue: Catalogue
