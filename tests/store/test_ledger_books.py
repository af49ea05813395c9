"""The statements do the same in both databases."""

from typing import ClassVar

import pytest

from lowproxy.store import ledger_books as books
from lowproxy.store.ledger_rows import COLUMNS, Rows
from lowproxy.store.migrations import migrate
from lowproxy.store.sqlite import SqliteDatabase
from tests.store.records import NOON, record


@pytest.fixture
def ready(database):
    """A database with its tables."""
    migrate(database)
    return database


def rows(numbers, **changes):
    """Rows with these numbers."""
    make = Rows()
    return [make.of(record(number, **changes)) for number in numbers]


@pytest.mark.parametrize("count", [1, 15, 16, 17, 127, 128, 129, 300])
def test_all_rows_are_put_in_once(ready, count):
    """Whatever their number; a second time changes nothing."""
    assert books.put(ready, rows(range(count))) == count
    assert books.put(ready, rows(range(count + 1))) == 1

    ids = [row["generation_id"] for row in books.stream(ready, 0, NOON * 2)]
    assert ids == [f"gen_{number:06}" for number in range(count + 1)]


def test_a_row_comes_back_as_it_was(ready):
    """Every value, to the last digit."""
    (row,) = rows([7], trace=lambda: {"chosen": "ä"})
    books.put(ready, [row])

    found = books.find(ready, "gen_000007", "alice")

    assert found is not None
    assert tuple(found[name] for name in COLUMNS) == row


def test_a_request_is_found_by_its_key_only(ready):
    """Another key's is not there."""
    books.put(ready, rows([7]))

    assert books.find(ready, "gen_000007", "bob") is None
    assert books.find(ready, "gen_000008", "alice") is None


def test_a_row_that_nobody_takes_does_not_take_the_others_along(ready):
    """Such as one without a time."""
    good = rows(range(40))
    bad = list(good[13])
    bad[COLUMNS.index("created_at")] = None
    bad[0] = "gen_bad"

    assert books.put_or_drop(ready, [*good, tuple(bad)]) == (40, 1)


def test_the_oldest_are_deleted_in_batches(ready):
    """None that is younger."""
    books.put(ready, rows(range(books.PRUNED + 20)))
    limit = NOON + books.PRUNED + 10

    assert books.prune(ready, limit) == books.PRUNED
    assert books.prune(ready, limit) == 10
    assert books.prune(ready, limit) == 0
    assert len(list(books.stream(ready, 0, NOON * 2))) == 10


def test_the_grams_of_an_interval(ready):
    """Of requests that began in it; unknown grams count as none, nobody as nothing."""
    books.put(ready, rows(range(4)))
    books.put(ready, rows([4], impact=None))
    each = books.carbon_g(ready, NOON, NOON + 1)

    assert each > 0
    assert books.carbon_g(ready, NOON + 1, NOON + 5) == pytest.approx(3 * each)
    assert books.carbon_g(ready, 0, NOON) == 0.0


def test_what_keys_have_spent(ready):
    """Money to the nano-unit, carbon to the microgram, from a moment on."""
    books.put(ready, rows(range(10)))
    books.put(ready, rows([20], key_id="bob", cost_nano=None, impact=None))
    books.put(ready, rows([21], key_id=None))

    spent = books.spent(ready, NOON + 5)

    assert set(spent) == {"alice", "bob"}
    assert spent["alice"][0] == 5 * 12_345
    assert spent["bob"] == (0, 0)
    assert books.spent(ready, NOON + 5, NOON + 7)["alice"][0] == 2 * 12_345


class Planned(SqliteDatabase):
    """Notes how each query is going to be answered."""

    plans: ClassVar[list[str]] = []

    def query(self, sql, parameters=()):
        """As `Database`."""
        for row in super().query(f"EXPLAIN QUERY PLAN {sql}", parameters):
            self.plans.append(row[-1])
        return super().query(sql, parameters)


def test_what_was_spent_is_in_the_index(tmp_path):
    """A start sums up a month of it: no row, with its trace of kilobytes, is read for that."""
    with Planned(tmp_path / "ledger.db", 5.0) as database:
        migrate(database)
        database.plans.clear()

        books.spent(database, 0.0, NOON)
        books.carbon_g(database, 0.0, NOON)

        looks = [plan for plan in database.plans if "requests" in plan]
        assert len(looks) == 2
        assert all("COVERING INDEX" in plan for plan in looks), looks
