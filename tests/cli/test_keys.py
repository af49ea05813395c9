"""`lowproxy keys new` prints a key once, and the rows that make it valid."""

import re

import pytest

from lowproxy import config
from lowproxy.cli import main
from lowproxy.core.keys import hash_key


def new(name, capsys):
    """The key and the rows that were printed."""
    assert main(["keys", "new", name]) == 0
    printed = capsys.readouterr().out
    [key] = re.findall(r"^    (lr-sk-[A-Za-z0-9_-]{43})$", printed, re.MULTILINE)
    return key, printed[printed.index("[[keys]]") :]


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
