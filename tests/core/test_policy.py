"""What the operator says about routing."""

import pytest

from lowproxy.core.policy import Policy, Scale


@pytest.mark.parametrize(
    ("weights", "leading"),
    [
        ((3, 1, 1), "carbon"),
        ((1, 1, 3), "price"),
        ((1, 3, 1), "latency"),
        ((1, 1, 1), "carbon"),
        ((0, 1, 1), "price"),
    ],
)
def test_the_term_that_weighs_most(weights, leading):
    """Carbon before price before latency where two weigh the same."""
    assert Scale.of("x", *weights).leading == leading


def test_only_the_proportion_counts():
    """Weights of any size; the greatest is 1, and the shares are 1 together."""
    scale = Scale.of("x", 70, 15, 15)

    assert scale.weights == pytest.approx((1.0, 15 / 70, 15 / 70))
    assert scale.shares == pytest.approx((0.7, 0.15, 0.15))
    assert scale.weights == pytest.approx(Scale.of("x", 0.7, 0.15, 0.15).weights)


def test_what_holds_where_nothing_is_said():
    """A pin takes what is promised or declared; carbon leads where it is preferred, price elsewhere."""
    policy = Policy()

    assert policy.accept_provenance == {"contractual", "declared"}
    assert policy.min_quality is None
    assert policy.low_carbon.leading == "carbon"
    assert policy.standard.leading == policy.cheap.leading == "price"
