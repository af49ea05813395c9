"""What can be asked for and who serves it.

The built-in rows, the operator's rows over them, and which of all that is in use: every
provider of the configuration, and every built-in one whose key is in the environment.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import attrs

from lowproxy.config import (
    Config,
    MergedModel,
    MergedProvider,
    ModelRow,
    ProviderRow,
    credentials,
    did_you_mean,
    merged_models,
    merged_providers,
    read,
    read_tables,
)
from lowproxy.core.eco import ModelFacts
from lowproxy.core.upstreams import Candidate, Endpoint, Model, Pool, Provider
from lowproxy.errors import ConfigError

# Grams and price per 1000 tokens of a typical request; None: unknown.
Weigh = Callable[[Model, Endpoint], tuple[float | None, float | None]]

DEMO = Provider(id="demo")
# Where the demo pretends to be: region and grid zone.
DEMO_REGIONS = (
    ("eu-west", "FR"),
    ("eu-north", "SE"),
    ("us-east", "US-MIDA-PJM"),
    ("us-west", "US-CAL-CISO"),
)


@attrs.frozen
class Catalogue:
    """What is in use. In a demo `endpoints` is empty until `demo_rows` adds them."""

    providers: tuple[Provider, ...]
    endpoints: tuple[Endpoint, ...]
    models: tuple[Model, ...]
    demo: bool = False
    # Built-in providers that are not in use, and the variables that would change that.
    dormant: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)

    def demo_rows(self, base_url: str) -> "Catalogue":
        """The demo with its endpoints, all on one server at `base_url` (no slash at end).

        A region is a path: `{base_url}/eu-west/v1`.
        """
        endpoints = [
            Endpoint(f"demo-{region}-1", DEMO, region, f"{base_url}/{region}/v1", zone)
            for region, zone in DEMO_REGIONS
        ]
        return attrs.evolve(self, endpoints=tuple(endpoints))


def load(config: Config, environ: Mapping[str, str]) -> Catalogue:
    """What the configuration and the environment put in use; raises ConfigError."""
    builtin = _builtin() if config.catalogue.enabled else {}
    problems: list[str] = []
    folder = config.path.parent if config.path else Path()
    providers = merged_providers(builtin.get("providers", ()), config.providers)
    models = merged_models(builtin.get("models", ()), config.models)
    active: dict[str, Provider] = {}
    endpoints: list[Endpoint] = []
    for merged in providers.values():
        row = _usable(merged, environ)
        if row is None:
            continue
        secrets, wrong = credentials(row, environ, folder)
        problems += [f"{merged.path}{each}" for each in wrong]
        active[row.id] = provider = _provider(row, secrets)
        endpoints += _endpoints(merged, provider, problems)
    _check_models(models, providers, problems)
    _check_names(config, models, providers, problems)
    if not active and not config.catalogue.enabled:
        problems.append(
            "providers: none, and the built-in catalogue is off; "
            "needs a [[providers]] row, or catalogue.enabled = true"
        )
    if problems:
        raise ConfigError(problems)
    dormant = {
        each.row.id: _key_names(each.row)
        for each in providers.values()
        if each.row.id not in active and each.path is None
    }
    rows = [each.row for each in models.values() if each.row.enabled is not False]
    if not active:
        return Catalogue((DEMO,), (), _demo_models(rows), demo=True, dormant=dormant)
    served = tuple(_model(row) for row in rows if row.served_by in active)
    return Catalogue(tuple(active.values()), tuple(endpoints), served, dormant=dormant)


def open_config(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    listen: str | None = None,
    admin_listen: str | None = None,
) -> tuple[Config, Catalogue]:
    """The configuration and what it puts in use; raises ConfigError with all mistakes."""
    config, problems = read(path, environ, listen=listen, admin_listen=admin_listen)
    catalogue = None
    # Rows that were not understood are not there: what refers to them looks wrong too.
    if not any(each.startswith(("providers", "models")) for each in problems):
        try:
            catalogue = load(config, environ)
        except ConfigError as exc:
            problems += exc.problems
    if problems or catalogue is None:
        raise ConfigError(problems)
    return config, catalogue


def build_pool(catalogue: Catalogue, weigh: Weigh, auto: Sequence[str] = ()) -> Pool:
    """Every model at every endpoint of its provider; `auto` empty: all models."""
    places: dict[str, list[Endpoint]] = {}
    for endpoint in catalogue.endpoints:
        places.setdefault(endpoint.provider.id, []).append(endpoint)
    by_model: dict[str, tuple[Candidate, ...]] = {}
    for model in catalogue.models:
        added = tuple(
            Candidate(model, endpoint, *weigh(model, endpoint))
            for endpoint in places.get(model.provider, ())
        )
        if added:
            by_model[model.id] = by_model.get(model.id, ()) + added
    chosen = auto or by_model
    return Pool(by_model, tuple(each for each in chosen if each in by_model))


def price_per_1k(model: Model) -> float | None:
    """What 1000 tokens cost in the provider's currency, half of them prompt."""
    if model.price_prompt is None or model.price_completion is None:
        return None
    return (model.price_prompt + model.price_completion) / 2 / 1000


