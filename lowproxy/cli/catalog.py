"""`lowproxy catalog`: the providers, places and models there are, whether they are sound, what differs.

Exit codes: `check` 1 where something is wrong, `diff` 1 where anything differs.
"""

import argparse
import datetime
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from lowproxy.catalogue import builtin_rows
from lowproxy.cli.catalog_rows import (
    Change,
    Remark,
    Rowset,
    builtin,
    changes,
    duplicates,
    knows_size,
    read_file,
    remarks,
)
from lowproxy.config import ModelRow, find
from lowproxy.core.model_names import ModelTable
from lowproxy.grid.annual import AnnualGrid
from lowproxy.grid.model_table import load_models

# Half a year: prices and hosts change faster than that, but not all of them.
MAX_AGE_DAYS = 183
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions of `lowproxy catalog` and what each takes."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="places, or models, with their sources")
    listing.add_argument("provider", nargs="?", help="of this provider only")
    listing.add_argument("--models", action="store_true", help="models, not places")
    listing.add_argument("--config", type=Path, metavar="FILE")
    listing.set_defaults(action=show)
    checking = actions.add_parser(
        "check", help="sources, dates, ids, grid zones, known sizes"
    )
    checking.add_argument(
        "file", nargs="?", type=Path, help="a catalogue; default: the built-in one"
    )
    checking.add_argument(
        "--max-age", type=int, default=MAX_AGE_DAYS, metavar="DAYS", dest="max_age_days"
    )
    checking.set_defaults(action=check)
    comparing = actions.add_parser(
        "diff", help="what a configuration changes, or between two catalogues"
    )
    comparing.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="two catalogues; one: it and the built-in one",
    )
    comparing.add_argument("--config", type=Path, metavar="FILE")
    comparing.set_defaults(action=diff)
    for each in (listing, checking, comparing):
        each.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    """Runs one action; returns the exit code."""
    return int(args.action(args))


# --- list --------------------------------------------------------------------------------


def show(args: argparse.Namespace) -> int:
    """Prints the rows as the configuration leaves them, whether they are in use or not."""
    rowset = _configured(args.config)
    providers = [row for row in rowset.providers if args.provider in (None, row.id)]
    if not providers:
        print(f"no provider {args.provider!r}")
        return 1
    wanted = {row.id for row in providers}
    models = [row for row in rowset.models if row.served_by in wanted]
    if args.json:
        named = Rowset(tuple(providers), tuple(models)).named()
        rows = [{"row": name, **row} for name, row in named.items()]
        _print_json(rows)
        return 0
    lines = _models(models, load_models()) if args.models else _places(providers)
    for line in _table(list(lines)):
        print(line)
    return 0


def _places(providers: Sequence[Any]) -> Iterator[tuple[str, ...]]:
    yield ("PROVIDER", "REGION", "ZONE", "PROVENANCE", "DATE", "BASE URL", "SOURCE")
    for provider in providers:
        for place in provider.endpoints:
            # A place without a source of its own has its provider's.
            source = place if place.source else provider
            yield (
                provider.id,
                place.region or "-",
                place.zone or "-",
                place.provenance or "declared",
                f"{source.source_date or '-'}",
                place.base_url or "-",
                source.source or "-",
            )


def _models(models: Sequence[ModelRow], table: ModelTable) -> Iterator[tuple[str, ...]]:
    yield ("MODEL", "PROVIDER", "CONTEXT", "IN", "OUT", "SIZE", "DATE", "SOURCE")
    for model in models:
        yield (
            model.id,
            str(model.served_by),
            _number(model.context_length),
            _number(model.price_prompt),
            _number(model.price_completion),
            "known" if knows_size(model, table) else "unknown",
            f"{model.source_date or '-'}",
            model.source or "-",
        )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value}" if isinstance(value, int) else f"{value:g}"


# --- check -------------------------------------------------------------------------------


def check(args: argparse.Namespace) -> int:
    """Prints what is wrong, then what is old or unknown, then a summary."""
    layer = read_file(args.file) if args.file else builtin_rows()
    rowset = Rowset.of(layer)
    today = datetime.datetime.now(datetime.UTC).date()
    found = [*duplicates(layer)]
    found += remarks(rowset, AnnualGrid.load(), load_models(), today, args.max_age_days)
    found.sort(key=lambda remark: remark.kind)
    wrong = sum(remark.kind == "problem" for remark in found)
    if args.json:
        _print_json([remark._asdict() for remark in found])
    else:
        for remark in found:
            print(f"{remark.kind}: {remark.row}: {remark.text}")
        print(_summary(rowset, found))
    return 1 if wrong else 0


def _summary(rowset: Rowset, found: Sequence[Remark]) -> str:
    counts = Counter(remark.kind for remark in found)
    places = sum(len(row.endpoints) for row in rowset.providers)
    return (
        f"{len(rowset.providers)} providers, {places} places, {len(rowset.models)} models:"
        f" {counts['problem']} problems, {counts['warning']} warnings"
    )


# --- diff --------------------------------------------------------------------------------


def diff(args: argparse.Namespace) -> int:
    """Prints what is added, removed and changed."""
    if len(args.files) > 2:
        print("needs two files at the most")
        return 2
    if len(args.files) == 2:
        old, new = (Rowset.of(read_file(file)) for file in args.files)
    elif args.files:
        old, new = builtin(), Rowset.of(read_file(args.files[0]))
    else:
        old, new = builtin(), _configured(args.config)
    found = list(changes(old.named(), new.named()))
    if args.json:
        _print_json([change._asdict() for change in found])
    else:
        for change in found:
            for line in _told(change):
                print(line)
        if not found:
            print("no difference")
    return 1 if found else 0


def _told(change: Change) -> Iterator[str]:
    yield f"{_SIGNS[change.what]} {change.row}"
    for option, (was, now) in change.options.items():
        if change.what == "added":
            yield f"    {option} = {now}"
        else:
            yield f"    {option}: {_value(was)} -> {_value(now)}"


def _value(value: Any) -> str:
    return "not said" if value is None else f"{value}"


# --- both --------------------------------------------------------------------------------


def _configured(path: Path | None) -> Rowset:
    """The built-in rows under those of the configuration, where there is one."""
    found = find(path)
    if found is None:
        return builtin()
    rows = read_file(found)
    options = rows.get("catalogue")
    if options is not None and not options.enabled:
        return Rowset.of(rows)
    return Rowset.of(builtin_rows(), rows)


def _print_json(value: Any) -> None:
    print(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
