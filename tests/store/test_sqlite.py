"""SQLite's own: how the file is kept."""

from lowproxy.store.connecting import connect


def test_sqlite_is_in_wal_mode(tmp_path):
    """So that reading the books stops no one from writing them."""
    database = connect(f"sqlite://{tmp_path}/ledger.db")

    assert database.query("PRAGMA journal_mode") == [("wal",)]
    database.close()
