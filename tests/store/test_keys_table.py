"""Keys in the database, on every engine."""

import pytest

from lowproxy.config.rows import KeyRow
from lowproxy.core.keys import hash_key
from lowproxy.store import keys_table
from lowproxy.store.keys_table import KeyTableError, NoSuchKeyError
from lowproxy.store.migrations import migrate

ROW = KeyRow("alice", models=("acme/*",), daily_limit=2.5)
NOW = 1_774_872_000.0


@pytest.fixture
def table(database):
    migrate(database)
    return database


def test_a_key_is_kept_as_its_hash_and_its_policy(table):
    """And comes back as it was."""
    added = keys_table.add(table, ROW, hash_key("one"), NOW)
    assert keys_table.find(table, "alice") == added
    assert added.key.models == ("acme/*",)
    assert added.key.limits is not None
    assert added.key.limits.daily_nano == 2_500_000_000
    assert added.as_json() == {
        "name": "alice",
        "models": ["acme/*"],
        "daily_limit": 2.5,
        "enabled": True,
        "created_at": int(NOW),
        "updated_at": int(NOW),
    }


def test_every_change_moves_the_count(table):
    """So a gateway sees that it has to read."""
    seen = [keys_table.version(table)]
    for change in (
        lambda: keys_table.add(table, ROW, hash_key("one"), NOW),
        lambda: keys_table.edit(table, "alice", {"region": "eu"}, NOW + 1),
        lambda: keys_table.rotate(table, "alice", hash_key("two"), NOW + 2),
        lambda: keys_table.delete(table, "alice"),
    ):
        change()
        seen.append(keys_table.version(table))
    assert seen == sorted(set(seen))
    assert keys_table.load(table) == (seen[-1], [])


def test_an_edit_changes_what_it_names(table):
    """None clears; the rest stays; the hash stays."""
    keys_table.add(table, ROW, hash_key("one"), NOW)
    edited = keys_table.edit(
        table, "alice", {"models": None, "max_streams": 3, "enabled": False}, NOW + 5
    )
    assert edited.row == KeyRow("alice", daily_limit=2.5, max_streams=3, enabled=False)
    assert edited.hash == hash_key("one")
    assert (edited.created_at, edited.updated_at) == (NOW, NOW + 5)
    assert keys_table.find(table, "alice") == edited


def test_a_rotated_key_keeps_its_policy(table):
    """Under another hash, and the old one is gone."""
    keys_table.add(table, ROW, hash_key("one"), NOW)
    rotated = keys_table.rotate(table, "alice", hash_key("two"), NOW)
    assert (rotated.hash, rotated.row) == (hash_key("two"), ROW)
    [only] = keys_table.load(table)[1]
    assert only.hash == hash_key("two")


def test_what_cannot_be_done_changes_nothing(table):
    """A taken name, an unknown one, a policy with a mistake."""
    keys_table.add(table, ROW, hash_key("one"), NOW)
    before = keys_table.load(table)
    with pytest.raises(KeyTableError, match="'alice' is taken"):
        keys_table.add(table, ROW, hash_key("two"), NOW)
    with pytest.raises(KeyTableError, match="daily_limit: found -1"):
        keys_table.edit(table, "alice", {"daily_limit": -1}, NOW)
    for change in (
        lambda: keys_table.find(table, "bob"),
        lambda: keys_table.edit(table, "bob", {}, NOW),
        lambda: keys_table.rotate(table, "bob", hash_key("x"), NOW),
        lambda: keys_table.delete(table, "bob"),
    ):
        with pytest.raises(NoSuchKeyError, match="no key named 'bob'"):
            change()
    assert keys_table.load(table) == before


@pytest.mark.parametrize("policy", ["[]", "no JSON", '{"of_tomorrow": 1}', "null"])
def test_a_policy_that_cannot_be_read_lets_nobody_in(table, policy):
    """Least of all with fewer limits than it says."""
    keys_table.add(table, ROW, hash_key("one"), NOW)
    table.execute("UPDATE caller_keys SET policy = ?", (policy,))
    stored = keys_table.find(table, "alice")
    assert stored.problems
    assert not stored.key.enabled
