"""From rows to what is in use: which providers and places have what they need.

A provider of the configuration must be usable, and what it lacks is a mistake. A
built-in one is in use when its key is in the environment, and dormant otherwise.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from lowproxy.config.credentials import credentials, from_environ
from lowproxy.config.merging import MergedProvider
from lowproxy.config.rows import EndpointRow, ProviderRow
from lowproxy.core.secret import Secret
from lowproxy.core.upstreams import Endpoint, Provider


@attrs.frozen
class Activation:
    """One provider, its usable places, what is wrong and what would wake the rest."""

    provider: Provider
    endpoints: tuple[Endpoint, ...]
    problems: tuple[str, ...] = ()
    dormant: Mapping[str, str] = attrs.field(factory=dict)


def activate(
    merged: MergedProvider, environ: Mapping[str, str], folder: Path
) -> Activation:
    """Builds a provider and its endpoints; relative secret files are in `folder`."""
    row = merged.row
    if merged.path is None:
        # The names of a built-in row are other names for one key: the first one counts.
        there = [name for name in _key_names(row) if _is_set(name, environ)]
        row = attrs.evolve(row, api_key_env=None, api_key_envs=tuple(there[:1]))
    secrets, wrong = credentials(row, environ, folder)
    problems = [f"{merged.path}{each}" for each in wrong]
    provider = _provider(row, secrets)
    endpoints: list[Endpoint] = []
    dormant: dict[str, str] = {}
    for place in row.endpoints:
        if place.enabled is False:
            continue
        path = merged.places.get(str(place.id))
        lacks = dict(_lacks(merged, place, provider, environ))
        if not lacks:
            endpoints.append(_endpoint(place, provider, environ))
        elif path is not None:
            problems += [f"{path}.{name}: {text}" for name, text in lacks.items()]
        elif wish := _wish(merged.row, place):
            name = f"{row.id} in {place.region}" if place.api_key_env else row.id
            dormant.setdefault(name, wish)
    if merged.path is not None and not endpoints and not problems:
        problems.append(f"{merged.path}.endpoints: none in use, needs one or more")
    return Activation(provider, tuple(endpoints), tuple(problems), dormant)


def _lacks(
    merged: MergedProvider,
    place: EndpointRow,
    provider: Provider,
    environ: Mapping[str, str],
) -> Iterator[tuple[str, str]]:
    """Options for want of which a place cannot be used, and what to say of each."""
    for name in ("region", "base_url"):
        if getattr(place, name) is None:
            yield name, "missing"
    if place.base_url and "{account}" in place.base_url and not place.account:
        yield "account", f"missing: it stands in {place.base_url}"
    if place.api_key_env:
        try:
            from_environ(place.api_key_env, environ)
        except ValueError as exc:
            yield "api_key_env", str(exc)
    elif merged.path is None and not provider.credentials:
        yield "api_key_env", "missing"


def _wish(row: ProviderRow, place: EndpointRow) -> str:
    names = (place.api_key_env,) if place.api_key_env else _key_names(row)
    wishes = [" or ".join(name for name in names if name)]
    if place.base_url is None:
        wishes.append("a base_url in the configuration")
    elif "{account}" in place.base_url and not place.account:
        wishes.append("an account in the configuration")
    return " and ".join(wish for wish in wishes if wish)


def _key_names(row: ProviderRow) -> tuple[str, ...]:
    return tuple(name for name in (row.api_key_env, *(row.api_key_envs or ())) if name)


def _is_set(name: str, environ: Mapping[str, str]) -> bool:
    return bool(environ.get(name, "").strip())


def _provider(row: ProviderRow, secrets: tuple[Secret, ...]) -> Provider:
    return Provider(
        id=row.id,
        dialect=row.dialect or "openai",
        credentials=secrets,
        currency=row.currency or "USD",
        stream_options=row.stream_options is not False,
        energy_late=row.reports_energy_late is True,
        pue=row.pue,
        auth_header=row.auth_header or "authorization",
        respells=(
            *((name, "") for name in row.drops or ()),
            *(row.renames or {}).items(),
        ),
    )


def _endpoint(
    place: EndpointRow, provider: Provider, environ: Mapping[str, str]
) -> Endpoint:
    if place.api_key_env:
        key = Secret(from_environ(place.api_key_env, environ), place.api_key_env)
        provider = attrs.evolve(provider, credentials=(key,))
    return Endpoint(
        id=str(place.id),
        provider=provider,
        region=str(place.region),
        base_url=str(place.base_url).replace("{account}", place.account or ""),
        zone=place.zone,
        provenance=place.provenance or "declared",
        chat_path=place.chat_path or "/chat/completions",
    )
