"""The built-in rows are sound, and merge with the operator's into what is in use."""

import tomllib
from importlib import resources
from urllib.parse import urlsplit

import pytest

from lowproxy import config
from lowproxy.catalogue import (
    build_pool,
    load,
    open_config,
    price_per_1k,
    routing_policy,
)
from lowproxy.config import Config, EndpointRow, ModelRow, ProviderRow
from lowproxy.core.access import ApiKey
from lowproxy.core.policy import Policy
from lowproxy.core.upstreams import Model
from lowproxy.errors import ConfigError
from lowproxy.grid.annual import AnnualGrid

DATA = tomllib.loads(
    (resources.files("lowproxy") / "data" / "catalogue.toml").read_text()
)
ALONE = config.CatalogueOptions(enabled=False)
ACME = ProviderRow(
    id="acme",
    endpoints=(
        EndpointRow(region="eu-west", base_url="https://eu.acme.example/v1"),
        EndpointRow(region="us-east", base_url="https://us.acme.example/v1"),
    ),
)


def unweighed(model, endpoint):
    """No grams; the price of a typical request."""
    return None, price_per_1k(model)


def problems(loaded, environ=None):
    """What does not fit together."""
    with pytest.raises(ConfigError) as caught:
        load(loaded, environ or {})
    return caught.value.problems


# --- the data ----------------------------------------------------------------------------


def test_every_provider_and_model_says_where_and_when_it_was_read():
    """A figure that nobody can look up is a rumour."""
    for row in [*DATA["providers"], *DATA["models"]]:
        assert urlsplit(row["source"]).scheme == "https", row["id"]
        assert row["source_date"], row["id"]


def test_every_place_says_how_sure_it_is_and_has_a_grid():
    """A zone where one is named must be known, so that its intensity is, too."""
    grid = AnnualGrid.load()
    for provider in DATA["providers"]:
        for place in provider["endpoints"]:
            assert place["provenance"] in {
                "contractual",
                "declared",
                "inferred",
                "unknown",
            }
            if "zone" in place:
                assert not grid.intensity(place["zone"], "global").blended
            if place["provenance"] == "unknown":
                assert place["region"] == "global"


def test_every_provider_that_is_named_exists():
    """And each hosted one serves something, or is completed by the operator."""
    ids = {row["id"] for row in DATA["providers"]}
    serving = {
        row.get("provider", row["id"].partition("/")[0]) for row in DATA["models"]
    }

    assert serving <= ids
    local = {"ollama", "vllm", "llamacpp", "sglang", "lmstudio"}
    assert ids - serving == {"azure", "infomaniak"} | local


def test_every_provider_that_was_promised_is_there():
    """And each hosted one but those with a host of one's own has models."""
    promised = (
        "openai azure anthropic google mistral groq together fireworks deepinfra cerebras"
        " nebius scaleway ovhcloud infomaniak greenpt neuralwatt deepseek xai cohere"
        " openrouter huggingface ollama vllm llamacpp lmstudio sglang"
    )

    assert {row["id"] for row in DATA["providers"]} >= set(promised.split())
    openai = next(row for row in DATA["providers"] if row["id"] == "openai")
    hosts = [urlsplit(place["base_url"]).hostname for place in openai["endpoints"]]
    assert hosts == ["api.openai.com", "us.api.openai.com", "eu.api.openai.com"]


def test_no_row_is_there_twice():
    """The later one would hide the earlier one in silence."""
    rows = [
        (row["id"], row.get("provider", row["id"].partition("/")[0]))
        for row in DATA["models"]
    ]

    assert len(rows) == len(set(rows))


def test_hosted_places_are_reached_over_tls():
    """Only a local server is asked in the clear."""
    for provider in DATA["providers"]:
        for place in provider["endpoints"]:
            if place.get("region") != "local" and "base_url" in place:
                assert place["base_url"].startswith("https://")


# --- activation --------------------------------------------------------------------------


