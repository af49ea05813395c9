"""Which row of the tables a model's name means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.model_names import ModelTable
from lowproxy.grid.model_table import load_models

SHIPPED = load_models()

OPEN = {
    "models": {
        "acme/Large-70B-Instruct": {"total": 70.6, "bits": 16, "source": "https://a"},
        "acme/Mix-40B": {
            "total": 40.0,
            "active": 5.0,
            "bits": 8,
            "kv_kb": 100.0,
            "experts": [2, 16],
            "aliases": ["other/mix"],
            "source": "https://b",
        },
        "acme/twin": {"total": 1.0, "bits": 16, "source": "https://c"},
        "zeta/twin": {"total": 2.0, "bits": 16, "source": "https://d"},
    }
}
ECOLOGITS = {
    "providers": {"p": {"zone": "US", "pue": [1.1, 1.2], "wue": 0.5}},
    "aliases": {"openai/old-name": "openai/gpt-x"},
    "models": {
        "openai/gpt-x": {
            "provider": "p",
            "total": 440,
            "active": [44, 132],
            "tps": 50.0,
            "notes": ["arch-not-released"],
            "source": "https://e",
        },
        "acme/Large-70B-Instruct": {
            "provider": "p",
            "total": 71,
            "source": "https://f",
        },
    },
}
TABLE = ModelTable.build(OPEN, ECOLOGITS)


def named(model_id, upstream=None, table=TABLE):
    facts = table.facts(model_id, upstream)
    return facts.name if facts else None


@pytest.mark.parametrize(
    "spelling",
    [
        "acme/Large-70B-Instruct",
        "ACME/large-70b-instruct",
        "acme/large-70b",
        "large-70b-instruct",
        "elsewhere/large-70b:free",
        "acme/large-70b-instruct-2507",
        "acme/Large-70B-Instruct-FP8-dynamic",
        "acme/large-70b-latest",
        "cloud/large-70b-versatile",
    ],
)
def test_spellings_of_one_model(spelling):
    """Case, namespace, dates, tunings and offers do not change its size."""
    assert named(spelling) == "acme/Large-70B-Instruct"


@pytest.mark.parametrize(
    ("spelling", "bits"),
    [
        ("acme/Large-70B-Instruct", 16),
        ("acme/Large-70B-Instruct-FP8", 8),
        ("acme/Large-70B-Instruct-AWQ", 4.25),
        ("acme/Large-70B-Instruct-NVFP4-v2", 4.5),
        ("acme/Large-70B-Instruct-FP8-KV", 8),
        ("acme/Large-70B-Instruct-quantized.w4a16", 4.25),
        ("acme/Large-70B-Instruct-quantized.w8a8", 8),
        ("acme/Large-70B-Instruct-bnb-4bit", 4.25),
        ("acme/Large-70B-Instruct-int4-AutoRound", 4.25),
        ("acme/Large-70B-Instruct-AWQ-4bit", 4.25),
        ("acme/large-70b:free", 16),
    ],
)
def test_a_precision_in_the_name_counts(spelling, bits):
    """It is what is served, whatever the published weights have."""
    facts = TABLE.facts(spelling)

    assert facts is not None
    assert facts.weight_bits == bits
    assert facts.source == "https://a"


def test_our_row_goes_before_the_other_table():
    """It knows the precision."""
    facts = TABLE.facts("acme/large-70b-instruct")

    assert facts is not None
    assert facts.total_params_b == 70.6


def test_a_range_has_its_middle_and_its_ends():
    """As the proprietary models are given."""
    facts = TABLE.facts("openai/gpt-x-2026-03-05")

    assert facts is not None
    assert (facts.active_params_b, facts.active_range_b) == (88, (44, 132))
    assert facts.weight_bits is None
    assert facts.notes == ("arch-not-released",)
    assert facts.deployment is not None
    assert facts.deployment.tokens_per_s == 50.0
    assert (facts.deployment.pue_low, facts.deployment.pue_high) == (1.1, 1.2)
    assert (facts.deployment.wue_low, facts.deployment.wue_high) == (0.5, 0.5)


def test_aliases_of_both_tables():
    """Each leads to its row."""
    assert named("openai/old-name") == "openai/gpt-x"
    assert named("other/mix") == "acme/Mix-40B"


def test_what_a_serving_step_reads_is_kept():
    """Keys and values, and the experts."""
    facts = TABLE.facts("acme/mix-40b")

    assert facts is not None
    assert (facts.kv_kb, facts.experts) == (100.0, (2, 16))


def test_a_short_name_that_means_two_sizes_means_none():
    """Each is found under its own namespace only."""
    assert named("twin") is None
    assert named("acme/twin") == "acme/twin"
    assert named("zeta/twin") == "zeta/twin"


def test_the_upstream_name_helps_out():
    """An operator's own id is looked up by what the provider calls the model."""
    assert named("house/assistant", "gpt-x") == "openai/gpt-x"
    assert named("house/assistant", "who-knows") is None


