"""The database comes to the program's version: once, wholly, forward only."""

import threading

import pytest

from lowproxy.store.connecting import connect
from lowproxy.store.database import StoreError, StoreRefusedError
from lowproxy.store.migrations import Migration, known, migrate, pending, statements

ONE = Migration(1, "one", "CREATE TABLE one (a INTEGER);\n")
TWO = Migration(2, "two", "-- b; is new\nALTER TABLE one ADD COLUMN b TEXT;\n")
WRONG = Migration(
    3, "wrong", "CREATE TABLE three (a INTEGER);\nINSERT INTO nowhere VALUES (1);\n"
)


def test_the_steps_are_numbered_without_a_gap():
    """From 1; a number that two branches took is a mistake."""
    assert [step.version for step in known()] == list(range(1, len(known()) + 1))


def test_every_step_runs_once(database):
    """All that are known, and then none."""
    assert migrate(database) == known()
    assert migrate(database) == ()
    assert pending(database, known()) == ()


def test_a_later_program_does_what_is_missing(database):
    """And only that."""
    migrate(database, (ONE,))

    assert migrate(database, (ONE, TWO)) == (TWO,)
    database.execute("INSERT INTO one (a, b) VALUES (1, 'x')")


def test_an_older_program_is_refused(database):
    """It would write what it does not know: there is no way back."""
    migrate(database, (ONE, TWO))

    with pytest.raises(StoreRefusedError, match="version 2.*knows 1"):
        migrate(database, (ONE,))


def test_a_step_that_fails_leaves_nothing(database):
    """Neither its first half nor the steps before it in the same run."""
    with pytest.raises(StoreError):
        migrate(database, (ONE, TWO, WRONG))

    assert pending(database, (ONE, TWO, WRONG)) == (ONE, TWO, WRONG)
    assert migrate(database, (ONE, TWO)) == (ONE, TWO)


def test_gateways_that_start_together(store_url):
    """Each finds the database in order, one of them has done it."""
    done: list[object] = []
    barrier = threading.Barrier(4)

    def start() -> None:
        database = connect(store_url)
        barrier.wait()
        try:
            done.append(migrate(database))
        except StoreError as exc:
            done.append(exc)
        database.close()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(done, key=repr) == sorted([known(), (), (), ()], key=repr)


def test_a_comment_is_no_statement():
    """Nor does a semicolon in one end one."""
    assert statements(TWO.sql) == ["ALTER TABLE one ADD COLUMN b TEXT"]
