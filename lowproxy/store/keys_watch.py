"""Watches the keys of the database from a thread of its own: a change holds within a second, everywhere.

One look is one row of one table. What was known last holds while the database is away.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence

import structlog

from lowproxy.core.access import ApiKey
from lowproxy.store import keys_table
from lowproxy.store.database import Database, StoreError

log = structlog.get_logger("lowproxy.keys")

# With the time of a look, and of a load, well within the second that is promised.
LOOK_S = 0.4
# A database that failed is asked again after this long.
REST_S = 2.0

# Told the count of changes and the keys; called in the thread.
Use = Callable[[int, Sequence[ApiKey]], None]


class KeysWatch:
    """`look` is one look, which raises StoreError; `start` makes one now and then goes on in the thread."""

    def __init__(
        self, open_: Callable[[], Database], use: Use, look_s: float = LOOK_S
    ) -> None:
        self._open, self._use, self._look_s = open_, use, look_s
        self._database: Database | None = None
        self._seen = -1
        self._told: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="lowproxy-keys", daemon=True
        )

    def start(self) -> None:
        """Reads the keys, if the database is there, before anybody is let in."""
        self._try()
        self._thread.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """Ends the thread, also where the database does not answer."""
        self._stopping.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive() and self._database is not None:
            self._database.abort()
            self._thread.join(timeout_s)

    def look(self) -> None:
        """Reads the keys where they have changed."""
        if self._database is None:
            self._database = self._open()
            self._told.discard("keys.away")
        if keys_table.version(self._database) == self._seen:
            return
        seen, stored = keys_table.load(self._database)
        for each in stored:
            if each.problems:
                self._tell(f"keys.unreadable {each.row.name}", each.problems[0])
        self._use(seen, [each.key for each in stored])
        self._seen = seen

    def _run(self) -> None:
        rest_s = self._look_s
        while not self._stopping.wait(rest_s):
            rest_s = self._look_s if self._try() else REST_S
        self._forget()

    def _try(self) -> bool:
        try:
            self.look()
        except StoreError as exc:
            self._forget()
            self._tell("keys.away", str(exc))
            return False
        except Exception as exc:  # noqa: BLE001 - the thread must outlive a bug of ours
            log.error("keys.bug", kind=type(exc).__name__)
            return False
        return True

    def _forget(self) -> None:
        if self._database is not None:
            with contextlib.suppress(Exception):
                self._database.close()
        self._database = None

    def _tell(self, event: str, reason: str) -> None:
        """One line for each time that something begins to be wrong."""
        if event not in self._told:
            self._told.add(event)
            log.warning(event.partition(" ")[0], reason=reason)