def test_tables_go_before_sizes_in_names():
    """A size in our caller's name does not outweigh the row of the upstream's."""
    assert named("house/quick-8b", "acme/mix-40b") == "acme/Mix-40B"


@pytest.mark.parametrize(
    ("name", "total", "active", "bits"),
    [
        ("foo/bar-7b-chat", 7, 7, 16),
        ("foo/bar-0.5B", 0.5, 0.5, 16),
        ("foo/bar-350M-v2", 0.35, 0.35, 16),
        ("foo/Bar-235B-A22B-Instruct-FP8", 235, 22, 8),
        ("foo/bar-8x7b", 56, 14, 16),
        ("bar3.2:24b", 24, 24, 16),
    ],
)
def test_a_size_in_the_name_is_better_than_nothing(name, total, active, bits):
    """Gross, because nobody vouches for it: there is no source."""
    facts = TABLE.facts(name)

    assert facts is not None
    assert facts.total_params_b == pytest.approx(total)
    assert facts.active_params_b == pytest.approx(active)
    assert facts.weight_bits == bits
    assert facts.source is None
    assert facts.notes == ("size-from-name",)


@pytest.mark.parametrize(
    "name",
    [
        "acme/small",
        "gpt-9",
        "o7-b2",
        "",
        "/",
        "-",
        "model-v2",
        "foo/bar-0b",
        "12",
        "a3b",
    ],
)
def test_the_unknown_stays_unknown(name):
    """No average model stands in."""
    assert TABLE.facts(name) is None


@given(st.text(max_size=60), st.none() | st.text(max_size=20))
def test_no_name_is_an_error(name, upstream):
    """Whatever a caller or an operator writes."""
    facts = SHIPPED.facts(name, upstream)

    assert facts is None or 0 < facts.active_params_b <= facts.total_params_b


# Hugging Face ids of models that measurements exist of, and what their cards say.
CARDS = [
    ("Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", 235, 22, 8),
    ("Qwen/Qwen3-235B-A22B-Thinking-2507", 235, 22, 16),
    ("Qwen/Qwen3-30B-A3B-Thinking-2507", 30.5, 3.3, 16),
    ("Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8", 480, 35, 8),
    ("Qwen/Qwen3-14B", 14.8, 14.8, 16),
    ("Qwen/Qwen3-32B", 32.8, 32.8, 16),
    ("deepseek-ai/DeepSeek-R1-0528", 671, 37, 8),
    ("deepseek-ai/DeepSeek-V3.1", 671, 37, 8),
    ("google/gemma-3-27b-it", 27.4, 27.4, 16),
    ("meta-llama/Llama-3.1-405B-Instruct-FP8", 405.9, 405.9, 8),
    ("meta-llama/Llama-3.3-70B-Instruct", 70.6, 70.6, 16),
    ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 109, 17, 16),
    ("nvidia/NVIDIA-Nemotron-Nano-9B-v2", 8.89, 8.89, 16),
    ("openai/gpt-oss-120b", 116.8, 5.13, 4.47),
    ("zai-org/GLM-4.5-Air-FP8", 106, 12, 8),
    # These would be taken for dense models by the size in their name.
    ("openai/gpt-oss-safeguard-120b", 116.8, 5.13, 4.47),
    ("deepseek-ai/DeepSeek-Prover-V2-671B", 671, 37, 8),
    ("upstage/Solar-Open-100B", 102.6, 12, 16),
    ("allenai/OLMoE-1B-7B-0924-Instruct", 6.9, 1.3, 16),
    ("RedHatAI/Llama-3.3-70B-Instruct-quantized.w4a16", 70.6, 70.6, 4.25),
    ("nvidia/DeepSeek-R1-0528-FP4-v2", 671, 37, 4.5),
]


@pytest.mark.parametrize(("name", "total", "active", "bits"), CARDS)
def test_open_models_by_their_hugging_face_id(name, total, active, bits):
    """Published total, active and precision, with a source."""
    facts = SHIPPED.facts(name)

    assert facts is not None
    assert (facts.total_params_b, facts.active_params_b) == (total, active)
    assert facts.weight_bits == bits
    assert facts.source is not None
    assert facts.source.startswith("https://")


@pytest.mark.parametrize(
    "name",
    [
        "openai/gpt-4o",
        "openai/gpt-4o-mini",
        "anthropic/claude-sonnet-4-5",
        "google/gemini-2.5-flash",
        "mistral/mistral-large-latest",
        "mistral/mistral-small-latest",
    ],
)
def test_proprietary_models_of_the_catalogue(name):
    """They are in EcoLogits' table, with the source that it gives."""
    facts = SHIPPED.facts(name)

    assert facts is not None
    assert facts.source is not None
    assert facts.deployment is not None
