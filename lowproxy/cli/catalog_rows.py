"""Rows of catalogues for `lowproxy catalog`: read, laid over each other, judged, compared."""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import attrs

from lowproxy.catalogue import builtin_rows
from lowproxy.config import ModelRow, ProviderRow, read_tables
from lowproxy.config.merging import merged_models, merged_providers
from lowproxy.config.reading import read_toml
from lowproxy.core.model_names import ModelTable
from lowproxy.errors import ConfigError
from lowproxy.grid.annual import AnnualGrid

# A row's name, such as `provider acme`, and its options as they were said.
Rows = dict[str, dict[str, Any]]
_KEYS = ("id", "endpoints")
_TABLES = ("providers", "models", "catalogue")


@attrs.frozen
class Rowset:
    """A catalogue: its rows, merged where it was laid over another."""

    providers: tuple[ProviderRow, ...]
    models: tuple[ModelRow, ...]

    @classmethod
    def of(cls, *layers: Mapping[str, Any]) -> "Rowset":
        """Tables as `read_tables` gives them, each laid over those before it."""
        providers: Sequence[ProviderRow] = ()
        models: Sequence[ModelRow] = ()
        for layer in layers:
            above = layer.get("providers", ())
            providers = [m.row for m in merged_providers(providers, above).values()]
            laid = merged_models(models, layer.get("models", ()))
            models = [merged.row for merged in laid.values()]
        return cls(tuple(providers), tuple(models))

    def named(self) -> Rows:
        """Every row under its name, endpoints apart from their providers."""
        rows: Rows = {}
        for provider in self.providers:
            rows[f"provider {provider.id}"] = _said(provider)
            for place in provider.endpoints:
                rows[f"endpoint {place.id} of {provider.id}"] = _said(place)
        for model in self.models:
            # Whether the row names its provider or leaves it to the id is no difference.
            said = _said(model) | {"provider": model.served_by}
            rows[f"model {model.id} at {model.served_by}"] = said
        return rows


def read_file(path: Path) -> dict[str, Any]:
    """The tables of a catalogue or a configuration that are about one. Raises ConfigError with all mistakes."""
    tables = read_toml(path)
    rows, problems = read_tables(
        {name: tables[name] for name in _TABLES if name in tables}
    )
    if problems:
        raise ConfigError([f"{path}: {each}" for each in problems])
    return rows


def builtin() -> Rowset:
    """What is in the package."""
    return Rowset.of(builtin_rows())


def _said(row: Any) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in attrs.asdict(row, recurse=False).items()
        if value is not None and name not in _KEYS
    }


# --- checking ----------------------------------------------------------------------------


class Remark(NamedTuple):
    """One finding. A `problem` makes the check fail, a `warning` does not."""

    kind: str
    row: str
    text: str


def duplicates(layer: Mapping[str, Any]) -> Iterator[Remark]:
    """Rows of one file that say the same id again: the later one would hide the earlier."""
    names = [f"provider {row.id}" for row in layer.get("providers", ())]
    names += [
        f"endpoint {place.id}"
        for row in layer.get("providers", ())
        for place in row.endpoints
        if place.id
    ]
    names += [f"model {row.id} at {row.served_by}" for row in layer.get("models", ())]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield Remark("problem", name, f"is there {names.count(name)} times")


def remarks(
    rowset: Rowset,
    grid: AnnualGrid,
    table: ModelTable,
    today: datetime.date,
    max_age_days: int,
) -> Iterator[Remark]:
    """What is wrong with the rows themselves, and what is only old or unknown."""
    known = {provider.id for provider in rowset.providers}
    for name, row in rowset.named().items():
        if not name.startswith("endpoint") or "source" in row:
            yield from _sourced(name, row, today, max_age_days)
        zone = row.get("zone")
        if zone is not None and zone not in grid.zones:
            yield Remark(
                "warning", name, f"zone {zone} is not in the annual table of grids"
            )
    for model in rowset.models:
        name = f"model {model.id} at {model.served_by}"
        if model.served_by not in known:
            yield Remark("problem", name, "no such provider")
        if not knows_size(model, table):
            yield Remark("warning", name, "size unknown: its answers have no eco")


def knows_size(model: ModelRow, table: ModelTable) -> bool:
    """Whether an estimate can be made for it."""
    if model.total_params_b is not None:
        return True
    return table.facts(model.id, model.upstream_model) is not None


def _sourced(
    name: str, row: Mapping[str, Any], today: datetime.date, max_age_days: int
) -> Iterator[Remark]:
    for option in ("source", "source_date"):
        if option not in row:
            yield Remark("problem", name, f"{option}: missing")
    at = row.get("source_date")
    if at is None:
        return
    age_days = (today - at).days
    if age_days < 0:
        yield Remark("problem", name, f"source_date: {at} is still to come")
    elif age_days > max_age_days:
        yield Remark("warning", name, f"source_date: {at} is {age_days} days ago")


# --- comparing ---------------------------------------------------------------------------


class Change(NamedTuple):
    """One row that differs: `added`, `removed` or `changed`; options with their two values."""

    what: str
    row: str
    options: dict[str, tuple[Any, Any]]


def changes(old: Rows, new: Rows) -> Iterator[Change]:
    """From one catalogue to the other, in the order of rows."""
    for name in dict.fromkeys((*old, *new)):
        if name not in new:
            yield Change("removed", name, {})
            continue
        was, now = old.get(name, {}), new[name]
        options = {
            option: (was.get(option), now.get(option))
            for option in dict.fromkeys((*was, *now))
            if was.get(option) != now.get(option)
        }
        if name not in old:
            yield Change("added", name, options)
        elif options:
            yield Change("changed", name, options)