def _builtin() -> dict[str, Any]:
    """The rows of `data/catalogue.toml`; a mistake in them is a bug of ours."""
    file = resources.files("lowproxy") / "data" / "catalogue.toml"
    rows, problems = read_tables(tomllib.loads(file.read_text(encoding="utf-8")))
    if problems:
        raise ConfigError([f"data/catalogue.toml: {each}" for each in problems])
    return rows


# --- building ----------------------------------------------------------------------------


def _usable(merged: MergedProvider, environ: Mapping[str, str]) -> ProviderRow | None:
    """The row as it is used, or None. Of a built-in one, only the keys that are there."""
    row = merged.row
    if row.enabled is False:
        return None
    if merged.path is not None:
        return row
    there = tuple(name for name in _key_names(row) if environ.get(name, "").strip())
    return attrs.evolve(row, api_key_env=None, api_key_envs=there) if there else None


def _key_names(row: ProviderRow) -> tuple[str, ...]:
    return tuple(n for n in (row.api_key_env, *(row.api_key_envs or ())) if n)


def _provider(row: ProviderRow, secrets: tuple[Any, ...]) -> Provider:
    return Provider(
        id=row.id,
        dialect=row.dialect or "openai",
        credentials=secrets,
        currency=row.currency or "USD",
        stream_options=row.stream_options is not False,
        pue=row.pue,
    )


def _endpoints(
    merged: MergedProvider, provider: Provider, problems: list[str]
) -> Iterator[Endpoint]:
    used = [each for each in merged.row.endpoints if each.enabled is not False]
    if not used:
        problems.append(f"{merged.path}.endpoints: none in use, needs one or more")
    for each in used:
        path = merged.places.get(str(each.id))
        missing = [name for name in ("region", "base_url") if not getattr(each, name)]
        problems += [f"{path}.{name}: missing" for name in missing]
        yield Endpoint(
            id=str(each.id),
            provider=provider,
            region=each.region or "",
            base_url=each.base_url or "",
            zone=each.zone,
            provenance=each.provenance or "declared",
        )


def _model(row: ModelRow) -> Model:
    namespace, _, rest = row.id.partition("/")
    served_by = str(row.served_by)
    return Model(
        id=row.id,
        provider=served_by,
        # "acme/small" is "small" to acme; to anybody else it keeps its namespace.
        upstream_model=row.upstream_model
        or (rest if namespace == served_by else row.id),
        context_length=row.context_length,
        capabilities=frozenset(row.capabilities or ()),
        price_prompt=row.price_prompt,
        price_completion=row.price_completion,
        facts=_facts(row),
    )


def _facts(row: ModelRow) -> ModelFacts | None:
    total = row.total_params_b
    if total is None:
        return None
    return ModelFacts(
        total_params_b=total,
        active_params_b=row.active_params_b or total,
        weight_bits=row.weight_bits,
        source=row.params_source,
    )


def _demo_models(rows: Sequence[ModelRow]) -> tuple[Model, ...]:
    """The demo answers for every id of the catalogue, under that id, for nothing."""
    models = {row.id: _model(row) for row in reversed(rows)}
    return tuple(
        attrs.evolve(
            model,
            provider=DEMO.id,
            upstream_model=model.id,
            price_prompt=0.0,
            price_completion=0.0,
        )
        for model in reversed(models.values())
    )


# --- what does not fit together ----------------------------------------------------------


def _check_models(
    models: Mapping[Any, MergedModel],
    providers: Mapping[str, MergedProvider],
    problems: list[str],
) -> None:
    for merged in models.values():
        row, path = merged.row, merged.path
        if path is None:
            continue
        if row.served_by is None:
            problems.append(f"{path}.provider: missing, and the id names none")
        elif row.served_by not in providers:
            near = did_you_mean(row.served_by, providers)
            problems.append(
                f"{path}.provider: no such provider {row.served_by!r}{near}"
            )
        if row.active_params_b and not row.total_params_b:
            problems.append(f"{path}.total_params_b: missing beside active_params_b")
        elif row.active_params_b and row.active_params_b > (row.total_params_b or 0):
            problems.append(
                f"{path}.active_params_b: found {row.active_params_b:g}, "
                f"needs no more than total_params_b ({row.total_params_b:g})"
            )


def _check_names(
    config: Config,
    models: Mapping[Any, MergedModel],
    providers: Mapping[str, MergedProvider],
    problems: list[str],
) -> None:
    """Names in `auto` and in keys that nothing answers to."""
    ids = {merged.row.id for merged in models.values()}
    for i, name in enumerate(config.auto.models):
        if name not in ids:
            near = did_you_mean(name, ids)
            problems.append(f"auto.models[{i}]: no such model {name!r}{near}")
    for i, key in enumerate(config.keys):
        for j, name in enumerate(key.providers):
            if name not in providers and name != DEMO.id:
                near = did_you_mean(name, providers)
                problems.append(
                    f"keys[{i}].providers[{j}]: no such provider {name!r}{near}"
                )
