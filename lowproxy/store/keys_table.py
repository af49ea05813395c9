"""Keys in the database: their hashes and policies, and the count of changes that gateways watch.

Every change is one transaction that moves the count, so that whoever sees the count sees the change.
"""

import json
from collections.abc import Mapping
from typing import Any

import attrs

from lowproxy.config.policy import api_key, read_policy, written
from lowproxy.config.rows import KeyRow
from lowproxy.core.access import ApiKey
from lowproxy.store.database import Database, Row

_COLUMNS = "name, hash, policy, created_at, updated_at"


class KeyTableError(Exception):
    """A change that cannot be made; the text says why, and what would be right."""


class NoSuchKeyError(KeyTableError):
    """No key of that name is in the store."""


@attrs.frozen
class StoredKey:
    """A key as the database has it: never the key itself. Times are epoch seconds."""

    row: KeyRow
    hash: str
    created_at: float
    updated_at: float
    problems: tuple[str, ...] = ()  # of a policy that this program cannot read

    @property
    def key(self) -> ApiKey:
        """What requests are judged by. A policy that cannot be read lets nobody in."""
        key = api_key(self.row, self.hash)
        return attrs.evolve(key, enabled=False) if self.problems else key

    def as_json(self) -> dict[str, Any]:
        """What may be shown of it: its policy, not its hash."""
        return {
            "name": self.row.name,
            **written(self.row),
            "enabled": self.row.enabled,
            "created_at": int(self.created_at),
            "updated_at": int(self.updated_at),
        }


def version(database: Database) -> int:
    """How often keys have changed."""
    rows = database.query("SELECT version FROM key_changes WHERE id = 1")
    return int(rows[0][0]) if rows else 0


def load(database: Database) -> tuple[int, list[StoredKey]]:
    """The count, and the keys of then or later, by name."""
    seen = version(database)
    rows = database.query(f"SELECT {_COLUMNS} FROM caller_keys ORDER BY name")
    return seen, [_stored(row) for row in rows]


def find(database: Database, name: str) -> StoredKey:
    """One key. Raises NoSuchKeyError."""
    rows = database.query(f"SELECT {_COLUMNS} FROM caller_keys WHERE name = ?", (name,))
    if not rows:
        raise NoSuchKeyError(f"no key named {name!r} is in the store")
    return _stored(rows[0])


def add(database: Database, row: KeyRow, digest: str, now: float) -> StoredKey:
    """Puts a new key in. Raises KeyTableError where the name is taken."""
    with database.transaction():
        taken = database.query(
            "SELECT name FROM caller_keys WHERE name = ? OR hash = ?",
            (row.name, digest),
        )
        if taken:
            right = "another name, or edit or rotate the one that is there"
            raise KeyTableError(f"the name {row.name!r} is taken; needs {right}")
        database.execute(
            f"INSERT INTO caller_keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",
            (row.name, digest, json.dumps(written(row)), now, now),
        )
        _changed(database)
    return StoredKey(row, digest, now, now)


def edit(
    database: Database, name: str, fields: Mapping[str, Any], now: float
) -> StoredKey:
    """Changes these fields of a policy; None clears one. Raises KeyTableError naming every mistake."""
    with database.transaction():
        old = find(database, name)
        row, problems = read_policy(name, {**written(old.row), **fields})
        if row is None:
            raise KeyTableError("; ".join(problems))
        database.execute(
            "UPDATE caller_keys SET policy = ?, updated_at = ? WHERE name = ?",
            (json.dumps(written(row)), now, name),
        )
        _changed(database)
    return attrs.evolve(old, row=row, updated_at=now, problems=())


def rotate(database: Database, name: str, digest: str, now: float) -> StoredKey:
    """Another key in place of the old one, which is good no longer. Raises NoSuchKeyError."""
    with database.transaction():
        old = find(database, name)
        database.execute(
            "UPDATE caller_keys SET hash = ?, updated_at = ? WHERE name = ?",
            (digest, now, name),
        )
        _changed(database)
    return attrs.evolve(old, hash=digest, updated_at=now)


def delete(database: Database, name: str) -> None:
    """Takes a key out. Raises NoSuchKeyError."""
    with database.transaction():
        if not database.execute("DELETE FROM caller_keys WHERE name = ?", (name,)):
            raise NoSuchKeyError(f"no key named {name!r} is in the store")
        _changed(database)


def _changed(database: Database) -> None:
    database.execute("UPDATE key_changes SET version = version + 1 WHERE id = 1")


def _stored(row: Row) -> StoredKey:
    name, digest, policy, created_at, updated_at = row
    try:
        fields = json.loads(policy)
        read, problems = read_policy(name, fields)
    except (ValueError, TypeError, AttributeError):
        read, problems = None, ["the policy is not a JSON object"]
    blank = KeyRow(name, enabled=False)
    return StoredKey(read or blank, digest, created_at, updated_at, tuple(problems))
