"""The default method against measurements and published figures."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.eco import CarbonIntensity, Deployment, ModelFacts
from lowproxy.core.eco_roofline import BATCH, PUE, Roofline, touched_gb
from lowproxy.core.usage import Usage
from lowproxy.grid.model_table import load_models

METHOD = Roofline()
TABLE = load_models()
FRANCE = CarbonIntensity("FR", 41.44, 41.44, 41.44, "test", "2025", water_l_per_kwh=3.7)
DENSE = ModelFacts(70.0, 70.0, 16, "https://example.org", "acme/dense", kv_kb=300.0)


def facts_of(model):
    facts = TABLE.facts(model)
    assert facts is not None, model
    return facts


def stages(model, prompt, completion, pue=None):
    rates = METHOD.coefficients(facts_of(model), FRANCE, pue)
    return rates.stages(Usage(prompt, completion))


# Model, output tokens, measured Wh of all GPUs at 64 requests at a time, tolerance.
# ML.ENERGY benchmark v3, https://ml.energy/leaderboard
MEASURED = [
    ("meta-llama/Llama-3.1-8B-Instruct", 396, 0.0130, 2),
    ("meta-llama/Llama-3.1-70B-Instruct", 352, 0.078, 2),
    ("meta-llama/Llama-3.1-405B-Instruct-FP8", 360, 0.308, 2),
    ("Qwen/Qwen3-30B-A3B-Instruct-2507", 918, 0.069, 2),
    ("Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", 876, 0.515, 2),
    ("deepseek-ai/DeepSeek-R1-0528", 11559, 12.4, 2.5),
]


@pytest.mark.parametrize(("model", "tokens", "measured_wh", "factor"), MEASURED)
def test_measured_gpu_energy(model, tokens, measured_wh, factor):
    """Within the factor, and the measurement within the bounds."""
    central, low, high = stages(model, 0, tokens)["gpu_wh"]

    assert measured_wh / factor < central < measured_wh * factor
    assert low < measured_wh < high


# Model, prompt, completion, PUE, stage, published Wh (with its range), tolerance. None
# of these was used in the fit. In order: Google's median prompt (arXiv 2508.15734),
# OpenAI's average query (S. Altman, June 2025), models over 200B on H100 with quartiles
# (arXiv 2509.20241, three models), Epoch AI's long prompt (Feb 2025), and InferenceMAX
# as read by muxup.com (2026).
OVER_200B = (0.16, 0.31, 0.60)
PUBLISHED = [
    ("google/gemini-2.5-flash", 500, 300, 1.09, "energy_wh", (0.24, 0.24, 0.24), 3),
    ("openai/gpt-4o", 500, 300, 1.2, "energy_wh", (0.34, 0.34, 0.34), 3),
    ("deepseek-ai/DeepSeek-R1", 500, 300, 1.15, "energy_wh", OVER_200B, 3),
    (
        "meta-llama/Llama-3.1-405B-Instruct-FP8",
        500,
        300,
        1.15,
        "energy_wh",
        OVER_200B,
        3,
    ),
    (
        "nvidia/Llama-3_1-Nemotron-Ultra-253B-v1-FP8",
        500,
        300,
        1.15,
        "energy_wh",
        OVER_200B,
        3,
    ),
    ("openai/gpt-4o", 10_000, 500, 1.2, "energy_wh", (2.5, 2.5, 2.5), 3),
    ("deepseek-ai/DeepSeek-R1", 7400, 920, 1.0, "it_wh", (0.96, 1.9, 3.74), 2),
]


@pytest.mark.parametrize(
    ("model", "prompt", "completion", "pue", "stage", "published_wh", "factor"),
    PUBLISHED,
)
def test_published_figures(model, prompt, completion, pue, stage, published_wh, factor):
    """Within the factor that the boundary and the missing token counts allow."""
    central, low, high = stages(model, prompt, completion, pue)[stage]
    least, middle, most = published_wh

    assert middle / factor < central < middle * factor
    assert low < most
    assert least < high


def test_a_long_cached_prefix_is_worth_staying_for():
    """A 70B model, 8000 cached tokens: moving costs several times as much."""
    rates = METHOD.coefficients(
        facts_of("meta-llama/Llama-3.3-70B-Instruct"), FRANCE, 1.15
    )
    staying = rates.impact(Usage(8000, 300, cached=8000)).energy_wh
    moving = rates.impact(Usage(8000, 300)).energy_wh

    assert 2 < moving / staying < 6


def test_stages_follow_from_one_another():
    """Servers are 1.6 times their GPUs, the facility PUE times its servers."""
    found = stages("Qwen/Qwen3-32B", 100, 400, 1.3)

    assert found["it_wh"][0] == pytest.approx(found["gpu_wh"][0] * 1.6)
    assert found["energy_wh"][0] == pytest.approx(found["it_wh"][0] * 1.3)


def test_pue_as_declared_as_tabled_or_as_usual():
    """A provider's own figure leaves no range; an unknown one widens the bounds."""
    tabled = attrs.evolve(DENSE, deployment=Deployment(pue_low=1.1, pue_high=1.3))
    usage = Usage(0, 100)

    declared = METHOD.estimate(tabled, usage, FRANCE, 1.5)
    known = METHOD.estimate(tabled, usage, FRANCE, None)
    unknown = METHOD.estimate(DENSE, usage, FRANCE, None)
    assert declared.pue == 1.5
    assert known.pue == pytest.approx(1.2)
    assert unknown.pue == PUE
    assert unknown.energy_wh_high > known.energy_wh_high


