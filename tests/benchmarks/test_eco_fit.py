"""The fit of the default method, redone from the points in the tree."""

import pytest

from benchmarks.eco.fit import NAMES, report
from lowproxy.core import eco_roofline
from lowproxy.core.eco_methods import DEFAULT

REPORT = report()
ERRORS = REPORT["errors"]


@pytest.mark.parametrize("name", NAMES)
def test_the_coefficients_come_out_again(name):
    """What the method uses is what the points give, to its three digits."""
    assert getattr(eco_roofline, name) == pytest.approx(
        REPORT["coefficients"][name], rel=5e-3
    )


def test_the_stated_spread_is_that_of_architectures_left_out():
    """Over all batch sizes, on models that the fit never saw."""
    assert ERRORS["roofline, unseen, all batches"]["spread"] == pytest.approx(
        eco_roofline.RESIDUAL, abs=0.02
    )


def test_unseen_models_stay_within_the_promise():
    """At 64 requests at a time: common factor, spread and worst point."""
    unseen = ERRORS["roofline, unseen"]

    assert 0.5 < unseen["factor"] < 2
    assert unseen["spread"] < 1.5
    assert unseen["worst"] < 2.5


def test_the_default_has_the_smallest_errors():
    """Of all the methods that there are, and of the simpler fit that is not shipped."""
    assert DEFAULT.name == "roofline"
    others = ("log-linear, unseen", "ecologits", "v0.4-compat")
    for other in others:
        assert ERRORS["roofline, unseen"]["spread"] < ERRORS[other]["spread"]
        assert ERRORS["roofline, unseen"]["worst"] < ERRORS[other]["worst"]