def test_without_any_key_the_demo_answers_for_the_whole_catalogue():
    """In the regions that the documentation names, for nothing, under the same ids."""
    catalogue = load(Config(), {})
    served = catalogue.demo_rows("http://127.0.0.1:4711")

    assert catalogue.demo
    assert catalogue.endpoints == ()
    assert [provider.id for provider in served.providers] == ["demo"]
    assert {(e.region, e.zone) for e in served.endpoints} == {
        ("eu-west", "FR"),
        ("eu-north", "SE"),
        ("us-east", "US-MIDA-PJM"),
        ("us-west", "US-CAL-CISO"),
    }
    assert served.endpoints[0].base_url == "http://127.0.0.1:4711/eu-west/v1"
    assert {model.id for model in served.models} == {r["id"] for r in DATA["models"]}
    mini = next(m for m in served.models if m.id == "openai/gpt-4o-mini")
    assert (mini.provider, mini.upstream_model) == ("demo", "openai/gpt-4o-mini")
    assert (mini.price_prompt, mini.price_completion) == (0.0, 0.0)
    assert mini.context_length == 128000
    assert len(served.models) == len({model.id for model in served.models})


def test_a_key_in_the_environment_puts_its_provider_in_use():
    """And only that one; the demo is gone."""
    catalogue = load(Config(), {"OPENAI_API_KEY": "sk-x", "GROQ_API_KEY": " "})

    assert not catalogue.demo
    assert [provider.id for provider in catalogue.providers] == ["openai"]
    assert [endpoint.region for endpoint in catalogue.endpoints] == ["us-east"]
    assert {model.provider for model in catalogue.models} == {"openai"}
    assert catalogue.dormant["groq"] == "GROQ_API_KEY"
    assert catalogue.dormant["openai in eu-west"] == "OPENAI_EU_API_KEY"


def test_the_european_host_has_a_key_of_its_own():
    """Both hosts serve the same models, each with its own key."""
    catalogue = load(Config(), {"OPENAI_API_KEY": "us", "OPENAI_EU_API_KEY": "eu"})
    pool = build_pool(catalogue, unweighed)

    assert {
        c.endpoint.region: c.endpoint.provider.credentials[0].reveal()
        for c in pool.by_model["openai/gpt-4o-mini"]
    } == {"us-east": "us", "eu-west": "eu"}


def test_one_model_may_be_served_by_several():
    """Each under the name that it has there."""
    catalogue = load(Config(), {"SCALEWAY_API_KEY": "a", "GROQ_API_KEY": "b"})
    pool = build_pool(catalogue, unweighed)

    assert {
        c.endpoint.provider.id: c.model.upstream_model
        for c in pool.by_model["openai/gpt-oss-120b"]
    } == {
        "scaleway": "gpt-oss-120b",
        "groq": "openai/gpt-oss-120b",
    }


def test_the_catalogue_can_be_left_out():
    """And the keys in the environment with it."""
    loaded = Config(
        catalogue=ALONE, providers=(ACME,), models=(ModelRow(id="acme/small"),)
    )

    catalogue = load(loaded, {"OPENAI_API_KEY": "sk-x"})

    assert [provider.id for provider in catalogue.providers] == ["acme"]
    assert [model.upstream_model for model in catalogue.models] == ["small"]
    assert catalogue.dormant == {}


def test_nothing_at_all_is_a_mistake():
    """No catalogue and no provider: there is nobody to ask, and no demo either."""
    [problem] = problems(Config(catalogue=ALONE))

    assert problem.startswith("providers: none")


def test_a_configured_provider_joins_the_built_in_ones():
    """A price of the operator's own goes over the list price of one provider."""
    loaded = Config(
        providers=(ACME,),
        models=(
            ModelRow(id="openai/gpt-4o-mini", price_prompt=0.10),
            ModelRow(id="openai/gpt-4o-mini", provider="acme"),
        ),
    )

    catalogue = load(loaded, {"OPENAI_API_KEY": "sk-x"})
    rows = {m.provider: m for m in catalogue.models if m.id == "openai/gpt-4o-mini"}

    assert rows["openai"].price_prompt == 0.10
    assert rows["openai"].price_completion == 0.60
    assert rows["acme"].upstream_model == "openai/gpt-4o-mini"
    assert rows["acme"].price_prompt is None


def test_disabled_rows_are_not_there():
    """A provider, an endpoint or a model."""
    loaded = Config(
        providers=(
            ProviderRow(id="groq", enabled=False),
            ProviderRow(
                id="mistral",
                endpoints=(EndpointRow(id="mistral-global-1", enabled=False),),
            ),
        ),
        models=(ModelRow(id="mistral/codestral-latest", enabled=False),),
    )

    catalogue = load(loaded, {"GROQ_API_KEY": "a", "MISTRAL_API_KEY": "b"})

    assert [endpoint.id for endpoint in catalogue.endpoints] == ["mistral-eu-west-1"]
    assert "mistral/codestral-latest" not in {m.id for m in catalogue.models}


