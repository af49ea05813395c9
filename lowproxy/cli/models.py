"""`lowproxy models`: the models that can be asked for, one line per provider."""

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from lowproxy.catalogue import Catalogue, open_config
from lowproxy.core.upstreams import Model

_HEAD = ("MODEL", "PROVIDER", "REGIONS", "CONTEXT", "CAPABILITIES", "PRICE IN/OUT")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--config", type=Path, metavar="FILE")


def run(args: argparse.Namespace) -> int:
    """Prints the table."""
    _, catalogue = open_config(args.config, os.environ)
    for line in table(catalogue):
        print(line)
    return 0


def table(catalogue: Catalogue) -> Iterator[str]:
    """Lines in columns, with a head; prices per million tokens."""
    if catalogue.demo:
        catalogue = catalogue.demo_rows("http://127.0.0.1")
    rows = [_HEAD, *(_row(model, catalogue) for model in catalogue.models)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield _line(row, widths)


def _row(model: Model, catalogue: Catalogue) -> tuple[str, ...]:
    provider = next(each for each in catalogue.providers if each.id == model.provider)
    regions = dict.fromkeys(
        each.region for each in catalogue.endpoints if each.provider.id == provider.id
    )
    return (
        model.id,
        model.provider,
        ",".join(regions),
        f"{model.context_length}" if model.context_length else "-",
        ",".join(sorted(model.capabilities)) or "-",
        _price(model, provider.currency),
    )


def _price(model: Model, currency: str) -> str:
    if model.price_prompt is None or model.price_completion is None:
        return "-"
    return f"{_cents(model.price_prompt)}/{_cents(model.price_completion)} {currency}"


def _cents(price: float) -> str:
    """Two decimals, or as many more as the price has."""
    return max(f"{price:.2f}", f"{price:.4f}".rstrip("0"), key=len)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
    return "  ".join(cells).rstrip()
