"""Every record comes into the books once, whatever becomes of the database meanwhile."""

import json
import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from lowproxy.store import ledger as module
from lowproxy.store import ledger_books as books
from lowproxy.store.connecting import connect, open_migrated
from lowproxy.store.database import StoreError, StoreRefusedError
from lowproxy.store.ledger import FEW_WAITING, Ledger, Terms
from lowproxy.store.ledger_spill import Spill
from tests.fakes import LIMIT_S
from tests.store.records import NOON, record


class Store:
    """A database that can be away, full, or locked."""

    def __init__(self, url):
        self.url = url
        self.away = False

    def open(self):
        """As the ledger opens it."""
        if self.away:
            raise StoreError("away")
        return open_migrated(self.url, 0.5)

    def ids(self):
        """What is in it, in order."""
        database = connect(self.url)
        found = [row["generation_id"] for row in books.stream(database, 0, NOON * 2)]
        database.close()
        return found


@pytest.fixture
def store(store_url):
    """An empty one."""
    return Store(store_url)


@pytest.fixture
def make(store, tmp_path, monkeypatch):
    """Makes ledgers whose thread does not run: a test flushes."""
    monkeypatch.setattr("lowproxy.store.ledger.REST_S", 0.0)
    monkeypatch.setattr("lowproxy.store.ledger.MOST_REST_S", 0.0)
    monkeypatch.setattr("lowproxy.store.ledger.ENOUGH", 1_000_000)
    made = []

    def start(**terms):
        terms.setdefault("spill", Spill(tmp_path / "spill", 10_000_000))
        terms.setdefault("retention_days", 100_000)
        ledger = Ledger(Terms(store.open, flush_interval_s=3600.0, **terms))
        ledger.start()
        made.append(ledger)
        return ledger

    yield start
    for ledger in made:
        ledger.close()


def put(ledger, *numbers):
    """Appends records with these numbers."""
    for number in numbers:
        ledger.append(record(number))


def ids(*numbers):
    """Their generation ids."""
    return [f"gen_{number:06}" for number in numbers]


def test_closing_writes_what_waits(make, store):
    """A gateway that is told to stop loses nothing."""
    ledger = make()
    put(ledger, *range(2000))

    assert ledger.depth == 2000
    ledger.close()

    assert store.ids() == ids(*range(2000))
    assert ledger.counts.written == 2000


def test_many_are_written_before_their_time(make, store, monkeypatch):
    """A burst does not fill the memory until the interval is over."""
    monkeypatch.setattr("lowproxy.store.ledger.ENOUGH", 20)
    ledger = make()
    put(ledger, *range(20))

    deadline = time.monotonic() + LIMIT_S
    while ledger.counts.written < 20:
        assert time.monotonic() < deadline
        time.sleep(0)
    assert store.ids() == ids(*range(20))


def test_a_record_is_found_while_it_waits(make):
    """Before the flush; afterwards the database has it."""
    ledger = make()
    put(ledger, 1)

    found = ledger.waiting("gen_000001")
    assert found is not None
    assert found["key_id"] == "alice"
    ledger.flush()
    assert ledger.waiting("gen_000001") is None


def test_a_database_that_is_away_costs_nothing(make, store):
    """Its records wait in the file, and come in once, in order, when it is back."""
    ledger = make()
    put(ledger, 1)
    ledger.flush()
    ledger._database.close()
    store.away = True
    for number in range(2, 6):
        put(ledger, number)
        ledger.flush()
    assert ledger.counts.spilled == 4
    assert not ledger.counts.up

    store.away = False
    put(ledger, 6)
    ledger.flush()
    ledger.flush()

    assert store.ids() == ids(*range(1, 7))
    assert ledger.counts.replayed == 4
    assert ledger.counts.spill_bytes == 0
    assert ledger.counts.up


def test_it_may_be_away_from_the_start(make, store):
    """The gateway runs, and the books are kept."""
    store.away = True
    ledger = make()
    put(ledger, 1, 2)
    ledger.flush()
    ledger.close()

    store.away = False
    make().close()

    assert store.ids() == ids(1, 2)


def test_one_that_is_not_for_us_is_refused_at_the_start(store):
    """A newer program has migrated it."""
    database = store.open()
    database.execute("INSERT INTO lowproxy_migrations VALUES (99, 'later', 0)")
    database.close()

    with pytest.raises(StoreRefusedError, match="99"):
        Ledger(Terms(store.open)).start()


def test_a_file_that_was_read_and_not_deleted_adds_nothing(make, store, tmp_path):
    """Killed between the two: what is replayed again is there once."""
    store.away = True
    ledger = make()
    put(ledger, 1, 2)
    ledger.flush()
    ledger.close()
    spilled = tmp_path / "spill/ledger.spill.jsonl"
    text = spilled.read_bytes()

    store.away = False
    make().close()
    spilled.write_bytes(text)
    make().close()

    assert store.ids() == ids(1, 2)
    assert not spilled.exists()


def test_a_full_disk_fills_the_spill_file(make, store):
    """SQLite's own words for it: the rest goes aside, and comes back when there is room."""
    if not store.url.startswith("sqlite"):
        pytest.skip("PostgreSQL's disk is its own")
    ledger = make()
    pages = ledger._database.query("PRAGMA page_count")[0][0]
    ledger._database.query(f"PRAGMA max_page_count = {pages + 2}")
    put(ledger, *range(500))
    ledger.flush()

    assert ledger.counts.spilled == 500

    ledger.flush()  # opened again: without that bound
    assert store.ids() == ids(*range(500))


