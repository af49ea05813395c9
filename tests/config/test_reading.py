"""Tables become rows; every mistake is named by its full path."""

import tomllib

import pytest

from lowproxy.config.reading import did_you_mean, read_tables, read_toml
from lowproxy.config.rows import EndpointRow, KeyRow, ProviderRow, Timeouts
from lowproxy.errors import ConfigError


def read(text):
    """Rows and problems of a TOML text."""
    return read_tables(tomllib.loads(text))


def test_rows_come_out_typed():
    """Lists are tuples, numbers are floats, what is not said is None or the default."""
    rows, problems = read(
        """
        [timeouts]
        connect_s = 3

        [[providers]]
        id = "acme"
          [[providers.endpoints]]
          region = "eu-west"
        """
    )

    assert problems == []
    assert rows == {
        "timeouts": Timeouts(connect_s=3.0),
        "providers": (
            ProviderRow(id="acme", endpoints=(EndpointRow(region="eu-west"),)),
        ),
    }


def test_all_mistakes_are_told_at_once():
    """In every table, at every depth, each with the path that leads to it."""
    _, problems = read(
        """
        sever = 1
        [server]
        listen = 8080
        [timeouts]
        idel = 3
        connect_s = -1
        [[keys]]
        name = "a"
        [[keys]]
        models = "openai/*"
        [[providers]]
        id = "acme"
          [[providers.endpoints]]
          region = "eu-west"
          [[providers.endpoints]]
          region = "EU"
          [[providers.endpoints]]
          zones = "FR"
        [[models]]
        id = "acme/small"
        capabilities = ["tools", "vison"]
        """
    )

    assert [problem.partition(": ")[0] for problem in problems] == [
        "sever",
        "server.listen",
        "timeouts.connect_s",
        "timeouts.idel",
        "keys[1].name",
        "keys[1].models",
        "providers[0].endpoints[1].region",
        "providers[0].endpoints[2].zones",
        "models[0].capabilities[1]",
    ]


def test_an_unknown_option_suggests_the_nearest():
    """A slip of the finger is repaired in the message."""
    _, problems = read("[timeouts]\nidel = 3\nxyzzy = 1")

    assert "timeouts.idel: no such option; did you mean idle_s?" in problems
    assert "timeouts.xyzzy: no such option" in problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("server = 3", "server: found 3, needs a table"),
        ("[keys]\nname = 'x'", "keys: found a table, needs a list"),
        ("keys = ['x']", "keys[0]: found 'x', needs a table"),
        ("[[providers]]\ndialect = 'openai'", "providers[0].id: missing"),
        (
            "[log]\nformat = 'xml'",
            'log.format: found \'xml\', needs "auto", "json" or "console"',
        ),
        (
            "[relay]\non_disconnect = 'wait'",
            'relay.on_disconnect: found \'wait\', needs "cancel", "drain" or "bounded"',
        ),
    ],
)
def test_wrong_shapes(text, problem):
    """A table, a list and a choice say what they are."""
    assert read(text)[1] == [problem]


@pytest.mark.parametrize("option", ["api_key", "key", "secret", "token", "password"])
def test_a_secret_in_the_file_is_refused(option):
    """With the way to do it, and without the secret."""
    for table, right in (("providers", "api_key_env"), ("keys", "key_env")):
        _, [problem] = read(
            f"[[{table}]]\nid = 'x'\n{option} = 'sk-secret'"
            if table == "providers"
            else f"[[{table}]]\nname = 'x'\n{option} = 'sk-secret'"
        )

        assert problem.startswith(f"{table}[0].{option}: secrets are not written")
        assert problem.endswith(f": {right}")
        assert "sk-secret" not in problem


def test_a_table_with_mistakes_does_not_hide_the_others():
    """What was understood is still there, so that it can be checked too."""
    rows, problems = read("[timeouts]\nidel = 1\n[[keys]]\nname = 'x'")

    assert rows == {"keys": (KeyRow(name="x"),)}
    assert len(problems) == 1


def test_syntax_errors_name_line_and_column(tmp_path):
    """TOML that is none is told where it stops being it."""
    path = tmp_path / "lowproxy.toml"
    path.write_text('[server]\nlisten = "127.0.0.1:8080\n')

    with pytest.raises(ConfigError) as caught:
        read_toml(path)

    assert str(path) in str(caught.value)
    assert "line 2" in str(caught.value)
    assert "column" in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    """Missing, a folder, not UTF-8: each in one line with the path."""
    odd = tmp_path / "odd.toml"
    odd.write_bytes(b"a = 1\nb = '\xff'\n")

    for path, words in (
        (tmp_path / "none.toml", "No such file"),
        (tmp_path, "cannot be read"),
        (odd, "not UTF-8 (at line 2)"),
    ):
        with pytest.raises(ConfigError) as caught:
            read_toml(path)
        [problem] = caught.value.problems
        assert problem.startswith(f"{path}: ")
        assert words in problem


def test_did_you_mean_stays_silent_when_nothing_is_near():
    """A wild guess would mislead."""
    assert did_you_mean("quux", ["idle_s", "total_s"]) == ""
    assert did_you_mean("idel_s", ["idle_s", "total_s"]) == "; did you mean idle_s?"


def test_aliases_are_one_id_or_several():
    """Each mistake with the alias in its path."""
    rows, problems = read(
        """
        [aliases]
        fast = "acme/small"
        both = ["acme/small", "acme/large", "acme/small"]
        """
    )
    assert problems == []
    assert rows["aliases"] == {
        "fast": ("acme/small",),
        "both": ("acme/small", "acme/large"),
    }
    _, problems = read('[aliases]\nx = 3\ny = []\n"a b" = "c"\n"lowrouter/auto" = "c"')
    assert len(problems) == 4
    assert problems[0] == (
        'aliases.x: found 3, needs a model id such as "acme/small", or a list of them'
    )
    assert read("aliases = 3")[1] == ["aliases: found 3, needs a table"]
