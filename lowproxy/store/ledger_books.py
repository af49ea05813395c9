"""The statements on the tables `requests` and `alike`: put in, find, sum up, stream, prune.

Who wants whole records asks the view `records`; what is in the index is asked of the table itself.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import orjson

from lowproxy.core.record import UsageRecord
from lowproxy.store.database import Database, StoreError, StoreRowError
from lowproxy.store.ledger_alike import ALIKE, FRESH_S, SHORT, ShortRows
from lowproxy.store.ledger_rows import COLUMNS, Rows, Values, named

# Rows to a statement. Between two statements the event loop may run; each start of one
# may have to wait five milliseconds for a busy loop, so they must not be small.
CHUNKS = (128, 16, 1)
# Short rows are made while others wait, half a millisecond for so many.
SHORT_CHUNKS = (64, 16, 4, 1)
PRUNED = 500  # rows to a transaction: nobody waits long for one

_NAMES = ", ".join(COLUMNS)


class _Into:
    """The statements that put rows into a table. By its key: what is put in twice is there once."""

    def __init__(self, table: str, columns: tuple[str, ...], sizes: tuple[int, ...]):
        names, row = ", ".join(columns), f"({', '.join('?' * len(columns))})"
        first, last = f"INSERT INTO {table} ({names}) VALUES", "ON CONFLICT DO NOTHING"
        self.columns = columns
        self.sqlite = [
            (size, f"{first} {', '.join([row] * size)} {last}") for size in sizes
        ]
        # One parameter for all rows: to convert each of them would cost us more than the server.
        self.postgresql = (
            f"INSERT INTO {table} ({names}) SELECT {names}"
            f" FROM json_populate_recordset(NULL::{table}, ?::json)"
            " ON CONFLICT DO NOTHING"
        )


_WHOLE = _Into("requests", COLUMNS, CHUNKS)
_SHORT = _Into("requests", SHORT, SHORT_CHUNKS)
_ALIKE = _Into("alike", ALIKE, (1,))


def put(database: Database, rows: Sequence[Values]) -> int:
    """Puts rows in, in one transaction; how many were new. Raises StoreError, and then none is in."""
    if not rows:
        return 0
    with database.transaction():
        return _insert(database, _WHOLE, rows)


def put_records(
    database: Database, records: Sequence[UsageRecord], short: ShortRows, rows: Rows
) -> None:
    """Puts records in, in one transaction, as short rows where that is possible.

    They become rows a few at a time: this thread lets others run between two statements.
    Raises StoreError, and then none is in.
    """
    try:
        with database.transaction():
            for begin in range(0, len(records), SHORT_CHUNKS[0]):
                made, others = short.of(records[begin : begin + SHORT_CHUNKS[0]])
                _insert(database, _SHORT, made)
                if others:
                    _insert(database, _WHOLE, [rows.of(each) for each in others])
            _insert(database, _ALIKE, short.new)
    except StoreError:
        short.forget()
        raise
    short.new.clear()


def _insert(database: Database, into: _Into, rows: Sequence[Values]) -> int:
    if not rows:
        return 0
    if database.dialect == "postgresql":
        return database.execute(into.postgresql, (_json(into.columns, rows),))
    added = begin = 0
    for size, statement in into.sqlite:
        while len(rows) - begin >= size:
            part = chain.from_iterable(rows[begin : begin + size])
            added += database.execute(statement, tuple(part))
            begin += size
    return added


def put_or_drop(database: Database, rows: Sequence[Values]) -> tuple[int, int]:
    """As `put`, but for rows that no database takes: how many were new, how many are dropped."""
    try:
        return put(database, rows), 0
    except StoreRowError:
        if len(rows) == 1:
            return 0, 1
    half = (
        len(rows) // 2
    )  # the bad ones are few: halves find them sooner than single rows
    added, dropped = put_or_drop(database, rows[:half])
    more, worse = put_or_drop(database, rows[half:])
    return added + more, dropped + worse


def find(
    database: Database, generation_id: str, key_id: str
) -> Mapping[str, Any] | None:
    """One request of a key, by the names of the columns."""
    rows = database.query(
        f"SELECT {_NAMES} FROM records WHERE generation_id = ? AND key_id = ?",
        (generation_id, key_id),
    )
    return named(rows[0]) if rows else None


def stream(
    database: Database, since: float, until: float
) -> Iterator[Mapping[str, Any]]:
    """All requests that began in [since, until), in that order; few are in memory at once."""
    rows = database.stream(
        f"SELECT {_NAMES} FROM records WHERE created_at >= ? AND created_at < ?"
        " ORDER BY created_at",
        (since, until),
    )
    return map(named, rows)


def _json(columns: Sequence[str], rows: Sequence[Values]) -> str:
    try:
        return orjson.dumps(
            [dict(zip(columns, row, strict=True)) for row in rows]
        ).decode()
    except TypeError as exc:
        raise StoreRowError(str(exc)) from exc


def prune(database: Database, before: float) -> int:
    """Deletes the oldest requests that began before then, a few hundred at most; how many."""
    with database.transaction():
        return database.execute(
            "DELETE FROM requests WHERE generation_id IN (SELECT generation_id"
            f" FROM requests WHERE created_at < ? ORDER BY created_at LIMIT {PRUNED})",
            (before,),
        )


def prune_alike(database: Database, before: float) -> int:
    """Deletes of what requests had in common the oldest, a few hundred at most; how many.

    Only what none that began at `before` or later can refer to: first those of before have to be deleted.
    """
    with database.transaction():
        return database.execute(
            "DELETE FROM alike WHERE id IN (SELECT id FROM alike"
            f" WHERE made_at < ? ORDER BY made_at LIMIT {PRUNED})",
            (before - 2 * FRESH_S,),
        )


def carbon_g(database: Database, since: float, until: float) -> float:
    """Grams of the requests that began in an interval; those whose grams are not known count as none."""
    ((grams,),) = database.query(
        "SELECT sum(carbon_g) FROM requests WHERE created_at >= ? AND created_at < ?",
        (since, until),
    )
    return float(grams or 0.0)


def spent(
    database: Database, since: float, until: float = math.inf
) -> dict[str, tuple[int, int]]:
    """By key, what requests that began in [since, until) cost: nano-units of money, micrograms of carbon."""
    rows = database.query(
        "SELECT key_id, sum(cost_nano), sum(carbon_g) FROM requests"
        " WHERE created_at >= ? AND created_at < ? AND key_id IS NOT NULL"
        " GROUP BY key_id",
        (since, until),
    )
    return {
        key: (int(nano or 0), round((grams or 0.0) * 1_000_000))
        for key, nano, grams in rows
    }
