"""The statements on the table `requests`: put in, find, sum up, stream, prune."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import orjson

from lowproxy.store.database import Database, StoreRowError
from lowproxy.store.ledger_rows import COLUMNS, Values, named

# Rows to a statement. Between two statements the event loop may run; each start of one
# may have to wait five milliseconds for a busy loop, so they must not be small.
CHUNKS = (128, 16, 1)
PRUNED = 500  # rows to a transaction: nobody waits long for one

_NAMES = ", ".join(COLUMNS)
_ROW = f"({', '.join('?' * len(COLUMNS))})"
# By generation_id: what is put in twice is there once.
_SQLITE = {
    size: f"INSERT INTO requests ({_NAMES}) VALUES {', '.join([_ROW] * size)}"
    " ON CONFLICT DO NOTHING"
    for size in CHUNKS
}
# One parameter for all rows: to convert each of them would cost us more than the server.
_POSTGRESQL = (
    f"INSERT INTO requests ({_NAMES}) SELECT {_NAMES}"
    " FROM json_populate_recordset(NULL::requests, ?::json) ON CONFLICT DO NOTHING"
)


def put(database: Database, rows: Sequence[Values]) -> int:
    """Puts rows in, in one transaction; how many were new. Raises StoreError, and then none is in."""
    if not rows:
        return 0
    with database.transaction():
        if database.dialect == "postgresql":
            text = _json(rows)
            return database.execute(_POSTGRESQL, (text,))
        added = begin = 0
        for size in CHUNKS:
            while len(rows) - begin >= size:
                part = chain.from_iterable(rows[begin : begin + size])
                added += database.execute(_SQLITE[size], tuple(part))
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
        f"SELECT {_NAMES} FROM requests WHERE generation_id = ? AND key_id = ?",
        (generation_id, key_id),
    )
    return named(rows[0]) if rows else None


def stream(
    database: Database, since: float, until: float
) -> Iterator[Mapping[str, Any]]:
    """All requests that began in [since, until), in that order; few are in memory at once."""
    rows = database.stream(
        f"SELECT {_NAMES} FROM requests WHERE created_at >= ? AND created_at < ?"
        " ORDER BY created_at",
        (since, until),
    )
    return map(named, rows)


def _json(rows: Sequence[Values]) -> str:
    try:
        return orjson.dumps([named(row) for row in rows]).decode()
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
