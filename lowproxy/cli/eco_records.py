"""The requests that `lowproxy eco compare` goes over: lines of a file, or the store's records."""

import sys
from collections.abc import Iterator
from pathlib import Path

import orjson

from lowproxy.config import Config
from lowproxy.store import ledger_books as books
from lowproxy.store.connecting import connect
from lowproxy.store.database import StoreError

_COMPARED = (
    "provider",
    "region",
    "zone",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
)
_EVER_S = float(2**53)


def stored(config: Config) -> Iterator[bytes]:
    """The store's records as lines; raises StoreError."""
    if config.places.store is None:
        raise StoreError("no store is configured")
    url = config.places.store.reveal()
    database = connect(url, config.store.timeout_s, make=False)
    try:
        for row in books.stream(database, 0.0, _EVER_S):
            line = {name: row[name] for name in _COMPARED if row[name] is not None}
            eco = orjson.loads(row["eco"] or "{}")
            yield orjson.dumps({**line, "model": row["resolved_model"], "eco": eco})
    finally:
        database.close()


def read_lines(path: Path) -> Iterator[bytes]:
    """A file's, or those of standard input for `-`. Raises OSError."""
    if str(path) == "-":
        yield from sys.stdin.buffer
        return
    with path.open("rb") as file:
        yield from file
