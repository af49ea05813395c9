"""Records wait in a file, all of them, and are read once."""

import multiprocessing

import pytest

from lowproxy.store.ledger_rows import Rows
from lowproxy.store.ledger_spill import NAME, Spill, SpillFullError, read
from tests.store.records import record

MOST = 1_000_000


def rows(*numbers):
    """Rows with these numbers."""
    make = Rows()
    return [make.of(record(number)) for number in numbers]


def all_of(spill):
    """Every row that waits, taken."""
    found = []
    for path in spill.take():
        part, _ = read(path, MOST)
        found += part
    return found


def test_what_is_put_in_comes_out(tmp_path):
    """In order, value for value."""
    spill = Spill(tmp_path / "deep", MOST)
    spill.append(rows(1, 2))
    spill.append(rows(3))

    assert all_of(spill) == rows(1, 2, 3)


def test_a_file_that_is_read_gets_no_more(tmp_path):
    """What comes meanwhile waits in another."""
    spill = Spill(tmp_path, MOST)
    spill.append(rows(1))
    (path,) = spill.take()
    spill.append(rows(2))

    assert read(path, MOST)[0] == rows(1)
    assert len(spill.take()) == 2


def test_reading_goes_on_where_it_stopped(tmp_path):
    """A few rows at a time."""
    spill = Spill(tmp_path, MOST)
    spill.append(rows(*range(5)))
    (path,) = spill.take()

    first, offset = read(path, 2)
    rest, _ = read(path, MOST, offset)

    assert first + rest == rows(*range(5))


def test_a_torn_line_costs_that_line_only(tmp_path):
    """A process was killed while it wrote; the next one appends to the same file."""
    spill = Spill(tmp_path, MOST)
    spill.append(rows(1, 2))
    text = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(text[:-20])
    spill.append(rows(3))

    assert all_of(spill) == rows(1, 3)


def test_it_has_a_bound(tmp_path):
    """Over all files; what does not fit is refused whole."""
    spill = Spill(tmp_path, 3_000)
    spill.append(rows(1))
    spill.take()
    spill.append(rows(2))
    size = spill.size()

    with pytest.raises(SpillFullError):
        spill.append(rows(3, 4, 5))

    assert spill.size() == size
    assert all_of(spill) == rows(1, 2) or sorted(all_of(spill)) == rows(1, 2)


def test_a_full_disk_leaves_no_half(tmp_path):
    """What could not be written whole is taken back."""
    (tmp_path / NAME).symlink_to("/dev/full")

    with pytest.raises(OSError, match="space"):
        Spill(tmp_path, MOST).append(rows(1))


def _appends(folder, first):
    spill = Spill(folder, 10 * MOST)
    for number in range(first, first + 50):
        spill.append(rows(number))
        if number % 10 == 0:
            spill.take()


def test_several_processes_share_a_directory(tmp_path):
    """Nothing is lost or doubled while they append and take."""
    context = multiprocessing.get_context("spawn")
    children = [
        context.Process(target=_appends, args=(tmp_path, first)) for first in (0, 1000)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)

    found = [row[0] for row in all_of(Spill(tmp_path, MOST))]
    assert sorted(found) == sorted(
        row[0] for row in rows(*range(50), *range(1000, 1050))
    )
