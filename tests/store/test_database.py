"""Both databases behave alike behind the interface."""

import pytest

from lowproxy.store.database import StoreError


def test_statements_and_answers(database):
    """`?` marks a parameter, and rows come back as tuples."""
    database.execute("CREATE TABLE t (a INTEGER, b TEXT)")

    touched = database.execute("INSERT INTO t VALUES (?, ?), (?, ?)", (1, "x", 2, None))

    assert touched == 2
    assert database.query("SELECT a, b FROM t ORDER BY a") == [(1, "x"), (2, None)]


def test_an_answer_of_any_size_is_streamed(database):
    """More rows than are fetched at once, all of them, in order."""
    database.execute("CREATE TABLE t (a INTEGER)")
    for number in range(0, 1200, 100):
        values = ", ".join(f"({number + i})" for i in range(100))
        database.execute(f"INSERT INTO t VALUES {values}")

    rows = database.stream("SELECT a FROM t WHERE a >= ? ORDER BY a", (10,))

    assert [row[0] for row in rows] == list(range(10, 1200))


def test_a_transaction_is_all_or_nothing(database):
    """What raises within it undoes it."""
    database.execute("CREATE TABLE t (a INTEGER)")
    with pytest.raises(KeyError), database.transaction():
        database.execute("INSERT INTO t VALUES (1)")
        raise KeyError("in the middle")

    assert database.query("SELECT a FROM t") == []


def test_a_failure_has_one_name(database):
    """Whatever the driver raises."""
    with pytest.raises(StoreError, match="nowhere"):
        database.query("SELECT 1 FROM nowhere")
