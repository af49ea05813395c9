"""The tables of a simulation, and their places in the README."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

README = Path(__file__).with_name("README.md")


def tables(found: dict[str, Any]) -> dict[str, str]:
    """Markdown by name: `strategies`, `places`, `weights`, `budgets`."""
    return {
        "strategies": _markdown(_strategies(found["strategies"])),
        "places": _markdown(_places(found["places"])),
        "weights": _markdown(_weights(found["weights"])),
        "budgets": _markdown(_budgets(found["budgets"])),
    }


def renewed(text: str, made: dict[str, str]) -> str:
    """The README with these tables between its marks."""
    for name, table in made.items():
        marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
        between = re.compile(f"{marks[0]}.*?{marks[1]}", re.DOTALL)
        if not between.search(text):
            raise ValueError(f"README.md has no place for the table {name!r}")
        text = between.sub(lambda _: f"{marks[0]}\n{table}\n{marks[1]}", text)  # noqa: B023 - used at once
    return text


def _strategies(rows: dict[str, Any]) -> Iterator[Sequence[str]]:
    yield (
        "strategy",
        "g CO2e per 1000",
        "against round robin",
        "US$ per 1000",
        "p95 to first byte",
        "p95 to the end",
        "unanswered",
        "where, mostly",
    )
    base = rows["round robin"]
    for name, row in rows.items():
        where = list(row["places"].items())[:3]
        yield (
            name,
            f"{row['g_per_1000']:.3g}",
            _change(row["g_per_1000"], base["g_per_1000"]),
            f"{row['usd_per_1000']:.3g}",
            f"{row['first_p95_s']:.2f} s",
            f"{row['whole_p95_s']:.1f} s",
            f"{row['failed'] / row['requests']:.2%}",
            ", ".join(f"{zone} {share:.0%}" for zone, share in where),
        )


def _places(sets: dict[str, Any]) -> Iterator[Sequence[str]]:
    yield (
        "places",
        "round robin",
        "cheapest",
        "auto",
        "auto by the week's means",
        "saved against round robin",
        "saved by knowing the hour",
        "US$ of auto against cheapest",
        "p95 to the end, against round robin",
    )
    for name, rows in sets.items():
        auto, blind = rows["auto"], rows["auto by the week's means"]
        turn, cheap = rows["round robin"], rows["cheapest"]
        yield (
            name,
            f"{turn['g_per_1000']:.3g} g",
            f"{cheap['g_per_1000']:.3g} g",
            f"{auto['g_per_1000']:.3g} g",
            f"{blind['g_per_1000']:.3g} g",
            f"{1 - auto['g_per_1000'] / turn['g_per_1000']:.0%}",
            f"{1 - auto['g_per_1000'] / blind['g_per_1000']:.1%}",
            _change(auto["usd_per_1000"], cheap["usd_per_1000"]),
            _change(auto["whole_p95_s"], turn["whole_p95_s"]),
        )


def _weights(rows: list[dict[str, Any]]) -> Iterator[Sequence[str]]:
    yield (
        "share of carbon",
        "places",
        "g CO2e per 1000",
        "US$ per 1000",
        "p95 to first byte",
        "p95 to the end",
    )
    for row in rows:
        yield (
            f"{row['carbon']:g}",
            f"{row['zones']}",
            f"{row['g_per_1000']:.3g}",
            f"{row['usd_per_1000']:.3g}",
            f"{row['first_p95_s']:.2f} s",
            f"{row['whole_p95_s']:.1f} s",
        )


def _budgets(rows: list[dict[str, Any]]) -> Iterator[Sequence[str]]:
    yield (
        "budget",
        "most in any 24 hours, of the budget",
        "g CO2e per 1000",
        "US$ per 1000",
        "p95 to the end",
    )
    for row in rows:
        part = row["budget"]
        yield (
            "none" if part is None else f"{part:.0%} of the worst day without one",
            "-" if part is None else f"{row['over_worst_day']:.0%}",
            f"{row['g_per_1000']:.3g}",
            f"{row['usd_per_1000']:.3g}",
            f"{row['whole_p95_s']:.1f} s",
        )


def _change(value: float, base: float) -> str:
    """`-87 %`, `x 4.4`."""
    ratio = value / base
    return f"x {ratio:.2g}" if ratio >= 2 else f"{ratio - 1:+.0%}"


def _markdown(rows: Iterator[Sequence[str]]) -> str:
    head, *rest = rows
    lines = [head, ["---"] * len(head), *rest]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
