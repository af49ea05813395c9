"""EcoLogits' method against EcoLogits itself."""

import math
from typing import Any

import pytest

from lowproxy.core.eco import CarbonIntensity
from lowproxy.core.eco_ecologits import Ecologits
from lowproxy.core.usage import Usage
from lowproxy.grid.model_table import load_ecologits

METHOD = Ecologits()
TABLE = load_ecologits()


def grid(grams=100.0, water=None):
    return CarbonIntensity(
        "XX", grams, grams, grams, "test", "2025", water_l_per_kwh=water
    )


def estimate(model, tokens, reading):
    facts = TABLE.facts(model)
    assert facts is not None, model
    return METHOD.estimate(facts, Usage(0, tokens), reading, None)


# Output tokens, g/kWh, then the package's own low and high: Wh, g of usage; g embodied.
GOLDENS = [
    ("openai/gpt-4o", 300, 384.4, (0.436, 0.725), (0.168, 0.279), 0.0121),
    ("openai/gpt-4o-mini", 300, 384.4, (0.020, 0.024), (0.008, 0.009), 0.0007),
    ("openai/gpt-5", 300, 384.4, (0.460, 0.656), (0.177, 0.252), 0.0266),
    ("anthropic/claude-sonnet-4-5", 300, 384.4, (0.437, 0.732), (0.168, 0.281), 0.0216),
    ("google/gemini-2.5-flash", 300, 384.4, (0.406, 0.668), (0.156, 0.257), 0.0144),
    (
        "mistral/mistral-large-latest",
        400,
        41.44,
        (1.151, 1.151),
        (0.048, 0.048),
        0.0436,
    ),
    (
        "meta-llama/Meta-Llama-3.1-70B",
        300,
        384.4,
        (0.180, 0.188),
        (0.069, 0.072),
        0.0171,
    ),
    ("meta-llama/Meta-Llama-3.1-405B", 300, 384.4, (2.49, 2.61), None, None),
]


@pytest.mark.parametrize(
    ("model", "tokens", "grams", "energy", "carbon", "embodied"), GOLDENS
)
def test_published_examples_come_out(model, tokens, grams, energy, carbon, embodied):
    """The figures that EcoLogits 0.11.3 gives, to the digits they are quoted with."""
    impact = estimate(model, tokens, grid(grams))

    assert (impact.energy_wh_low, impact.energy_wh_high) == pytest.approx(
        energy, abs=6e-4 if energy[0] < 2 else 6e-3
    )
    if carbon:
        assert (impact.carbon_g_low, impact.carbon_g_high) == pytest.approx(
            carbon, abs=6e-4
        )
    if embodied:
        assert impact.embodied_g == pytest.approx(embodied, abs=6e-5)


def our_id(provider, name):
    prefixes = {
        "mistralai": "mistral/",
        "google_genai": "google/",
        "huggingface_hub": "",
    }
    return prefixes.get(provider, provider + "/") + name


@pytest.mark.parametrize("tokens", [1, 300, 100_000])
def test_equals_the_library_for_every_model(tokens):
    """Energy, usage and embodied carbon and water of all models it has, to 1e-9."""
    pytest.importorskip("ecologits")
    from ecologits.electricity_mix_repository import electricity_mixes
    from ecologits.log import logger
    from ecologits.model_repository import models
    from ecologits.tracers.utils import llm_impacts

    logger.disabled = True
    mix: Any = electricity_mixes.find_electricity_mix("FRA")
    names = [(m.provider, m.name) for m in models.list_models()]
    assert len(names) > 300
    for provider, name in names:
        provider = getattr(provider, "value", provider)
        theirs: Any = llm_impacts(str(provider), name, tokens, math.inf, "FRA")
        ours = estimate(our_id(provider, name), tokens, grid(mix.gwp * 1000, mix.wue))
        usage, embodied = theirs.usage, theirs.embodied
        expected = [
            *(x * 1000 for x in ends(usage.energy.value)),
            *(x * 1000 for x in ends(usage.gwp.value)),
            sum(ends(embodied.gwp.value)) * 500,
            sum(ends(usage.wcf.value)) * 500,
        ]
        found = [
            ours.energy_wh_low,
            ours.energy_wh_high,
            ours.carbon_g_low,
            ours.carbon_g_high,
            ours.embodied_g,
            ours.water_ml,
        ]
        assert found == pytest.approx(expected, rel=1e-9), (provider, name)


def ends(value):
    """Both ends of a range of the library's, or a number twice."""
    return (value.min, value.max) if hasattr(value, "min") else (value, value)