@pytest.mark.parametrize(
    ("row", "upstream"),
    [
        (ModelRow(id="acme/small"), "small"),
        (ModelRow(id="acme/small", upstream_model="s-1"), "s-1"),
        (ModelRow(id="meta/llama", provider="acme"), "meta/llama"),
        (ModelRow(id="llama", provider="acme"), "llama"),
        (ModelRow(id="acme/org/small"), "org/small"),
    ],
)
def test_what_the_provider_calls_it(row, upstream):
    """A provider's own namespace is ours, anybody else's is part of the name."""
    loaded = Config(catalogue=ALONE, providers=(ACME,), models=(row,))

    [model] = load(loaded, {}).models

    assert model.upstream_model == upstream


def test_sizes_of_the_operators_own():
    """A dense model says its size once; without one nothing is assumed."""
    loaded = Config(
        catalogue=ALONE,
        providers=(ACME,),
        models=(
            ModelRow(
                id="acme/dense",
                total_params_b=24.0,
                weight_bits=8.0,
                params_source="https://acme.example",
            ),
            ModelRow(id="acme/moe", total_params_b=100.0, active_params_b=5.0),
            ModelRow(id="acme/secret"),
        ),
    )

    dense, moe, secret = load(loaded, {}).models

    assert dense.facts is not None
    assert dense.facts.active_params_b == dense.facts.total_params_b == 24.0
    assert (dense.facts.weight_bits, dense.facts.source) == (
        8.0,
        "https://acme.example",
    )
    assert moe.facts is not None
    assert (moe.facts.total_params_b, moe.facts.active_params_b) == (100.0, 5.0)
    assert secret.facts is None


def test_a_secret_file_is_looked_for_beside_the_configuration(tmp_path):
    """Wherever the process was started."""
    (tmp_path / "acme.key").write_text("sk-file\n")
    (tmp_path / "lowproxy.toml").write_text(
        """
        [catalogue]
        enabled = false
        [[providers]]
        id = "acme"
        api_key_file = "acme.key"
          [[providers.endpoints]]
          region = "eu-west"
          base_url = "https://acme.example/v1"
        """
    )

    _, catalogue = open_config(tmp_path / "lowproxy.toml", {})

    assert catalogue.providers[0].credentials[0].reveal() == "sk-file"


# --- mistakes ----------------------------------------------------------------------------


def test_names_that_nothing_answers_to():
    """Each with its path and, where one is near, the name that was meant."""
    loaded = Config(
        providers=(ACME,),
        models=(
            ModelRow(id="small"),
            ModelRow(id="small", provider="acmee"),
            ModelRow(id="acme/a", active_params_b=3.0),
            ModelRow(id="acme/b", active_params_b=3.0, total_params_b=2.0),
        ),
        auto=config.Auto(models=("openai/gpt-4o-mini", "openai/gpt-4o-minni")),
        keys=(ApiKey(name="x", hash="sha256:0", providers=("demo", "mistrall")),),
    )

    assert problems(loaded) == [
        "models[0].provider: missing, and the id names none",
        "models[1].provider: no such provider 'acmee'; did you mean acme?",
        "models[2].total_params_b: missing beside active_params_b",
        "models[3].active_params_b: found 3, needs no more than total_params_b (2)",
        (
            "auto.models[1]: no such model 'openai/gpt-4o-minni'; "
            "did you mean openai/gpt-4o-mini?"
        ),
        "keys[0].providers[1]: no such provider 'mistrall'; did you mean mistral?",
    ]


def test_an_endpoint_id_of_two_providers():
    """Traces and health could not tell them apart."""
    place = EndpointRow(id="same", region="uk", base_url="https://x.example")
    rows = [ProviderRow(id=name, endpoints=(place,)) for name in ("a", "b")]

    assert problems(Config(catalogue=ALONE, providers=tuple(rows))) == [
        "providers: found the endpoint id 'same' twice, needs another"
    ]


def test_mistakes_of_both_stages_come_together(tmp_path):
    """One run shows what is wrong with the file and what does not fit together."""
    path = tmp_path / "lowproxy.toml"
    path.write_text('[timeouts]\nidel = 1\n[auto]\nmodels = ["x"]')

    with pytest.raises(ConfigError) as caught:
        open_config(path, {})

    assert caught.value.problems == [
        "timeouts.idel: no such option; did you mean idle_s?",
        "auto.models[0]: no such model 'x'",
    ]


