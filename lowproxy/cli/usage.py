"""`lowproxy usage`: what was asked for and what it took, out of the books; summed up, or row by row."""

import argparse
import csv
import datetime
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from lowproxy.catalogue import open_config
from lowproxy.core.cost import money
from lowproxy.core.eco_block import six
from lowproxy.core.record_fields import iso, record_fields
from lowproxy.core.trace_kept import read_trace
from lowproxy.store import ledger_books as books
from lowproxy.store.connecting import connect
from lowproxy.store.database import Database, StoreError
from lowproxy.store.ledger_rows import COLUMNS
from lowproxy.store.ledger_sums import BY, Sum, sums

_DAY_S = 86_400.0
_EXPORTS = ("csv", "jsonl")
_FIGURES = (
    "requests",
    "failed",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
)
_ECO = (
    "energy_wh",
    "energy_wh_low",
    "energy_wh_high",
    "carbon_g",
    "carbon_g_low",
    "carbon_g_high",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "--by",
        type=_by,
        default=("day",),
        metavar="WHAT",
        help=f"of {', '.join(BY)}, with commas; default: day",
    )
    parser.add_argument(
        "--since",
        type=_Moment,
        metavar="WHEN",
        help="2026-11-01, 2026-11-01T12:00 (UTC) or 7d, 12h ago; default: 30d",
    )
    parser.add_argument("--until", type=_Moment, metavar="WHEN", help="default: now")
    parser.add_argument("--key", metavar="NAME", help="of this key alone")
    parser.add_argument("--json", action="store_true", help="the sums, as JSON")
    parser.add_argument(
        "--export", choices=_EXPORTS, help="every record instead, to standard output"
    )
    parser.add_argument("--config", type=Path, metavar="FILE")


def run(args: argparse.Namespace) -> int:
    """Prints; 1 where the books cannot be read."""
    config, _ = open_config(args.config, os.environ)
    now = datetime.datetime.now(datetime.UTC).timestamp()
    since = now - 30 * _DAY_S if args.since is None else args.since(now)
    until = now if args.until is None else args.until(now)
    if config.places.store is None:
        return _complain("no store is configured")
    try:
        database = connect(
            config.places.store.reveal(), config.store.timeout_s, make=False
        )
        try:
            if database.dialect == "postgresql":
                # `store.timeout_s` is for who must not wait; years of books take longer.
                database.execute("SET statement_timeout = 0")
            _print(args, database, since, until)
        finally:
            database.close()
    except StoreError as exc:
        return _complain(str(exc))
    return 0


def _print(
    args: argparse.Namespace, database: Database, since: float, until: float
) -> None:
    if args.export:
        rows = books.stream(database, since, until)
        if args.key:
            rows = (row for row in rows if row["key_id"] == args.key)
        export(args.export, rows)
        return
    found = sums(database, args.by, since, until, args.key)
    if args.json:
        data = [fields(args.by, each) for each in found]
        shown = {"since": iso(since), "until": iso(until), "data": data}
        print(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())
    else:
        for line in table(args.by, found):
            print(line)


def fields(by: Sequence[str], of: Sum) -> dict[str, Any]:
    """One sum for JSON; what is unknown is left out."""
    made: dict[str, Any] = dict(zip(by, of.of, strict=True))
    made |= {name: getattr(of, name) for name in _FIGURES}
    if of.cost_nano is not None:
        made |= {"cost": orjson.Fragment(money(of.cost_nano)), "currency": of.currency}
    for name in _ECO:
        value = getattr(of, name)
        if value is not None:
            made[name] = six(value)
    return made | {"unweighed": of.unweighed}


def table(by: Sequence[str], found: Sequence[Sum]) -> Iterator[str]:
    """Lines in columns, with a head."""
    head = [each.upper() for each in by]
    head += [
        "REQUESTS",
        "FAILED",
        "TOKENS IN",
        "OUT",
        "COST",
        "WH",
        "G CO2E",
        "(RANGE)",
    ]
    rows = [head, *(_cells(each) for each in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            f"{cell:{width}}" if i < len(by) else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
    unweighed = sum(each.unweighed for each in found)
    if unweighed:
        yield f"{unweighed} requests have no estimate: their models' sizes are not known."


def _cells(of: Sum) -> list[str]:
    cost = "-" if of.cost_nano is None else f"{money(of.cost_nano)} {of.currency}"
    known = of.carbon_g_low is not None and of.carbon_g_high is not None
    return [
        *(each or "-" for each in of.of),
        str(of.requests),
        str(of.failed),
        str(of.prompt_tokens),
        str(of.completion_tokens),
        cost,
        "-" if of.energy_wh is None else f"{of.energy_wh:.4g}",
        "-" if of.carbon_g is None else f"{of.carbon_g:.4g}",
        f"{of.carbon_g_low:.4g} to {of.carbon_g_high:.4g}" if known else "-",
    ]


def export(form: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Every record, as it comes: nothing is held but the next few hundred."""
    if form == "jsonl":
        for row in rows:
            print(orjson.dumps(record_fields(row)).decode())
        return
    names = ["cost" if each == "cost_nano" else each for each in COLUMNS]
    writer = csv.DictWriter(
        sys.stdout, names, extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    for row in rows:
        nano = row["cost_nano"]
        times = {name: iso(row[name]) for name in ("created_at", "completed_at")}
        cost = None if nano is None else money(nano)
        traced = row["routing_trace"]
        if traced is not None:
            traced = orjson.dumps(read_trace(orjson.loads(traced))).decode()
        more = {"cost": cost, "routing_trace": traced, **_harmless(row)}
        writer.writerow({**row, **times, **more})


def _harmless(row: Mapping[str, Any]) -> dict[str, str]:
    """A caller's text that a spreadsheet would take for a formula is made a text."""
    asked = row["requested_model"]
    risky = asked is not None and asked.startswith(("=", "+", "-", "@"))
    return {"requested_model": f"'{asked}"} if risky else {}


def _by(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    for each in names:
        if each not in BY:
            raise argparse.ArgumentTypeError(
                f"{each!r} is nothing to sum up by; there are {', '.join(BY)}"
            )
    return names


class _Moment:
    """A moment, or a time before now."""

    def __init__(self, text: str) -> None:
        if match := re.fullmatch(r"(\d{1,5})([dh])", text):
            self._ago_s = int(match[1]) * (_DAY_S if match[2] == "d" else 3600.0)
            self._at: float | None = None
            return
        try:
            at = datetime.datetime.fromisoformat(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no time; such as 2026-11-01, 2026-11-01T12:00 or 7d"
            ) from None
        self._at = (at if at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp()

    def __call__(self, now: float) -> float:
        return now - self._ago_s if self._at is None else self._at


def _complain(message: str) -> int:
    print(f"lowproxy usage: {message}", file=sys.stderr)
    return 1
