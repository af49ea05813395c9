"""Options that have another name now: the old one works until the next major version, and is told."""

from collections.abc import Mapping
from typing import Any

# Old path to new one, both `table.option`. A line here is all that a renaming takes.
RENAMED: dict[str, str] = {}


def renewed(
    tables: Mapping[str, Any], renamed: Mapping[str, str]
) -> tuple[dict[str, Any], list[str], list[str]]:
    """The tables under today's names; a line for each old one; and what is wrong.

    Where old and new are both said nobody can know which is meant: that is a mistake.
    """
    tables = dict(tables)
    told: list[str] = []
    problems: list[str] = []
    for old, new in renamed.items():
        table, _, option = old.partition(".")
        said = tables.get(table)
        if not isinstance(said, dict) or option not in said:
            continue
        there, _, name = new.partition(".")
        value = said[option]
        tables[table] = {key: each for key, each in said.items() if key != option}
        if not tables[table]:
            del tables[table]
        place = tables.get(there, {})
        if isinstance(place, dict) and name in place:
            problems.append(f"{old}: found beside {new}, which replaces it; remove it")
        elif isinstance(place, dict):
            tables[there] = {**place, name: value}
            told.append(
                f"{old} is deprecated and goes with the next major version: use {new}"
            )
    return tables, told, problems
