"""SQLite's own: how the file is kept."""

from lowproxy.store.connecting import connect


def test_sqlite_is_in_wal_mode(tmp_path):
    """So that reading the books stops no one from writing them."""
    database = connect(f"sqlite://{tmp_path}/ledger.db")

    assert database.query("PRAGMA journal_mode") == [("wal",)]
    database.close()


def test_the_file_is_its_owners(tmp_path):
    """Nobody else reads who used what; nor the log that SQLite keeps beside it."""
    database = connect(f"sqlite://{tmp_path}/ledger.db")
    database.execute("CREATE TABLE t (a INTEGER)")

    modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    database.close()

    assert modes == {0o600}