def test_a_broken_row_causes_no_second_complaint(tmp_path):
    """A model of a provider whose row was not understood is not wrong itself."""
    path = tmp_path / "lowproxy.toml"
    path.write_text(
        '[[providers]]\nid = "acme"\nfoo = 1\n[[models]]\nid = "acme/small"'
    )

    with pytest.raises(ConfigError) as caught:
        open_config(path, {})

    assert caught.value.problems == ["providers[0].foo: no such option"]


# --- the pool ----------------------------------------------------------------------------


def test_the_pool_has_every_model_at_every_place_of_its_provider():
    """With what the composition root knows of grams and prices."""
    loaded = Config(
        catalogue=ALONE,
        providers=(ACME,),
        models=(ModelRow(id="acme/a"), ModelRow(id="acme/b")),
    )
    seen = []

    def weigh(model, endpoint):
        seen.append((model.id, endpoint.id))
        return 1.5, 2.5

    pool = build_pool(load(loaded, {}), weigh)

    assert seen == [
        ("acme/a", "acme-eu-west-1"),
        ("acme/a", "acme-us-east-1"),
        ("acme/b", "acme-eu-west-1"),
        ("acme/b", "acme-us-east-1"),
    ]
    assert pool.auto == ("acme/a", "acme/b")
    first = pool.by_model["acme/a"][0]
    assert (first.carbon_g_per_1k, first.price_per_1k) == (1.5, 2.5)


def test_auto_is_what_the_operator_listed_and_somebody_serves():
    """In the operator's order; what is not in use does not count."""
    loaded = Config(
        catalogue=ALONE,
        providers=(ACME,),
        models=(ModelRow(id="acme/a"), ModelRow(id="acme/b")),
    )

    pool = build_pool(load(loaded, {}), unweighed, ("acme/b", "openai/o3", "acme/a"))

    assert pool.auto == ("acme/b", "acme/a")


def test_the_price_of_a_typical_request():
    """Half prompt, half answer, per thousand tokens; half a price is none."""
    model = Model("acme/a", "acme", "a", price_prompt=1.0, price_completion=3.0)

    assert price_per_1k(model) == 0.002
    assert price_per_1k(Model("acme/a", "acme", "a", price_prompt=1.0)) is None


def test_mistakes_of_every_kind_show_in_one_round(tmp_path):
    """What is misread, said twice and referred to in vain: one file, one list."""
    file = tmp_path / "lowproxy.toml"
    file.write_text(
        """
        [timeouts]
        idle_s = "5"
        [[keys]]
        name = "a"
        hash = 5
        [[keys]]
        name = "b"
        [[providers]]
        id = "acme"
        dialect = "french"
          [[providers.endpoints]]
          region = "EU"
          base_url = "http://127.0.0.1:1/v1"
        [[providers]]
        id = "acme"
        [[models]]
        id = "zed/x"
        price_prompt = "free"
        [auto]
        models = ["nope/nope"]
        """
    )
    with pytest.raises(ConfigError) as caught:
        open_config(file, {})
    told = [problem.partition(": ")[0] for problem in caught.value.problems]
    assert told == [
        "timeouts.idle_s",
        "keys[0].hash",
        "providers[0].dialect",
        "providers[0].endpoints[0].region",
        "models[0].price_prompt",
        "keys[1]",
        "providers[1].id",
        "models[0].provider",
        "auto.models[0]",
    ]


# --- aliases -----------------------------------------------------------------------------


def test_aliases_come_with_the_pool():
    """With what is served; bare names beside them."""
    names = {
        "fast": ("acme/a",),
        "gone": ("openai/gpt-4o",),
        "auto": ("lowrouter/auto",),
    }
    rows = (ModelRow(id="acme/a"), ModelRow(id="acme/b"))
    loaded = load(Config(providers=(ACME,), models=rows, aliases=names), {})
    pool = build_pool(loaded, unweighed)

    assert pool.aliases == {"fast": ("acme/a",), "auto": ("lowrouter/auto",)}
    assert pool.bare == {"a": ("acme/a",), "b": ("acme/b",)}


def test_an_alias_must_lead_to_a_model_that_is_known():
    """And may not hide one."""
    names = {"fast": ("openai/gpt-4o-minni",), "openai/gpt-4o": ("openai/gpt-4o-mini",)}
    assert problems(Config(aliases=names)) == [
        "aliases.fast: no such model 'openai/gpt-4o-minni'; did you mean openai/gpt-4o-mini?",
        "aliases.openai/gpt-4o: is a model's id, needs another name",
    ]


