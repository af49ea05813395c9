"""Opens the database that a URL names.

A driver is imported when a database of its kind is opened: a gateway without
PostgreSQL never loads psycopg.
"""

from pathlib import Path

from lowproxy.store.database import Database
from lowproxy.store.migrations import migrate
from lowproxy.store.sqlite import SqliteDatabase


def connect(url: str, timeout_s: float = 5.0, *, make: bool = True) -> Database:
    """Opens a database. `make`: an SQLite file, and its directory, that is not there.

    Raises StoreError.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        return SqliteDatabase(Path("/" + rest.strip("/")), timeout_s, make=make)
    from lowproxy.store.postgresql import PostgresDatabase

    return PostgresDatabase(url, timeout_s)


def open_migrated(url: str, timeout_s: float = 5.0) -> Database:
    """Opens a database and takes it to this program's version. Raises StoreError."""
    database = connect(url, timeout_s)
    try:
        migrate(database)
    except BaseException:
        database.close()
        raise
    return database
