"""`lowproxy migrate` brings the database up, and says what it did."""

import pytest

from lowproxy.cli import main
from lowproxy.store.connecting import connect
from lowproxy.store.migrations import known


@pytest.fixture
def config(tmp_path):
    """A configuration with a store, and the store's URL."""
    url = f"sqlite://{tmp_path}/books.db"
    path = tmp_path / "lowproxy.toml"
    path.write_text(f'[store]\nurl = "{url}"')
    return str(path), url


def test_once_is_enough(config, capsys):
    """The second run finds nothing to do."""
    path, _ = config

    assert main(["migrate", "--config", path]) == 0
    assert f"done: {known()[0].version:04} {known()[0].name}" in capsys.readouterr().out
    assert main(["migrate", "--config", path]) == 0
    assert "up to date" in capsys.readouterr().out


def test_looking_changes_nothing(config, tmp_path, capsys):
    """`--check` is 1 while something is missing, and makes no file."""
    path, url = config

    assert main(["migrate", "--config", path, "--check"]) == 1
    assert not (tmp_path / "books.db").exists()
    connect(url).close()
    assert main(["migrate", "--config", path, "--check"]) == 1
    assert "missing: 0001" in capsys.readouterr().out
    main(["migrate", "--config", path])
    assert main(["migrate", "--config", path, "--check"]) == 0


def test_a_newer_database_is_refused(config, capsys):
    """With both versions, and no way back."""
    path, url = config
    main(["migrate", "--config", path])
    database = connect(url)
    database.execute("INSERT INTO lowproxy_migrations VALUES (99, 'later', 0)")
    database.close()

    assert main(["migrate", "--config", path]) == 1
    assert "version 99" in capsys.readouterr().err


def test_without_a_store_there_is_nothing_to_do(tmp_path, capsys):
    """It says so."""
    path = tmp_path / "lowproxy.toml"
    path.write_text("[store]\nenabled = false")

    assert main(["migrate", "--config", str(path)]) == 1
    assert "no store" in capsys.readouterr().err
