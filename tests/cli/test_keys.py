"""`lowproxy keys new` prints a key once, and the rows that make it valid."""

import json
import re

import pytest

from lowproxy import config
from lowproxy.cli import main
from lowproxy.core.keys import hash_key
from lowproxy.store import keys_table
from lowproxy.store.connecting import open_migrated


def new(name, capsys):
    """The key and the rows that were printed."""
    assert main(["keys", "new", name]) == 0
    printed = capsys.readouterr().out
    [key] = re.findall(r"^    (lr-sk-[A-Za-z0-9_-]{43})$", printed, re.MULTILINE)
    return key, printed[printed.index("[[keys]]") :]


@pytest.fixture(autouse=True)
def somewhere(monkeypatch, tmp_path):
    """A folder without a configuration, and an environment without a state directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_STATE_HOME", "STATE_DIRECTORY", "LOWROUTER_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["dev", 'Zoë\'s "laptop" \\ desk'])
def test_the_rows_make_the_key_valid(name, capsys, tmp_path):
    """Pasted as they stand, whatever the name."""
    key, rows = new(name, capsys)
    path = tmp_path / "lowproxy.toml"
    path.write_text(rows)

    [row] = config.load(path, {}).keys

    assert (row.name, row.hash) == (name, hash_key(key))


def test_the_key_is_not_in_the_rows(capsys):
    """The file holds the hash only."""
    key, rows = new("dev", capsys)

    assert key not in rows


def test_two_keys_are_never_alike(capsys):
    """They are drawn, not counted."""
    assert new("dev", capsys)[0] != new("dev", capsys)[0]


def test_a_name_that_no_file_may_hold_is_refused(capsys):
    """Before a key is drawn."""
    with pytest.raises(SystemExit) as caught:
        main(["keys", "new", "two\nlines"])

    assert caught.value.code == 2
    assert "1 to 100 printable characters" in capsys.readouterr().err


@pytest.fixture
def stored(tmp_path):
    """A configuration with a store of its own."""
    path = tmp_path / "lowproxy.toml"
    path.write_text(f'[store]\nurl = "sqlite://{tmp_path}/books.db"\n')
    return path


def keys(capsys, *words, code=0):
    """What a command prints, and to whom."""
    assert main(["keys", *words]) == code
    printed = capsys.readouterr()
    return printed.err if code else printed.out


def drawn(text):
    """The key in a text."""
    [key] = re.findall(r"^    (lr-sk-[A-Za-z0-9_-]{43})$", text, re.MULTILINE)
    return key


def test_the_life_of_a_stored_key(stored, capsys):
    """Made, listed, edited, disabled, rotated; the key is in no output but that which made it."""
    first = drawn(
        keys(capsys, "new", "alice", "--daily-limit", "2.5", "--models", "a/*,b/c")
    )
    assert "[[keys]]" not in first
    listed = keys(capsys, "list")
    assert "alice" in listed
    assert "models=a/*,b/c daily_limit=2.5" in listed
    edited = json.loads(
        keys(capsys, "edit", "alice", "--daily-limit", "none", "--max-streams", "2")
    )
    assert (edited.get("daily_limit"), edited["max_streams"]) == (None, 2)
    assert "alice is disabled" in keys(capsys, "disable", "alice")
    assert json.loads(keys(capsys, "show", "alice"))["enabled"] is False
    second = drawn(keys(capsys, "rotate", "alice"))
    assert second != first
    database = open_migrated(f"sqlite://{stored.parent}/books.db")
    assert keys_table.find(database, "alice").hash == hash_key(second)
    database.close()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("new", "alice"), "'alice' is taken"),
        (("new", "file"), "the configuration has a key named 'file'"),
        (
            ("new", "b", "--daily-limit", "lots"),
            "--daily_limit: found 'lots', needs a number",
        ),
        (("edit", "alice"), "nothing to change"),
        (("edit", "nobody", "--region", "eu"), "no key named 'nobody'"),
        (("edit", "alice", "--region", "EU!"), "--region: found 'EU!'"),
        (("show", "nobody"), "no key named 'nobody'"),
        (("rotate", "nobody"), "no key named 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_said(stored, capsys, words, says):
    """With exit code 1, and what would be right."""
    stored.write_text(
        stored.read_text() + f'[[keys]]\nname = "file"\nhash = "{hash_key("f")}"'
    )
    keys(capsys, "new", "alice")
    assert says in keys(capsys, *words, code=1)


def test_a_row_has_the_policy_too(capsys, tmp_path):
    """Without a store; pasted as it stands."""
    printed = keys(
        capsys,
        "new",
        "dev",
        "--expires-at",
        "2027-01-31T00:00:00Z",
        "--models",
        "a/*",
        "--requests-per-minute",
        "60",
        "--enabled",
        "false",
    )
    path = tmp_path / "pasted.toml"
    path.write_text(printed[printed.index("[[keys]]") :])
    [key] = config.load(path, {}).keys
    assert key.limits is not None
    assert (key.models, key.enabled, key.limits.requests_per_minute) == (
        ("a/*",),
        False,
        60,
    )
    assert key.expires_at == 1801353600.0


def test_the_default_store_is_asked_for(monkeypatch, capsys, tmp_path):
    """It depends on who asks, so it is not used by accident."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert "[[keys]]" in keys(capsys, "new", "alice")
    assert "[[keys]]" not in keys(capsys, "new", "alice", "--store")
    assert "alice" in keys(capsys, "list")


def test_without_a_place_for_a_store_there_is_none_to_list(capsys):
    """Exit code 78, as for any configuration that cannot be used."""
    assert "store.url" in keys(capsys, "list", code=78)
