"""Where state is kept, by what the file and the environment say."""

from pathlib import Path

import pytest

from lowproxy.config import load
from lowproxy.config.state import state_dir
from lowproxy.errors import ConfigError

PASSWORD = "canary-5521"


def read(tmp_path, text, **environ):
    """The configuration of a file."""
    path = tmp_path / "lowproxy.toml"
    path.write_text(text)
    return load(path, environ)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/a:/b", "XDG_STATE_HOME": "/x"}, "/a"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/lowproxy"),
        ({"HOME": "/h"}, "/h/.local/state/lowproxy"),
        ({"HOME": "relative"}, None),
        ({}, None),
    ],
)
def test_the_state_directory(environ, expected):
    """systemd's, then XDG's, then its default; none where nothing is named."""
    assert state_dir(environ) == (expected and Path(expected))


def test_the_default_is_a_file_in_it(tmp_path):
    """No option is needed."""
    places = read(tmp_path, "", STATE_DIRECTORY="/var/lib/lowproxy").places

    assert places.store is not None
    assert places.store.reveal() == "sqlite:///var/lib/lowproxy/ledger.db"
    assert places.spill_dir == Path("/var/lib/lowproxy")
    assert places.shared is None


def test_a_url_of_the_file_wins(tmp_path):
    """As any option."""
    text = '[store]\nurl = "postgresql://db/books"\nspill_dir = "/spill"'

    places = read(tmp_path, text, STATE_DIRECTORY="/s").places

    assert places.store is not None
    assert places.store.reveal() == "postgresql://db/books"
    assert places.spill_dir == Path("/spill")


def test_it_can_be_turned_off(tmp_path):
    """Then nothing is kept."""
    places = read(tmp_path, "[store]\nenabled = false", HOME="/h").places

    assert places.store is None
    assert places.spill_dir is None


@pytest.mark.parametrize("table", ["store", "shared"])
def test_a_password_comes_from_the_environment(tmp_path, table):
    """And is not shown by printing the configuration."""
    scheme = "postgresql" if table == "store" else "rediss"
    url = f"{scheme}://me:{PASSWORD}@db/0"

    config = read(tmp_path, f'[{table}]\nurl_env = "THE_URL"', THE_URL=url)
    secret = getattr(config.places, table)

    assert secret.reveal() == url
    assert PASSWORD not in repr(config)


@pytest.mark.parametrize(
    "text",
    [
        f'[store]\nurl = "postgresql://me:{PASSWORD}@db/x"',
        f'[store]\nurl = "postgresql://db/x?password={PASSWORD}"',
        f'[store]\nurl = "mysql://{PASSWORD}"',
        '[store]\nurl = "sqlite://"',
        f'[shared]\nurl = "redis://:{PASSWORD}@db"',
        f'[shared]\nurl = "http://{PASSWORD}"',
    ],
)
def test_what_is_no_url_of_ours_is_refused(tmp_path, text):
    """By its full path, and never repeated: it may be a secret."""
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, text)

    (problem,) = raised.value.problems
    assert problem.startswith(("store.url: ", "shared.url: "))
    assert PASSWORD not in problem


def test_what_is_wrong_in_the_environment(tmp_path):
    """The option is named, not the value."""
    for environ in ({}, {"THE_URL": f"mysql://me:{PASSWORD}@db"}):
        with pytest.raises(ConfigError) as raised:
            read(tmp_path, '[store]\nurl_env = "THE_URL"', **environ)

        (problem,) = raised.value.problems
        assert problem.startswith("store.url_env: ")
        assert PASSWORD not in problem


def test_both_are_one_too_many(tmp_path):
    """Which one is meant?"""
    text = '[shared]\nurl = "redis://db"\nurl_env = "X"'

    with pytest.raises(ConfigError, match="shared: found both"):
        read(tmp_path, text, X="redis://db")
