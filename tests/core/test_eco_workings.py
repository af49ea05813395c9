"""The sums between a model's facts and its GPUs' energy are the method's own."""

import attrs
import pytest

from lowproxy.core.eco import CarbonIntensity, ModelFacts
from lowproxy.core.eco_derivation import derive
from lowproxy.core.eco_methods import METHODS, find_method
from lowproxy.core.eco_workings import workings
from lowproxy.core.usage import Usage
from lowproxy.grid.model_table import load_models

FRANCE = CarbonIntensity("FR", 41.44, 41.44, 41.44, "owid-ember", "2025")
TABLE = load_models()
MODELS = (
    "meta-llama/Llama-3.3-70B-Instruct",
    "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8",
    "zai-org/GLM-4.7-Flash",
    "anthropic/claude-sonnet-4-5",
    "mistral/mistral-large-latest",
    "BAAI/bge-m3",
    "somebody/model-30b-a3b",
)


def facts_of(name):
    """A model of the tables."""
    facts = TABLE.facts(name)
    assert facts is not None
    return facts


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda m: m.name)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "usage", [Usage(500, 300, 100), Usage(0, 300), Usage(700, 0, 700)], ids=str
)
def test_the_sums_end_in_the_estimate(method, name, usage):
    """To twelve digits, and servers too where they are worked out."""
    facts = facts_of(name)
    sums = {sum_.name: sum_.value for sum_ in workings(method, facts, usage)}
    steps = {s.name: s.central for s in derive(method, facts, usage, FRANCE).steps}

    assert sums["gpu_wh"] == pytest.approx(steps["gpu_wh"], rel=1e-12)
    if "server_wh" in sums:
        it_wh = sums["gpu_wh"] + sums["server_wh"]
        assert it_wh == pytest.approx(steps["it_wh"], rel=1e-12)


def test_what_is_assumed_is_said():
    """A precision or layers that nobody published."""
    bare = ModelFacts(12, 12)
    how = {s.name: s.how for s in workings(find_method("roofline"), bare, Usage(1, 1))}

    assert "precision not published, taken as 8 bits" in how["touched"]
    assert "layers not published" in how["kv"]


def test_both_ends_of_a_range_are_there():
    """Low end first, then their middle."""
    facts = attrs.evolve(
        ModelFacts(100, 20), active_low_b=10, active_high_b=30, total_low_b=100
    )
    names = [s.name for s in workings(find_method("ecologits"), facts, Usage(1, 1))]

    assert names[:2] == ["gpus_low", "gpu_wh_low"]
    assert names[-2:] == ["gpu_wh", "server_wh"]
