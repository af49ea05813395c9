"""The operator's rows over the built-in ones: by id, option by option.

What a row does not say (None) stays as it was below. Where a mistake is found later, the
path of the operator's row is still known.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import attrs

from lowproxy.config.rows import EndpointRow, ModelRow, ProviderRow

Row = TypeVar("Row", ProviderRow, EndpointRow, ModelRow)


@attrs.frozen
class MergedProvider:
    """A provider after the merge; `path` is None where the operator said nothing."""

    row: ProviderRow
    path: str | None = None
    places: Mapping[str, str] = attrs.field(factory=dict)  # endpoint id -> its path


@attrs.frozen
class MergedModel:
    """A model after the merge; `path` is None where the operator said nothing."""

    row: ModelRow
    path: str | None = None


def merged_providers(
    base: Sequence[ProviderRow], rows: Sequence[ProviderRow]
) -> dict[str, MergedProvider]:
    """Providers by id, their endpoints merged by id too."""
    merged = {
        row.id: MergedProvider(attrs.evolve(row, endpoints=_named(row))) for row in base
    }
    for i, row in enumerate(rows):
        named = _named(row)
        places = {
            str(endpoint.id): f"providers[{i}].endpoints[{j}]"
            for j, endpoint in enumerate(named)
        }
        below = merged[row.id].row if row.id in merged else ProviderRow(row.id)
        if row.api_key_env is not None or row.api_key_envs or row.api_key_file:
            # Credentials are one thing: a row that names some replaces them all.
            below = attrs.evolve(
                below, api_key_env=None, api_key_envs=None, api_key_file=None
            )
        endpoints = {endpoint.id: endpoint for endpoint in below.endpoints}
        for endpoint in named:
            old = endpoints.get(endpoint.id)
            endpoints[endpoint.id] = _over(old, endpoint) if old else endpoint
        full = attrs.evolve(_over(below, row), endpoints=tuple(endpoints.values()))
        merged[row.id] = MergedProvider(full, f"providers[{i}]", places)
    return merged


def merged_models(
    base: Sequence[ModelRow], rows: Sequence[ModelRow]
) -> dict[tuple[str, str | None], MergedModel]:
    """Models by id and provider."""
    merged = {(row.id, row.served_by): MergedModel(row) for row in base}
    for i, row in enumerate(rows):
        key = (row.id, row.served_by)
        full = _over(merged[key].row, row) if key in merged else row
        merged[key] = MergedModel(full, f"models[{i}]")
    return merged


def _over(base: Row, row: Row) -> Row:
    """`base` with everything that `row` says."""
    said = {
        field.name: value
        for field in attrs.fields(type(row))
        if (value := getattr(row, field.name)) is not None
    }
    return attrs.evolve(base, **said)


def _named(row: ProviderRow) -> tuple[EndpointRow, ...]:
    """Endpoints with their ids: the one said, or provider, region and a number."""
    seen: dict[str | None, int] = {}
    named = []
    for endpoint in row.endpoints:
        number = seen[endpoint.region] = seen.get(endpoint.region, 0) + 1
        default = f"{row.id}-{endpoint.region or 'nowhere'}-{number}"
        named.append(attrs.evolve(endpoint, id=endpoint.id or default))
    return tuple(named)
