"""A change reaches a gateway within a second, and a database that is away takes no key."""

import threading

import pytest

from lowproxy.config.rows import KeyRow
from lowproxy.core.keys import hash_key
from lowproxy.store import keys_table
from lowproxy.store.connecting import open_migrated
from lowproxy.store.database import StoreError
from lowproxy.store.keys_watch import LOOK_S, KeysWatch


class Told:
    def __init__(self):
        self.all, self.changed = [], threading.Event()

    def __call__(self, version, keys):
        self.all.append([key.name for key in keys])
        self.changed.set()

    def wait(self):
        assert self.changed.wait(10)
        self.changed.clear()


def test_a_change_is_seen_from_another_connection(store_url):
    """Once for each change; what has not changed is not read again."""
    told = Told()
    watch = KeysWatch(lambda: open_migrated(store_url), told, look_s=0.01)
    watch.start()
    try:
        told.wait()
        other = open_migrated(store_url)
        keys_table.add(other, KeyRow("alice"), hash_key("one"), 1.0)
        told.wait()
        keys_table.delete(other, "alice")
        told.wait()
        other.close()
    finally:
        watch.close()
    assert told.all == [[], ["alice"], []]


def test_a_look_is_well_within_the_second():
    """That a replica may take to know."""
    assert LOOK_S <= 0.5


def test_a_database_that_is_away_changes_nothing(tmp_path):
    """What was known holds; when it is back, changes are seen again."""
    url, told, there = f"sqlite://{tmp_path}/books.db", Told(), True

    def open_():
        if not there:
            raise StoreError("away")
        return open_migrated(url)

    watch = KeysWatch(open_, told)
    watch.look()
    there = False
    watch._forget()
    with pytest.raises(StoreError):
        watch.look()
    assert told.all == [[]]
    there = True
    other = open_migrated(url)
    keys_table.add(other, KeyRow("alice"), hash_key("one"), 1.0)
    other.close()
    watch.look()
    assert told.all == [[], ["alice"]]
    watch._forget()


def test_a_start_without_a_database_is_a_start(tmp_path):
    """With the keys of the configuration; the thread goes on trying."""

    def away():
        raise StoreError("away")

    watch = KeysWatch(away, Told())
    watch.start()
    watch.close()