def test_the_demo_knows_aliases_too():
    """And the bare names of the whole catalogue."""
    loaded = load(Config(aliases={"fast": ("openai/gpt-4o-mini",)}), {})
    pool = build_pool(loaded.demo_rows("http://127.0.0.1:1"), unweighed)

    assert pool.aliases == {"fast": ("openai/gpt-4o-mini",)}
    assert pool.bare["gpt-4o-mini"] == ("openai/gpt-4o-mini",)


# --- rows that an operator completes ---------------------------------------------------------

AZURE = """
[[providers]]
id = "azure"
  [[providers.endpoints]]
  id = "azure"
  account = "my-resource"
  region = "eu-north"
  zone = "SE-SE3"
[[models]]
id = "openai/gpt-4o-mini"
provider = "azure"
upstream_model = "our-deployment"
"""


def opened(tmp_path, text, environ):
    """The pool of a configuration file."""
    path = tmp_path / "lowproxy.toml"
    path.write_text(text)
    return build_pool(open_config(path, environ)[1], unweighed)


def test_azure_is_a_few_lines(tmp_path):
    """The resource, its place and a deployment; key and header come from the built-in row."""
    pool = opened(tmp_path, AZURE, {"AZURE_OPENAI_API_KEY": "azures-key"})
    (candidate,) = pool.by_model["openai/gpt-4o-mini"]
    host = "https://my-resource.openai.azure.com"

    assert candidate.chat_url == f"{host}/openai/v1/chat/completions"
    assert candidate.endpoint.provenance == "contractual"
    assert candidate.endpoint.provider.auth_header == "api-key"


def test_azure_with_a_dated_version(tmp_path):
    """The deployment is in the path, the version in the query."""
    dated = """account = "my-resource"
      base_url = "https://{account}.openai.azure.com/openai"
      chat_path = "/deployments/{model}/chat/completions?api-version=2024-10-21"
    """
    text = AZURE.replace('account = "my-resource"', dated)
    text = text.replace("our-deployment", "gpt/4o")
    pool = opened(tmp_path, text, {"AZURE_OPENAI_API_KEY": "azures-key"})
    (candidate,) = pool.by_model["openai/gpt-4o-mini"]

    assert candidate.chat_url == (
        "https://my-resource.openai.azure.com/openai/deployments/gpt%2F4o"
        "/chat/completions?api-version=2024-10-21"
    )


def test_a_host_without_its_account_is_named(tmp_path):
    """A mistake where the operator began the row, a wish where not."""
    text = AZURE.replace('account = "my-resource"', "")
    with pytest.raises(ConfigError) as caught:
        opened(tmp_path, text, {"AZURE_OPENAI_API_KEY": "azures-key"})
    url = "https://{account}.openai.azure.com/openai/v1"
    assert caught.value.problems == [
        f"providers[0].endpoints[0].account: missing: it stands in {url}"
    ]
    loaded = load(Config(), {"INFOMANIAK_API_KEY": "a", "GROQ_API_KEY": "b"})
    assert loaded.dormant["infomaniak"] == (
        "INFOMANIAK_API_KEY and an account in the configuration"
    )


def test_quirks_are_overridden_row_by_row(tmp_path):
    """A provider that has learnt a field, or lost one, needs one line."""
    mistral = '[[providers]]\nid = "mistral"\n'
    environ = {"MISTRAL_API_KEY": "a"}
    built = opened(tmp_path, "", environ)
    said = opened(tmp_path, mistral + "stream_options = true\nrenames = {}", environ)
    name = "mistral/mistral-small-latest"
    before = built.by_model[name][0].endpoint.provider
    after = said.by_model[name][0].endpoint.provider

    assert before.respells == (("max_completion_tokens", "max_tokens"),)
    assert not before.stream_options
    assert after.respells == ()
    assert after.stream_options


def test_the_policy_of_the_operator(tmp_path):
    """`[routing]` and `[auto]` as decisions take them; what is not said is the default."""
    file = tmp_path / "lowproxy.toml"
    file.write_text(
        '[routing]\naccept_provenance = ["contractual"]\ncheap = { price = 2 }\n'
        "[auto]\nmin_quality = 40"
    )
    config, _ = open_config(file, {})
    policy = routing_policy(config)

    assert policy.accept_provenance == {"contractual"}
    assert policy.min_quality == 40
    assert policy.cheap.weights == (0.0, 0.0, 1.0)
    assert policy.low_carbon == Policy().low_carbon
    assert routing_policy(Config()) == Policy()
