"""Methodologies are compared over the store's records, by the grid as it was."""

import json

import attrs
import pytest

from lowproxy.cli import main
from lowproxy.store import ledger_books as books
from lowproxy.store.connecting import open_migrated
from lowproxy.store.ledger_rows import Rows
from tests.store.records import impact, record

ARGV = ["eco", "compare", "roofline", "v0.4-compat", "--json", "--config"]
LIVE_G = 12.5


def compared(tmp_path, capsys, made, argv):
    """The comparison over these records."""
    url = f"sqlite://{tmp_path}/books.db"
    path = tmp_path / "lowproxy.toml"
    path.write_text(
        f'[store]\nurl = "{url}"\n[catalogue]\nenabled = false\n'
        '[[providers]]\nid = "acme"\napi_key_env = ""\n'
        '[[providers.endpoints]]\nregion = "eu-west"\nzone = "FR"\n'
        'base_url = "http://127.0.0.1:9"\n'
        '[[models]]\nid = "acme/small"\ntotal_params_b = 24\nactive_params_b = 24\n'
    )
    database = open_migrated(url)
    make = Rows()
    books.put(database, [make.of(each) for each in made])
    database.close()
    assert main([*ARGV, str(path), *argv]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_stores_records_are_read(tmp_path, capsys):
    """What was never routed is counted apart."""
    made = [record(1), record(2), record(3, resolved_model=None, usage=None)]

    found = compared(tmp_path, capsys, made, ["--store"])

    assert found["total"]["requests"] == 2
    assert found["lines"] == 3


def test_a_live_reading_counts_as_it_was(tmp_path, capsys):
    """Not the zone's mean of a year, which another request was weighed by."""
    grid = attrs.evolve(
        impact().grid,
        grams_per_kwh=LIVE_G,
        live=True,
        source="odre",
        at="2026-11-21T12:00:00Z",
    )
    live = record(1, impact=impact().but(grid=grid))

    first = compared(tmp_path, capsys, [live], ["--store"])["total"]["first"]

    assert first["carbon_g"] == pytest.approx(
        first["energy_wh"] / 1000 * LIVE_G, rel=1e-4
    )


def test_an_export_can_be_compared_as_well(tmp_path, capsys, monkeypatch):
    """`usage --export jsonl` writes what `--records` reads."""
    compared(tmp_path, capsys, [record(1)], ["--store"])
    config = str(tmp_path / "lowproxy.toml")
    argv = [
        "usage",
        "--export",
        "jsonl",
        "--since",
        "2026-01-01",
        "--until",
        "2027-01-01",
    ]
    main([*argv, "--config", config])
    (tmp_path / "export.jsonl").write_text(capsys.readouterr().out)

    assert main([*ARGV, config, "--records", str(tmp_path / "export.jsonl")]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["requests"] == 1


def test_without_a_store(tmp_path, capsys):
    """Says so."""
    path = tmp_path / "lowproxy.toml"
    path.write_text("[store]\nenabled = false")

    assert main([*ARGV, str(path), "--store"]) == 1
    assert "no store" in capsys.readouterr().err
