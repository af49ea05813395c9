"""The abandoned formula, in its right unit."""

import pytest

from lowproxy.core.eco import CarbonIntensity, ModelFacts
from lowproxy.core.eco_v04 import V04Compat
from lowproxy.core.usage import Usage

WORLD = CarbonIntensity("WOR", 458.0, 458.0, 458.0, "test", "2025")


@pytest.mark.parametrize(("active_b", "energy_wh"), [(70, 3.0668), (8, 0.85712)])
def test_the_published_coefficients_are_wh(active_b, energy_wh):
    """400 tokens: watt-hours, not kilowatt-hours."""
    facts = ModelFacts(active_b, active_b, 16, "https://example.org")
    impact = V04Compat().estimate(facts, Usage(0, 400), WORLD, 1.5)

    assert impact.energy_wh == pytest.approx(energy_wh, rel=1e-9)
    assert impact.carbon_g == pytest.approx(energy_wh * 0.458, rel=1e-9)


def test_prompt_tokens_cost_as_much_as_output():
    """As the hosted product has it, cached ones included; there is no PUE in it."""
    facts = ModelFacts(70, 70, 16, "https://example.org")
    method = V04Compat()

    one = method.estimate(facts, Usage(300, 100, 200), WORLD, None)
    other = method.estimate(facts, Usage(0, 400), WORLD, 1.6)
    assert one.energy_wh == pytest.approx(other.energy_wh)
    assert one.pue is None
    assert one.boundary == "gpu"
