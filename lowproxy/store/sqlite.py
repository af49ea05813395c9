"""SQLite behind the interface of `lowproxy.store.database`: the embedded default."""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from lowproxy.store.database import FETCHED, Row, StoreError, StoreRowError

# Long enough for another process's transaction, short beside `store.timeout_s`.
BUSY_S = 2.0


class SqliteDatabase:
    """One file, in WAL mode: readers and the writer do not wait for each other."""

    dialect = "sqlite"

    def __init__(self, path: Path, timeout_s: float, *, make: bool = True) -> None:
        import sqlite3

        self._error = sqlite3.Error
        # An integer that has no place in 64 bits is refused by the driver itself.
        self._row_errors = (sqlite3.IntegrityError, sqlite3.DataError, OverflowError)
        self._path = path
        if not make and not path.exists():
            raise StoreError(f"{path}: no such file")
        with self._named():
            if make:
                path.parent.mkdir(parents=True, exist_ok=True)
                _make_ours(path)
            self._connection = sqlite3.connect(
                path,
                timeout=min(BUSY_S, timeout_s),
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                self._set_up()
            except sqlite3.Error:
                self._connection.close()
                raise

    def _set_up(self) -> None:
        # NORMAL: a power cut may lose the last transactions, never the file; a killed
        # process loses none that was committed.
        # Half a megabyte of pages in place of two: the writer only touches the ends of its tables.
        for pragma in (
            "journal_mode=wal",
            "synchronous=normal",
            "foreign_keys=on",
            "cache_size=-512",
        ):
            self._connection.execute(f"PRAGMA {pragma}")

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except self._row_errors as exc:
            raise StoreRowError(f"{self._path}: {exc}") from exc
        except (self._error, OSError) as exc:
            said = exc.strerror if isinstance(exc, OSError) else exc
            raise StoreError(f"{self._path}: {said}") from exc

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """As `Database`."""
        with self._named():
            return self._connection.execute(sql, parameters).rowcount

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """As `Database`."""
        with self._named():
            return self._connection.execute(sql, parameters).fetchall()

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """As `Database`."""
        with self._named():
            cursor = self._connection.execute(sql, parameters)
            while rows := cursor.fetchmany(FETCHED):
                yield from rows

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """As `Database`. IMMEDIATE: to wait at its start, not to fail in its middle."""
        with self._named():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk has rolled back by itself.
                with contextlib.suppress(self._error):
                    self._connection.execute("ROLLBACK")
                raise

    def lock_migrations(self) -> None:
        """BEGIN IMMEDIATE has done it."""

    def close(self) -> None:
        """As `Database`."""
        self._connection.close()

    def abort(self) -> None:
        """As `Database`."""
        with contextlib.suppress(self._error):  # it may be closed by now
            self._connection.interrupt()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _make_ours(path: Path) -> None:
    """An empty file for its owner alone, where there is none: who used what is nobody else's business.

    Without opening it. To close any descriptor of a file takes away all locks that the process has on
    it, and with them what keeps its other connections from spoiling the database.
    """
    with contextlib.suppress(FileExistsError, PermissionError):
        os.mknod(path, stat.S_IFREG | 0o600)