def test_where_nothing_can_be_written_records_wait(make, store, tmp_path):
    """In memory, up to a bound; then they are lost, and counted."""
    store.away = True
    (tmp_path / "file").write_text("")
    ledger = make(spill=Spill(tmp_path / "file", 1000))
    put(ledger, *range(FEW_WAITING + 5))
    ledger.flush()

    assert ledger.depth == FEW_WAITING
    assert ledger.counts.lost == 5

    store.away = False
    ledger.flush()
    assert store.ids() == ids(*range(FEW_WAITING))


def test_a_spill_that_is_full_keeps_what_it_has(make, store, tmp_path):
    """The oldest records are kept, the newest wait and are lost at last."""
    store.away = True
    ledger = make(spill=Spill(tmp_path / "spill", 5_000))
    for number in range(10):
        put(ledger, number)
        ledger.flush()

    assert 0 < ledger.counts.spilled < 10
    assert ledger.counts.spilled + ledger.depth == 10


def test_a_row_that_cannot_be_put_in_is_lost_alone(make, store):
    """And counted."""
    ledger = make()
    put(ledger, 1)
    ledger.append(record(2, created_at=None))
    put(ledger, 3)
    ledger.flush()

    assert store.ids() == ids(1, 3)
    assert ledger.counts.lost == 1


def test_a_bug_that_one_record_shows_costs_that_one(make, store):
    """Whatever is raised where it is put down; it is counted, and the next ones are written."""
    ledger = make()
    put(ledger, 1)
    ledger.append(record(2, trace=lambda: 1 / 0))
    put(ledger, 3)
    ledger.flush()
    put(ledger, 4)
    ledger.flush()

    assert store.ids() == ids(1, 3, 4)
    assert (ledger.counts.lost, ledger.counts.written) == (1, 3)


def test_a_bug_that_one_record_shows_while_the_database_is_away(make, store):
    """The others are put aside."""
    store.away = True
    ledger = make()
    ledger.append(record(1, trace=lambda: 1 / 0))
    put(ledger, 2)
    ledger.flush()

    assert (ledger.counts.lost, ledger.counts.spilled, ledger.depth) == (1, 1, 0)


def test_what_is_past_its_time_goes(make, store):
    """At the first flush, and again from time to time."""
    ledger = make()
    put(ledger, *range(700))
    ledger.close()

    ledger = make(retention_days=1)
    for _ in range(3):
        ledger.flush()

    assert ledger.counts.pruned == 700
    assert store.ids() == []


def test_all_that_nobody_refers_to_any_more_goes(make, store):
    """However much there is of it: not a batch or two each hour, which may be less than comes in."""
    ledger = make()
    for number in range(2 * books.PRUNED + 100):
        ledger.append(record(number, error=f"e{number}"))
    ledger.flush()
    with store.open() as database:
        database.execute("UPDATE alike SET made_at = ?", (NOON - 86_400.0,))
    ledger.close()

    ledger = make(retention_days=1)
    for _ in range(8):
        ledger.flush()

    with store.open() as database:
        assert database.query("SELECT count(*) FROM alike") == [(0,)]
    assert ledger.counts.pruned == 2 * books.PRUNED + 100


def test_no_text_of_a_request_is_in_the_file(make, store, tmp_path):
    """It has the columns, and nothing else."""
    store.away = True
    ledger = make()
    put(ledger, 1)
    ledger.flush()

    (line,) = (tmp_path / "spill/ledger.spill.jsonl").read_text().splitlines()
    assert "messages" not in json.loads(line)


@pytest.mark.parametrize("event", ["away", "stuck"])
def test_one_line_tells_of_an_outage(make, store, tmp_path, monkeypatch, event):
    """However many flushes fail."""
    told: list[str] = []
    say = SimpleNamespace(warning=lambda name, **_: told.append(name))
    monkeypatch.setattr(module, "log", say)
    store.away = True
    (tmp_path / "file").write_text("")
    spill = Spill(tmp_path / ("spill" if event == "away" else "file"), 1_000_000)
    ledger = make(spill=spill)
    for number in range(5):
        put(ledger, number)
        ledger.flush()

    assert told.count(f"ledger.{event}") == 1


def test_a_frozen_server_is_left(make, store):
    """A wait that takes too long is ended; its records go aside, and are in the books once."""
    if store.url.startswith("sqlite"):
        pytest.skip("a file does not freeze")
    ledger = make(timeout_s=LIMIT_S)
    (pid,) = ledger._database.query("SELECT pg_backend_pid()")[0]
    put(ledger, 1, 2, 3)
    flush = threading.Thread(target=ledger.flush)
    os.kill(pid, signal.SIGSTOP)
    try:
        flush.start()
        while flush.is_alive():
            ledger.watch(time.monotonic() + 2 * LIMIT_S)  # as if it had waited so long
            flush.join(0.01)
        assert ledger.depth == 0
        assert ledger.counts.written == 0
    finally:
        os.kill(pid, signal.SIGCONT)
    ledger.flush()

    assert store.ids() == ids(1, 2, 3)
