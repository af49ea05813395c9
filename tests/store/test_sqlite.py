"""SQLite's own: how the file is kept."""

import subprocess
import sys

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


def test_another_connection_takes_no_locks_away(tmp_path):
    """A process has several. While one is open no other process takes itself for the last to leave.

    The last one removes the log that the file is incomplete without.
    """
    url = f"sqlite://{tmp_path}/ledger.db"
    database = connect(url)
    database.execute("CREATE TABLE t (a INTEGER)")
    connect(url).close()
    program = f"""
import sqlite3
there = sqlite3.connect({str(tmp_path / "ledger.db")!r})
print(there.execute("SELECT count(*) FROM t").fetchall())
there.close()
"""
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert (tmp_path / "ledger.db-wal").exists()
    database.close()
