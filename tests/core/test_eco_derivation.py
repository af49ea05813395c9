"""An estimate step by step."""

import pytest

from lowproxy.core.eco import CarbonIntensity, ModelFacts
from lowproxy.core.eco_block import six
from lowproxy.core.eco_derivation import derive
from lowproxy.core.eco_methods import METHODS
from lowproxy.core.usage import Usage

FRANCE = CarbonIntensity("FR", 41.44, 41.44, 41.44, "owid-ember", "2025")
FACTS = ModelFacts(70.6, 70.6, 16, "https://example.org/card", "acme/large")
USAGE = Usage(500, 300, 100)


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda m: m.name)
def test_the_steps_end_in_the_impact(method):
    """The last numbers are what a response would say, with their bounds."""
    fields = derive(method, FACTS, USAGE, FRANCE).fields()
    impact = method.estimate(FACTS, USAGE, FRANCE, None)

    for name in ("energy_wh", "carbon_g"):
        for ending in ("", "_low", "_high"):
            assert fields[name + ending] == six(getattr(impact, name + ending))
    assert fields["gpu_wh"] <= fields["it_wh"] <= fields["energy_wh"]
    assert fields["methodology_version"] == method.version
    assert fields["model"]["source"] == "https://example.org/card"


def test_every_step_says_what_it_is():
    """Name, unit and an explanation, central between its bounds."""
    for step in derive(METHODS["v1.0-2026-11"], FACTS, USAGE, FRANCE).steps:
        assert step.unit in ("Wh", "g", "ml")
        assert step.how
        assert step.low <= step.central <= step.high
