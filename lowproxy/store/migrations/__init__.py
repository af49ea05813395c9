"""The shape of the database, in numbered SQL files, and the one way from each to the next: forward.

A file `NNNN_what.sql` is understood by SQLite and PostgreSQL alike: DOUBLE PRECISION,
BIGINT, INTEGER and TEXT are what both know. What has been released is never edited;
a change is a new file. All that are missing run in one transaction, under a lock, so
that any number of gateways may start at once.
"""

import re
import time
from functools import cache
from importlib import resources

import attrs

from lowproxy.store.database import Database, StoreRefusedError

_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_TABLE = """
CREATE TABLE IF NOT EXISTS lowproxy_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at DOUBLE PRECISION NOT NULL
)
"""


@attrs.frozen
class Migration:
    """One step; `sql` may hold several statements, each ended by `;` at a line's end."""

    version: int
    name: str
    sql: str


@cache
def known() -> tuple[Migration, ...]:
    """The steps of this program, in their order."""
    steps = []
    for file in resources.files(__name__).iterdir():
        if match := _NAME.fullmatch(file.name):
            sql = file.read_text("utf-8")
            steps.append(Migration(int(match[1]), match[2], sql))
    return tuple(sorted(steps, key=lambda step: step.version))


def pending(database: Database, steps: tuple[Migration, ...]) -> tuple[Migration, ...]:
    """Those of `steps` that the database has not seen.

    Raises StoreRefusedError where the database is newer than the program.
    """
    done = _applied(database)
    newest = max((step.version for step in steps), default=0)
    if done and max(done) > newest:
        raise StoreRefusedError(
            f"the store is of version {max(done)}, and this program knows {newest}:"
            " a newer one has migrated it, and there is no way back; run that one"
        )
    return tuple(step for step in steps if step.version not in done)


def migrate(
    database: Database, steps: tuple[Migration, ...] | None = None
) -> tuple[Migration, ...]:
    """Takes the database to the program's version; what was done.

    Raises StoreError, and then nothing of it was.
    """
    steps = known() if steps is None else steps
    if not pending(database, steps):
        return ()  # without a lock: the usual start
    with database.transaction():
        database.lock_migrations()
        missing = pending(database, steps)  # another one may have been quicker
        database.execute(_TABLE)
        for step in missing:
            for statement in statements(step.sql):
                database.execute(statement)
            database.execute(
                "INSERT INTO lowproxy_migrations (version, name, applied_at)"
                " VALUES (?, ?, ?)",
                (step.version, step.name, time.time()),
            )
    return missing


def statements(sql: str) -> list[str]:
    """The statements of a file, without its comments."""
    lines = [line for line in sql.splitlines() if not line.lstrip().startswith("--")]
    parts = "\n".join(lines).split(";\n")
    return [part.strip().rstrip(";") for part in parts if part.strip(" \n;")]


def _applied(database: Database) -> set[int]:
    catalogue = (
        "SELECT 1 FROM sqlite_master WHERE name = 'lowproxy_migrations'"
        if database.dialect == "sqlite"
        # Not to_regclass: a "no" that it gave before the lock is still in its cache.
        else "SELECT 1 FROM pg_tables WHERE tablename = 'lowproxy_migrations'"
        " AND schemaname = ANY (current_schemas(false))"
    )
    if not database.query(catalogue):
        return set()
    rows = database.query("SELECT version FROM lowproxy_migrations")
    return {int(version) for (version,) in rows}
