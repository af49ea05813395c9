"""The books: a queue that requests append to without waiting, and one thread that writes it down.

The thread wakes every `flush_interval_s`: a process that is killed loses what came
since, and nothing else. Where the database cannot take a batch it goes to the spill
file, and from there to the database when that is back. Nothing is ever waited for by
a request; what happens is in `Counts`, which the metrics show.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import structlog

from lowproxy.core.record import UsageRecord
from lowproxy.store import ledger_books as books
from lowproxy.store.database import (
    Database,
    StoreError,
    StoreRefusedError,
    StoreRowError,
)
from lowproxy.store.ledger_alike import ShortRows
from lowproxy.store.ledger_rows import Rows, Values, named
from lowproxy.store.ledger_spill import Spill, SpillFullError, read

log = structlog.get_logger("lowproxy.ledger")

# More than a busy core makes while a database is given up for dead; about 60 MB.
MOST_WAITING = 50_000
# Where nothing could ever be written: no memory for what will never be kept.
FEW_WAITING = 1_000
# This many are written without waiting for the interval: a second of a busy core is megabytes.
ENOUGH = 512
# Records to a transaction, and to one look at the spill file.
BATCH = 1024
# A database that failed is asked again after one second, then two, four, at last every eight.
REST_S, MOST_REST_S = 1.0, 8.0
# Batches of the spill file to one flush: new records come first.
REPLAYS = 8
PRUNE_EVERY_S = 3600.0
DAY_S = 86_400.0


@attrs.define
class Counts:
    """What became of records; written by the thread, read by whoever scrapes."""

    written: int = 0
    spilled: int = 0
    replayed: int = 0
    lost: int = 0
    pruned: int = 0
    flushes: int = 0
    flush_s: float = 0.0  # all flushes together
    spill_bytes: int = 0
    up: bool = False


@attrs.frozen
class Terms:
    """How the books are kept."""

    open: Callable[[], Database]  # connected and migrated; raises StoreError
    spill: Spill | None = None
    flush_interval_s: float = 1.0
    timeout_s: float = 5.0
    retention_days: int = 396
    most_waiting: int = MOST_WAITING


class Ledger:
    """Started and closed by its owner; `append` is for the event loop, the rest for anybody."""

    def __init__(self, terms: Terms, clock: Callable[[], float] = time.time) -> None:
        self.counts = Counts()
        self._terms, self._clock = terms, clock
        self._waiting: deque[UsageRecord] = deque()
        self._writing: list[UsageRecord] = []
        self._rows, self._short = Rows(), ShortRows(clock)
        self._database: Database | None = None
        self._rests_until = 0.0
        self._rest_s = REST_S
        self._prune_at = 0.0
        self._most = min(FEW_WAITING, terms.most_waiting)
        self._reading: tuple[Path, int] | None = None  # a taken file, and how far
        self._busy_since: float | None = None
        self._told: set[str] = set()
        self._stopping = False
        self._wanted = threading.Event()  # a flush, before its time
        self._thread = threading.Thread(
            target=self._run, name="lowproxy-ledger", daemon=True
        )

    def append(self, record: UsageRecord) -> None:
        """Takes a record; all that a request pays for the books."""
        waiting = self._waiting
        if len(waiting) < self._most:
            waiting.append(record)
            if len(waiting) == ENOUGH:
                self._wanted.set()
        else:
            self.counts.lost += 1

    @property
    def depth(self) -> int:
        """Records that wait to be written."""
        return len(self._waiting)

    def waiting(self, generation_id: str) -> Mapping[str, Any] | None:
        """A record that is not in the database yet, as a row of it."""
        for each in (*self._waiting, *self._writing):
            if each.generation_id == generation_id:
                return named(Rows().of(each))
        return None

    def find(self, generation_id: str, key_id: str) -> Mapping[str, Any] | None:
        """A record of the database; on a connection of its own. Raises StoreError."""
        database = self._terms.open()
        limit = threading.Timer(self._terms.timeout_s, database.abort)
        limit.start()
        try:
            return books.find(database, generation_id, key_id)
        finally:
            limit.cancel()
            database.close()

    def start(self) -> None:
        """Opens the database, and starts to write in a thread.

        Raises StoreRefusedError where the program may not use it. One that is merely away is no reason
        not to start.
        """
        try:
            self._database = self._terms.open()
            self.counts.up = True
            self._most = self._terms.most_waiting
        except StoreRefusedError:
            raise
        except StoreError as exc:
            self._gone(exc)
        self._thread.start()

    def close(self) -> None:
        """Writes all that waits, to the database or to the spill file, and stops."""
        self._stopping = True
        self._wanted.set()
        self._thread.join(self._terms.timeout_s)
        if self._thread.is_alive():
            self._abort()  # a frozen server: the batch goes to the spill file
            self._thread.join(self._terms.timeout_s)

    def watch(self, now: float) -> None:
        """From time to time, from another thread: ends a wait for the database that takes too long.

        `now` is of the monotonic clock.
        """
        since = self._busy_since
        if since is not None and now - since > self._terms.timeout_s:
            self._abort()

    def _abort(self) -> None:
        database = self._database
        if database is not None:
            database.abort()

    # --- in the thread ---------------------------------------------------------------

    def _run(self) -> None:
        interval_s = rest_s = self._terms.flush_interval_s
        while not self._stopping:
            self._wanted.wait(rest_s)
            self._wanted.clear()
            began = time.monotonic()
            self.flush()
            # From begin to begin: what a flush takes is not added to what a kill may lose.
            rest_s = max(interval_s / 10, interval_s - (time.monotonic() - began))
        self.flush()
        self.counts.lost += len(self._waiting)
        if self._database is not None:
            self._database.close()

    def flush(self) -> None:
        """Writes what waits, replays what was spilled, prunes what is old."""
        try:
            began = time.monotonic()
            if self._waiting:
                while batch := list(islice(self._waiting, BATCH)):
                    self._writing = batch
                    for _ in batch:
                        self._waiting.popleft()
                    if not self._write(batch):
                        self._waiting.extendleft(reversed(batch))
                        break
                self._writing = []
                self.counts.flushes += 1
                self.counts.flush_s += time.monotonic() - began
            self._replay()
            self._prune()
            if self._database is not None and not self._waiting:
                self._works()
        except Exception as exc:  # noqa: BLE001 - the thread must outlive a bug of ours
            self.counts.lost += len(self._writing)
            self._writing = []
            log.error("ledger.bug", kind=type(exc).__name__)

    def _write(self, records: list[UsageRecord]) -> bool:
        """Whether they are written down, in the database or aside."""
        database = self._ready()
        if database is None:
            return self._put_aside(records)
        try:
            self._busy_since = time.monotonic()
            dropped = self._put(database, records)
        except StoreError as exc:
            self._gone(exc)
            return self._put_aside(records)
        finally:
            self._busy_since = None
        self.counts.written += len(records) - dropped
        self.counts.lost += dropped
        return True

    def _put(self, database: Database, records: list[UsageRecord]) -> int:
        """How many of them no database takes, or nobody can put down: they are dropped, and they alone."""
        try:
            books.put_records(database, records, self._short, self._rows)
        except StoreRowError:
            pass
        except StoreError:
            raise
        except Exception as exc:  # noqa: BLE001 - a bug that one record shows must not cost the others theirs
            log.error("ledger.bug", kind=type(exc).__name__)
        else:
            return 0
        rows = self._good(records)
        return len(records) - len(rows) + books.put_or_drop(database, rows)[1]

    def _good(self, records: list[UsageRecord]) -> list[Values]:
        """The rows of those that can be put down."""
        rows = []
        for record in records:
            with contextlib.suppress(Exception):
                rows.append(self._rows.of(record))
        return rows

    def _put_aside(self, records: list[UsageRecord]) -> bool:
        """Whether the spill file took them; a full disk may have room the next time."""
        spill = self._terms.spill
        rows = self._good(records)
        try:
            if spill is None:
                raise SpillFullError("there is no directory for records that wait")
            spill.append(rows)
        except (SpillFullError, OSError) as exc:
            self._tell("ledger.stuck", exc)
            return False
        self._most = self._terms.most_waiting
        self.counts.spilled += len(rows)
        self.counts.lost += len(records) - len(rows)
        self.counts.spill_bytes = spill.size()
        return True

    def _ready(self) -> Database | None:
        """The database, opened again where it was gone and has had its rest."""
        if self._database is None and time.monotonic() >= self._rests_until:
            try:
                self._database = self._terms.open()
            except StoreError as exc:
                self._gone(exc)
            else:
                self._most = self._terms.most_waiting
        return self._database

    def _works(self) -> None:
        """All that waited is in. To open it says little: on a full disk that works every time."""
        self.counts.up = True
        self._rest_s = REST_S
        if self._told:
            log.info("ledger.back")
            self._told.clear()

    def _gone(self, exc: StoreError) -> None:
        self._short.forget()  # it may be another one when it is back
        if self._database is not None:
            with contextlib.suppress(Exception):
                self._database.close()
        self._database = None
        self.counts.up = False
        self._rests_until = time.monotonic() + self._rest_s
        self._rest_s = min(self._rest_s * 2, MOST_REST_S)
        self._tell("ledger.away", exc)

    def _tell(self, event: str, exc: Exception) -> None:
        """One line for each time that something begins to be wrong, not one per batch."""
        if event not in self._told:
            self._told.add(event)
            log.warning(event, reason=str(exc))

    def _replay(self) -> None:
        spill, database = self._terms.spill, self._ready()
        if spill is None or database is None:
            return
        try:
            files = spill.take()
            for _ in range(REPLAYS if files else 0):
                if self._reading is None or self._reading[0] not in files:
                    self._reading = (files[0], 0)
                path, offset = self._reading
                rows, offset = read(path, BATCH, offset)
                if rows:
                    self._busy_since = time.monotonic()
                    added, dropped = books.put_or_drop(database, rows)
                    self.counts.replayed += added
                    self.counts.lost += dropped
                    self._reading = (path, offset)
                    continue
                path.unlink()
                files.remove(path)
                if not files:
                    break
            self.counts.spill_bytes = spill.size()
        except StoreError as exc:
            self._gone(exc)
        except FileNotFoundError:
            self._reading = None  # another process of this directory has read it
        except OSError as exc:
            self._tell("ledger.spill_unreadable", exc)
        finally:
            self._busy_since = None

    def _prune(self) -> None:
        """Deletes what is past its time, a batch at each flush until there is none."""
        now = time.monotonic()
        if self._database is None or now < self._prune_at:
            return
        before = self._clock() - self._terms.retention_days * DAY_S
        try:
            self._busy_since = now
            gone = books.prune(self._database, before)
            self.counts.pruned += gone
            is_more = gone > 0
            if gone < books.PRUNED:
                is_more |= books.prune_alike(self._database, before) > 0
        except StoreError as exc:
            self._gone(exc)
        else:
            self._prune_at = 0.0 if is_more else now + PRUNE_EVERY_S
        finally:
            self._busy_since = None
