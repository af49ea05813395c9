"""Credentials come from the environment or a file, and never into a message."""

import os

import pytest

from lowproxy.config.credentials import (
    RECHECK_S,
    FileSecret,
    credentials,
    from_environ,
)
from lowproxy.config.rows import ProviderRow


@pytest.fixture
def file(tmp_path):
    """A secret in a file."""
    path = tmp_path / "acme.key"
    path.write_text("sk-one\n")
    return path


def replace(path, text):
    """As a mounted secret changes: another file under the same name."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.utime(new, ns=(1, path.stat().st_mtime_ns + 10**9))
    new.replace(path)


def test_a_changed_file_is_read_again(file, clock):
    """A second later at the most; before that the file is not even looked at."""
    secret = FileSecret(file, clock)
    replace(file, "sk-two")

    assert secret.reveal() == "sk-one"
    clock.advance(RECHECK_S)
    assert secret.reveal() == "sk-two"


@pytest.mark.parametrize("text", ["", "  \n", "sk-\u00e9", "sk one"])
def test_a_half_written_file_changes_nothing(file, clock, text):
    """The last good secret stays until the next one is whole."""
    secret = FileSecret(file, clock)
    replace(file, text)
    clock.advance(RECHECK_S)

    assert secret.reveal() == "sk-one"

    replace(file, "sk-three")
    clock.advance(RECHECK_S)
    assert secret.reveal() == "sk-three"


def test_a_file_that_goes_away_changes_nothing(file, clock):
    """Between unlink and create there is a moment without a file."""
    secret = FileSecret(file, clock)
    file.unlink()
    clock.advance(RECHECK_S)

    assert secret.reveal() == "sk-one"


def test_a_file_secret_cannot_be_printed(file):
    """It is a Secret like any other."""
    assert "sk-one" not in f"{FileSecret(file)} {FileSecret(file)!r}"


@pytest.mark.parametrize(
    ("text", "words"), [(None, "No such file"), ("\n", "is empty"), ("a b", "header")]
)
def test_an_unusable_file_is_told_at_start(tmp_path, text, words):
    """Without its name (it may be the secret) and without its content."""
    path = tmp_path / "acme.key"
    if text is not None:
        path.write_text(text)

    with pytest.raises(ValueError, match=words) as caught:
        FileSecret(path)
    assert "acme.key" not in str(caught.value)


def test_white_space_around_a_secret_is_dropped():
    """A newline at the end of a secret is the shell's, not the provider's."""
    assert from_environ("KEY", {"KEY": " sk-x\n"}) == "sk-x"


@pytest.mark.parametrize("value", ["", "  ", None])
def test_an_empty_variable_is_not_set(value):
    """`KEY= lowproxy serve` is how people unset it."""
    environ = {} if value is None else {"KEY": value}

    with pytest.raises(ValueError, match="the environment variable KEY is not set"):
        from_environ("KEY", environ)


def test_a_variable_that_no_header_may_carry():
    """Told at start, not by an upstream at the first request; without the value."""
    with pytest.raises(ValueError, match="no HTTP header may carry") as caught:
        from_environ("KEY", {"KEY": "sk\nsecret"})
    assert "secret" not in str(caught.value)


def test_a_name_that_may_be_the_secret_itself_is_not_repeated():
    """Variables are upper case by custom; a key that looks like a name is not."""
    with pytest.raises(ValueError, match="not set") as caught:
        from_environ("sk_live_secret", {})
    assert "sk_live_secret" not in str(caught.value)


def test_several_credentials_each_once(file):
    """From one variable, from a list, from a file beside the configuration."""
    row = ProviderRow(
        id="acme",
        api_key_env="A",
        api_key_envs=("B", "C"),
        api_key_file=file.name,
    )

    secrets, problems = credentials(
        row, {"A": "one", "B": "two", "C": "one"}, file.parent
    )

    assert problems == []
    assert [secret.reveal() for secret in secrets] == ["one", "two", "sk-one"]


def test_what_is_not_there_is_named_by_its_option(tmp_path):
    """All of it at once."""
    row = ProviderRow(
        id="acme", api_key_env="A", api_key_envs=("B", "C"), api_key_file="none"
    )

    secrets, problems = credentials(row, {"B": "two"}, tmp_path)

    assert [secret.reveal() for secret in secrets] == ["two"]
    assert [problem.partition(": ")[0] for problem in problems] == [
        ".api_key_env",
        ".api_key_envs[1]",
        ".api_key_file",
    ]


def test_an_empty_name_means_no_key_is_needed(tmp_path):
    """So that a built-in provider's variable can be left out."""
    row = ProviderRow(id="acme", api_key_env="")

    assert credentials(row, {}, tmp_path) == ((), [])
