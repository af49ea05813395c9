"""An option's old name works until the next major version, and says what to use."""

import attrs
import pytest

import lowproxy.config as config_module
from lowproxy.catalogue import load, open_config
from lowproxy.cli.check import summary
from lowproxy.config.deprecated import RENAMED, renewed
from lowproxy.config.rows import TABLES

OLD = {
    "server.grace_s": "timeouts.drain_s",
    "server.body_bytes": "server.max_body_bytes",
}


@pytest.fixture
def renamed(monkeypatch):
    """As if these had been renamed by this version."""
    monkeypatch.setattr(config_module, "RENAMED", OLD)


def test_an_old_name_works_and_is_told(tmp_path, renamed):
    """Its value is in force, and the words name the replacement; `check` shows them."""
    path = tmp_path / "lowproxy.toml"
    path.write_text("[server]\ngrace_s = 7\nbody_bytes = 1000\n")

    config, catalogue = open_config(path, {})

    assert config.timeouts.drain_s == 7
    assert config.server.max_body_bytes == 1000
    first, second = config.deprecated
    assert first.startswith("server.grace_s is deprecated")
    assert first.endswith("use timeouts.drain_s")
    assert "use server.max_body_bytes" in second
    assert f"note: {first}" in list(summary(config, catalogue))


def test_a_mistake_in_its_value_is_one_of_the_new_name(tmp_path, renamed):
    """What is wrong is told of the option that there is."""
    path = tmp_path / "lowproxy.toml"
    path.write_text("[server]\ngrace_s = -1\n")
    _, problems = config_module.read(path, {})
    assert problems == ["timeouts.drain_s: found -1, needs 0 or more"]


def test_old_and_new_at_once(tmp_path, renamed):
    """Nobody can know which is meant."""
    path = tmp_path / "lowproxy.toml"
    path.write_text("[server]\ngrace_s = 7\n[timeouts]\ndrain_s = 8\n")
    _, problems = config_module.read(path, {})
    assert problems == [
        "server.grace_s: found beside timeouts.drain_s, which replaces it; remove it"
    ]


def test_who_uses_todays_names_is_told_nothing():
    """Nor are the operator's own tables changed."""
    tables = {"server": {"grace_s": 1, "listen": "x"}, "timeouts": "no table"}
    assert renewed(tables, {})[1:] == ([], [])
    assert renewed({}, OLD) == ({}, [], [])
    assert renewed({"server": 3}, OLD) == ({"server": 3}, [], [])
    renewed(tables, OLD)
    assert tables["server"] == {"grace_s": 1, "listen": "x"}


def test_the_table_is_true():
    """Each replacement exists, and no old name does."""
    for old, new in RENAMED.items():
        for path, there in ((old, False), (new, True)):
            table, _, option = path.partition(".")
            row = TABLES.get(table)
            known = isinstance(row, type) and option in attrs.fields_dict(row)
            assert known is there, path
    assert load(config_module.Config(), {}).demo
