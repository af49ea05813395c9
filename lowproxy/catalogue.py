"""What can be asked for and who serves it.

The built-in rows, the operator's rows over them, and which of all that is in use: every
provider of the configuration, and every built-in one whose key is in the environment.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import attrs

from lowproxy.config import Config, ModelRow, read, read_tables, unheard
from lowproxy.config.activation import activate
from lowproxy.config.merging import merged_models, merged_providers
from lowproxy.config.money import Rate, model_prices, rates
from lowproxy.config.references import (
    DEMO_ID,
    alias_problems,
    auto_problems,
    found_twice,
    key_problems,
    model_problems,
)
from lowproxy.core.aliases import bare_names, served
from lowproxy.core.cost import NANO, prices
from lowproxy.core.eco import ModelFacts
from lowproxy.core.expected import ANSWER_TOKENS
from lowproxy.core.policy import Policy, Scale
from lowproxy.core.upstreams import (
    Candidate,
    Endpoint,
    Model,
    Pool,
    Provider,
)
from lowproxy.errors import ConfigError

# What follows model and endpoint in a Candidate: grams and price per 1000 tokens of a typical request at least.
Weigh = Callable[[Model, Endpoint], tuple[Any, ...]]

DEMO = Provider(id=DEMO_ID)
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
    aliases: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    demo: bool = False
    # Built-in providers and places that are not in use, and what each would need.
    dormant: Mapping[str, str] = attrs.field(factory=dict)

    def demo_rows(self, base_url: str) -> "Catalogue":
        """The demo with its endpoints, all on one server at `base_url` (no slash at end).

        A region is a path: `{base_url}/eu-west/v1`.
        """
        endpoints = [
            Endpoint(f"demo-{region}-1", DEMO, region, f"{base_url}/{region}/v1", zone)
            for region, zone in DEMO_REGIONS
        ]
        return attrs.evolve(self, endpoints=tuple(endpoints))


def open_config(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    listen: str | None = None,
    admin_listen: str | None = None,
    instance: int | None = None,
) -> tuple[Config, Catalogue]:
    """The configuration and what it puts in use; raises ConfigError with all mistakes."""
    config, problems = read(
        path,
        environ,
        listen=listen,
        admin_listen=admin_listen,
        instance=instance,
    )
    catalogue = None
    # Rows that could not be read are not there: what refers to them looks wrong too.
    if not config.lost:
        try:
            catalogue = load(config, environ)
        except ConfigError as exc:
            problems += unheard(exc.problems, problems)
    if problems or catalogue is None:
        raise ConfigError(problems)
    return config, catalogue


def load(config: Config, environ: Mapping[str, str]) -> Catalogue:
    """What the configuration and the environment put in use; raises ConfigError."""
    builtin = builtin_rows() if config.catalogue.enabled else {}
    providers = merged_providers(builtin.get("providers", ()), config.providers)
    models = merged_models(builtin.get("models", ()), config.models)
    folder = config.path.parent if config.path else Path()
    activations = [
        activate(merged, environ, folder)
        for merged in providers.values()
        if merged.row.enabled is not False
    ]
    active = [each for each in activations if each.endpoints]
    problems = [problem for each in activations for problem in each.problems]
    problems += found_twice([each.id for a in active for each in a.endpoints])
    problems += model_problems(models.values(), providers)
    ids = {merged.row.id for merged in models.values()}
    problems += auto_problems(config.auto.models, ids)
    problems += alias_problems(config.aliases, ids)
    problems += key_problems(config.keys, providers)
    if not active and not problems and not config.catalogue.enabled:
        right = "needs a [[providers]] row, or catalogue.enabled = true"
        problems.append(f"providers: none, and the built-in catalogue is off; {right}")
    if problems:
        raise ConfigError(problems)
    rows = [each.row for each in models.values() if each.row.enabled is not False]
    known = rates(config.billing)
    dormant = {
        name: wish for each in activations for name, wish in each.dormant.items()
    }
    if not active:
        return Catalogue(
            (DEMO,),
            (),
            _demo_models(rows, config.billing.currency),
            config.aliases,
            demo=True,
            dormant=dormant,
        )
    currencies = {each.provider.id: each.provider.currency for each in active}
    return Catalogue(
        providers=tuple(each.provider for each in active),
        endpoints=tuple(endpoint for each in active for endpoint in each.endpoints),
        models=tuple(
            _priced(_model(row), currencies[row.served_by], known)
            for row in rows
            if row.served_by in currencies
        ),
        aliases=config.aliases,
        dormant=dormant,
    )


def build_pool(
    catalogue: Catalogue,
    weigh: Weigh,
    auto: Sequence[str] = (),
    policy: Policy = Policy(),  # noqa: B008 - frozen
) -> Pool:
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
    return Pool(
        by_model,
        tuple(each for each in chosen if each in by_model),
        aliases=served(catalogue.aliases, by_model),
        bare=bare_names(by_model),
        policy=policy,
    )


def routing_policy(config: Config) -> Policy:
    """What `[routing]` and `[auto]` say, as decisions take it."""
    routing = config.routing
    scales = {
        name: Scale.of(name, *attrs.astuple(getattr(routing, name)))
        for name in ("low_carbon", "standard", "cheap")
    }
    return Policy(
        frozenset(routing.accept_provenance), config.auto.min_quality, **scales
    )


def price_per_1k(model: Model) -> float | None:
    """What 1000 tokens cost, half of them prompt: in the billing currency where its rate is known, else as said."""
    if (known := model.prices) is not None:
        return (known.prompt + known.completion) / known.per / 2 * 1000 / NANO
    if model.price_prompt is None or model.price_completion is None:
        return None
    return (model.price_prompt + model.price_completion) / 2 / 1000


def builtin_rows() -> dict[str, Any]:
    """The rows of `data/catalogue.toml` by table; a mistake in them is a bug of ours."""
    file = resources.files("lowproxy") / "data" / "catalogue.toml"
    rows, problems = read_tables(tomllib.loads(file.read_text(encoding="utf-8")))
    if problems:
        raise ConfigError([f"data/catalogue.toml: {each}" for each in problems])
    return rows


def _model(row: ModelRow) -> Model:
    namespace, _, rest = row.id.partition("/")
    served_by = str(row.served_by)
    return Model(
        id=row.id,
        provider=served_by,
        # "acme/small" is "small" to acme; to anybody else it keeps its namespace.
        upstream_model=row.upstream_model
        or (rest if namespace == served_by and rest else row.id),
        context_length=row.context_length,
        capabilities=frozenset(row.capabilities or ()),
        price_prompt=row.price_prompt,
        price_completion=row.price_completion,
        price_cached=row.price_cached,
        price_reasoning=row.price_reasoning,
        max_output_tokens=row.max_output_tokens,
        facts=_facts(row),
        quality=row.quality,
        answer_tokens=row.answer_tokens or ANSWER_TOKENS,
    )


def _priced(model: Model, currency: str, known: Mapping[str, Rate]) -> Model:
    return attrs.evolve(model, prices=model_prices(model, currency, known))


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


def _demo_models(rows: Sequence[ModelRow], currency: str) -> tuple[Model, ...]:
    """The demo answers for every id of the catalogue, under that id, for nothing."""
    free = prices(0.0, 0.0, currency=currency)
    models: dict[str, Model] = {}
    for row in rows:
        if row.served_by is not None:
            models.setdefault(row.id, _model(row))
    return tuple(
        attrs.evolve(
            model,
            provider=DEMO.id,
            upstream_model=model.id,
            price_prompt=0.0,
            price_completion=0.0,
            price_cached=None,
            price_reasoning=None,
            prices=free,
        )
        for model in models.values()
    )
