"""Names lead to rows, or the mistake is told with its path."""

from lowproxy.config.merging import MergedModel, MergedProvider
from lowproxy.config.references import (
    alias_problems,
    auto_problems,
    found_twice,
    key_problems,
    model_problems,
)
from lowproxy.config.rows import ModelRow, ProviderRow
from lowproxy.core.access import ApiKey

PROVIDERS = {"acme": MergedProvider(ProviderRow("acme"))}
IDS = {"acme/small", "acme/large"}


def test_an_endpoint_id_means_one_place():
    """Each that does not is told once."""
    assert found_twice(["a", "b", "a", "a"]) == [
        "providers: found the endpoint id 'a' twice, needs another"
    ]


def test_models_have_a_provider_and_sizes_that_agree():
    """Of the operator's rows; the built-in ones are tested as data."""
    rows = [
        MergedModel(ModelRow("bare"), "models[0]"),
        MergedModel(ModelRow("acne/x"), "models[1]"),
        MergedModel(ModelRow("acme/y", active_params_b=3.0), "models[2]"),
        MergedModel(
            ModelRow("acme/z", total_params_b=2.0, active_params_b=3.0), "models[3]"
        ),
        MergedModel(ModelRow("gone/w")),
    ]
    assert model_problems(rows, PROVIDERS) == [
        "models[0].provider: missing, and the id names none",
        "models[1].provider: no such provider 'acne'; did you mean acme?",
        "models[2].total_params_b: missing beside active_params_b",
        "models[3].active_params_b: found 3, needs no more than total_params_b (2)",
    ]


def test_names_lead_somewhere():
    """In `auto`, in aliases and in keys; pseudo-models and the demo are known."""
    assert auto_problems(("acme/small", "acme/smal"), IDS) == [
        "auto.models[1]: no such model 'acme/smal'; did you mean acme/small?"
    ]
    aliases = {"fast": ("lowrouter/auto", "acme/small"), "acme/small": ("acme/large",)}
    assert alias_problems(aliases, IDS) == [
        "aliases.acme/small: is a model's id, needs another name"
    ]
    key = ApiKey(name="k", hash="", providers=("acme", "demo", "acne"))
    assert key_problems([key], PROVIDERS) == [
        "keys[0].providers[2]: no such provider 'acne'; did you mean acme?"
    ]