def test_an_unpublished_precision_widens_the_bounds():
    """Eight bits in the middle, four and sixteen at the ends."""
    eight = attrs.evolve(DENSE, weight_bits=8.0)
    unknown = attrs.evolve(DENSE, weight_bits=None)
    usage = Usage(0, 100)

    sure = METHOD.estimate(eight, usage, FRANCE, 1.2)
    unsure = METHOD.estimate(unknown, usage, FRANCE, 1.2)
    assert unsure.energy_wh == sure.energy_wh
    assert unsure.energy_wh_low < sure.energy_wh_low
    assert unsure.energy_wh_high > sure.energy_wh_high


def test_an_encoder_costs_its_prompt_only():
    """It writes nothing: one pass over what it reads."""
    facts = facts_of("BAAI/bge-m3")
    impact = METHOD.estimate(facts, Usage(1000, 0), FRANCE, 1.0)

    assert impact.energy_wh == pytest.approx(1.6 * 1.0e-3 * 0.568 * 1000 / 1000)
    assert impact.accuracy == "medium"


def test_water_where_the_provider_s_is_known():
    """On site by IT energy, in generation by the meter; else absent."""
    wet = Deployment(pue_low=1.2, pue_high=1.2, wue_low=0.6, wue_high=0.6)
    impact = METHOD.estimate(
        attrs.evolve(DENSE, deployment=wet), Usage(0, 100), FRANCE, None
    )

    it_wh = impact.energy_wh / 1.2
    assert impact.water_ml == pytest.approx(it_wh * 0.6 + impact.energy_wh * 3.7)
    assert METHOD.estimate(DENSE, Usage(0, 100), FRANCE, None).water_ml is None


def test_a_dense_model_reads_all_its_weights():
    """Whatever the batch."""
    assert touched_gb(70, 70, 16, 1, None) == touched_gb(70, 70, 16, 64, None) == 140


def test_one_request_reads_the_active_part_of_a_mixture():
    """At a batch of one, touched is active."""
    assert touched_gb(400, 17, 8, 1, (1, 128)) == pytest.approx(17)
    assert touched_gb(400, 17, 8, 1, None) == pytest.approx(17)


def test_sparse_experts_are_not_all_read_at_once():
    """One of 128 for each of 64 tokens: four in ten are."""
    assert 0.35 < touched_gb(400, 17, 8, 64, (1, 128)) / 400 < 0.45
    assert touched_gb(235, 22, 8, 64, (8, 128)) / 235 > 0.95


@given(
    total=st.floats(1, 3000),
    share=st.floats(0.01, 1),
    used=st.integers(1, 16),
    count=st.integers(17, 1000),
    batch=st.sampled_from([1, 16, BATCH, 256]),
)
def test_touched_lies_between_active_and_total(total, share, used, count, batch):
    """And grows with the batch."""
    active = max(total * share, total * used / count)
    read = touched_gb(total, active, 8, batch, (used, count))

    assert active * 0.999 <= read <= total * 1.001
    assert read <= touched_gb(total, active, 8, batch * 2, (used, count)) * 1.001
