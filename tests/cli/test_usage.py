"""`lowproxy usage` sums the books up and gives them out."""

import csv
import io
import json
import tracemalloc

import pytest

from lowproxy.cli import main
from lowproxy.cli.usage import export
from lowproxy.store import ledger_books as books
from lowproxy.store.connecting import open_migrated
from lowproxy.store.ledger_rows import COLUMNS, Rows, named
from tests.store.records import record

SINCE = ["--since", "2026-11-01", "--until", "2026-12-01"]


@pytest.fixture
def run(tmp_path, capsys):
    """Runs the command over a store of 30 requests; its exit code and output."""
    url = f"sqlite://{tmp_path}/books.db"
    path = tmp_path / "lowproxy.toml"
    path.write_text(f'[store]\nurl = "{url}"')
    database = open_migrated(url)
    make = Rows()
    made = [record(n, key_id=("alice", "bob")[n % 2]) for n in range(30)]
    books.put(database, [make.of(each) for each in made])
    database.close()

    def run(*argv):
        code = main(["usage", *argv, "--config", str(path)])
        return code, capsys.readouterr().out

    return run


def test_the_table(run):
    """Tokens, money, grams with their range, by day unless told otherwise."""
    code, out = run(*SINCE)
    head, row = out.splitlines()

    assert code == 0
    assert head.split()[:3] == ["DAY", "REQUESTS", "FAILED"]
    assert row.split()[:7] == [
        "2026-11-21",
        "30",
        "0",
        "3000",
        "600",
        "0.00037035",
        "EUR",
    ]
    assert " to " in row


def test_by_key_and_model_as_json(run):
    """Exact money."""
    _, out = run(*SINCE, "--by", "key,model", "--json")
    data = json.loads(out)["data"]

    assert [(each["key"], each["model"]) for each in data] == [
        ("alice", "acme/small"),
        ("bob", "acme/small"),
    ]
    assert data[0]["requests"] == 15
    assert '"cost": 0.000185175' in out
    assert data[0]["energy_wh_low"] < data[0]["energy_wh"]


def test_json_lines(run):
    """Every record, in order, as the contract names its fields."""
    _, out = run(*SINCE, "--export", "jsonl", "--key", "bob")
    rows = [json.loads(line) for line in out.splitlines()]

    assert [row["generation_id"] for row in rows] == [
        f"gen_{n:06}" for n in range(1, 30, 2)
    ]
    assert rows[0]["eco"]["grid"]["zone"] == "FR"


def test_csv(run):
    """A head, and every column of the books."""
    _, out = run(*SINCE, "--export", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))

    assert len(rows) == 30
    assert len(rows[0]) == len(COLUMNS)
    assert rows[0]["cost"] == "0.000012345"
    assert rows[0]["created_at"] == "2026-11-21T12:00:00.000Z"


def test_a_formula_in_a_callers_text_is_text(capsys):
    """Where somebody opens the file as a spreadsheet."""
    export("csv", [named(Rows().of(record(requested_model="=HYPERLINK(1)")))])

    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["requested_model"].startswith("'=")


def test_an_export_is_never_held_whole(monkeypatch):
    """Ten times the records do not take ten times the memory."""
    row = named(Rows().of(record()))
    monkeypatch.setattr("builtins.print", lambda *_: None)
    peaks = []
    for count in (200, 2000):
        tracemalloc.start()
        export("jsonl", (dict(row) for _ in range(count)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < peaks[0] * 2


def test_times_before_now(run):
    """`7d` is a week ago: these requests were made at another time."""
    code, out = run("--since", "1h", "--until", "0h", "--json")

    assert code == 0
    assert json.loads(out)["data"] == []


@pytest.mark.parametrize("argv", [["--by", "colour"], ["--since", "soon"]])
def test_what_cannot_be_asked(run, argv):
    """Is said before the books are opened."""
    with pytest.raises(SystemExit, match="2"):
        run(*argv)


def test_without_books(tmp_path, capsys):
    """No file is made by looking."""
    path = tmp_path / "lowproxy.toml"
    path.write_text(f'[store]\nurl = "sqlite://{tmp_path}/none.db"')

    assert main(["usage", "--config", str(path)]) == 1
    assert "no such file" in capsys.readouterr().err
    assert not (tmp_path / "none.db").exists()
