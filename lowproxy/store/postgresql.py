"""PostgreSQL behind the interface of `lowproxy.store.database`. Needs the extra `postgresql`."""

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Self

from lowproxy.store.database import (
    FETCHED,
    Row,
    StoreError,
    StoreRefusedError,
    StoreRowError,
)

# Any number that other programs' advisory locks are unlikely to be.
_MIGRATING = 7_301_846_220_011


class PostgresDatabase:
    """One connection, in autocommit but for `transaction`."""

    dialect = "postgresql"

    def __init__(self, url: str, timeout_s: float) -> None:
        try:
            import psycopg
        except ImportError as exc:
            raise StoreRefusedError(
                "store.url names PostgreSQL, which needs an extra:"
                " pip install 'lowproxy[postgresql]'"
            ) from exc
        self._error = psycopg.Error
        self._row_errors = (psycopg.DataError, psycopg.IntegrityError)
        limit_ms = round(timeout_s * 1000)
        with self._named():
            self._connection: Any = psycopg.connect(
                url,
                autocommit=True,
                connect_timeout=max(1, round(timeout_s)),
                application_name="lowproxy",
                # A peer that is gone without a word is noticed, too.
                tcp_user_timeout=limit_ms,
                options=f"-c statement_timeout={limit_ms} -c lock_timeout={limit_ms}",
            )

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except self._row_errors as exc:
            raise StoreRowError(f"PostgreSQL: {exc}") from exc
        except self._error as exc:
            # libpq's words name host and port, never the password.
            said = " ".join(str(exc).split()) or type(exc).__name__
            raise StoreError(f"PostgreSQL: {said[:300]}") from exc

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """As `Database`."""
        with self._named():
            return int(self._run(sql, parameters).rowcount)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """As `Database`."""
        with self._named():
            return list(self._run(sql, parameters).fetchall())

    def _run(self, sql: str, parameters: Sequence[Any]) -> Any:
        # Without parameters several statements may come at once, as migrations do.
        return self._connection.execute(_marked(sql), parameters or None)

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """As `Database`, through a cursor on the server."""
        with (
            self._named(),
            self._connection.transaction(),
            self._connection.cursor("lowproxy") as cursor,
        ):
            self._connection.execute("SET LOCAL statement_timeout = 0")
            cursor.itersize = FETCHED
            cursor.execute(_marked(sql), parameters or None)
            yield from cursor

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """As `Database`."""
        with self._named(), self._connection.transaction():
            yield

    def lock_migrations(self) -> None:
        """Until the transaction ends. Another one's migration may take its time."""
        self.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        self.query("SELECT pg_advisory_xact_lock(?)", (_MIGRATING,))

    def close(self) -> None:
        """As `Database`."""
        self._connection.close()

    def abort(self) -> None:
        """As `Database`: a server that is frozen still has its socket."""
        with contextlib.suppress(Exception):  # it may be closed by now
            held = socket.socket(fileno=os.dup(self._connection.fileno()))
            with held:
                held.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _marked(sql: str) -> str:
    """With psycopg's mark for a parameter; no statement has a question mark or `%` else."""
    return sql.replace("?", "%s")
