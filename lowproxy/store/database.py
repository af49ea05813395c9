"""What records and keys ask of their database; SQLite and PostgreSQL stand behind it.

Statements are written once, with `?` for a parameter, in the SQL that both understand.
`lowproxy.store.connecting` opens one by its URL.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

# So many rows of an answer are held at once.
FETCHED = 500

Row = tuple[Any, ...]


class StoreError(Exception):
    """The database cannot be used now: what it said, without the URL's password."""


class StoreRowError(StoreError):
    """It is not the database: this row, or one of these, cannot be put in."""


class StoreRefusedError(StoreError):
    """The database cannot be used by this program at all, and waiting will not help."""


class Database(Protocol):
    """A connection. One thread at a time; every failure is a StoreError."""

    dialect: str

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Runs one statement; the number of rows it touched."""

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of an answer: a small one."""

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """The rows of an answer of any size, a few hundred in memory."""

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """All or nothing; the only writer while it lasts, where the database is SQLite."""

    def lock_migrations(self) -> None:
        """Within a transaction: others who would migrate wait."""

    def close(self) -> None:
        """Ends the connection."""

    def abort(self) -> None:
        """From another thread: what is waited for fails at once."""
