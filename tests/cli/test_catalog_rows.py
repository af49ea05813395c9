"""Catalogues as rows: one laid over the other, judged, compared."""

import datetime
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from lowproxy.cli.catalog_rows import Rowset, builtin, changes, remarks
from lowproxy.config import read_tables
from lowproxy.grid.annual import AnnualGrid
from lowproxy.grid.model_table import load_models

VALUES = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=3)
ROWS = st.dictionaries(st.sampled_from(("x", "y", "z")), VALUES, max_size=3)


def rowset(text):
    """From TOML."""
    return Rowset.of(read_tables(tomllib.loads(text))[0])


@given(ROWS, ROWS)
def test_a_difference_leads_from_the_one_to_the_other(old, new):
    """Applied to the old rows the changes make the new ones; none means the same."""
    made = {name: dict(row) for name, row in old.items()}
    for change in changes(old, new):
        if change.what == "removed":
            del made[change.row]
            continue
        row = made.setdefault(change.row, {})
        for option, (was, now) in change.options.items():
            assert row.get(option) == was
            row[option] = now
            if now is None:
                del row[option]
    assert made == new
    assert not list(changes(old, old))


def test_a_date_that_is_still_to_come_is_wrong():
    """And one that is old enough is remarked."""
    model = '[[models]]\nid = "openai/gpt-4o"\nsource = "https://x"\nsource_date = {}'
    grid, table, today = AnnualGrid.load(), load_models(), datetime.date(2026, 11, 22)

    def kinds(date):
        rows = rowset(model.format(date))
        found = remarks(rows, grid, table, today, 30)
        return [each.kind for each in found if "source_date" in each.text]

    assert kinds("2026-11-22") == []
    assert kinds("2026-11-23") == ["problem"]
    assert kinds("2026-10-22") == ["warning"]


def test_every_built_in_row_has_a_name_of_its_own():
    """So none hides another."""
    rows = builtin()
    places = sum(len(provider.endpoints) for provider in rows.providers)
    assert len(rows.named()) == len(rows.providers) + places + len(rows.models)
