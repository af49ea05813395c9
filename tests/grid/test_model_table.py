"""The shipped tables of model sizes."""

from importlib.resources import files

import orjson
import pytest

from lowproxy.grid.model_table import load_ecologits, load_models

DATA = files("lowproxy") / "data"
OPEN = orjson.loads((DATA / "models_open_weights.json").read_bytes())["models"]
ECOLOGITS = orjson.loads((DATA / "models_ecologits.json").read_bytes())


@pytest.mark.parametrize("name", OPEN)
def test_every_open_model_can_be_checked(name):
    """Sizes that fit together, and a page that a reader can open."""
    row = OPEN[name]

    assert 0 < row.get("active", row["total"]) <= row["total"] < 5000
    assert 4 <= row["bits"] <= 16
    assert row["source"].startswith("https://")
    if "experts" in row:
        used, count = row["experts"]
        assert 0 < used < count
        assert used / count <= row["active"] / row["total"]
    assert row.keys() <= {
        "total",
        "active",
        "bits",
        "kv_kb",
        "experts",
        "encoder",
        "aliases",
        "source",
    }


@pytest.mark.parametrize(
    ("table", "tops"),
    [
        ("models_ecologits.json", ["source"]),
        ("grid_annual.json", ["source", "carbon_source", "water_source"]),
        ("grid_zones.json", ["source", "quebec_source"]),
        ("regions.json", ["source"]),
    ],
)
def test_every_table_says_where_its_numbers_are_from(table, tops):
    """A page that a reader can open, and in EcoLogits' table one for each model as well."""
    data = orjson.loads((DATA / table).read_bytes())
    for name in tops:
        assert "https://" in data[name]
    for row in data.get("models", {}).values():
        assert row["source"].startswith("https://")


def test_rows_that_were_checked_again_are_there():
    """The list of them does not outlive a row."""
    checked = orjson.loads((DATA / "models_open_weights.json").read_bytes())["checked"]
    assert len(checked["rows"]) >= 15
    assert set(checked["rows"]) <= OPEN.keys()


def test_every_row_is_found_under_its_own_name():
    """No row hides another."""
    table = load_models()

    for name, row in OPEN.items():
        facts = table.facts(name)
        assert facts is not None
        assert (facts.name, facts.total_params_b) == (name, row["total"])


def test_every_model_of_ecologits_is_there():
    """With its aliases, its licence and the version that it was made from."""
    table = load_ecologits()

    assert len(ECOLOGITS["models"]) == 342
    assert len(ECOLOGITS["aliases"]) == 9
    for name in (*ECOLOGITS["models"], *ECOLOGITS["aliases"]):
        assert table.facts(name) is not None
    assert ECOLOGITS["license"] == "MPL-2.0"
    assert ECOLOGITS["version"]
    assert ECOLOGITS["date"]


def test_the_data_stay_small():
    """All of it under 300 kB."""
    sizes = [
        len((DATA / name).read_bytes())
        for name in (
            "models_open_weights.json",
            "models_ecologits.json",
            "grid_annual.json",
            "grid_zones.json",
            "regions.json",
        )
    ]
    assert sum(sizes) < 300_000
