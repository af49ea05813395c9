"""From what a grid is generated with to grams."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.grid_mix import LIFECYCLE_G_PER_KWH, OTHER, fullest, lifecycle
from lowproxy.core.grid_reading import RejectedReadingError

AMOUNTS = st.floats(0.001, 1e6)


@given(st.dictionaries(st.sampled_from([*LIFECYCLE_G_PER_KWH]), AMOUNTS, min_size=1))
def test_a_mix_lies_between_its_fuels(mix):
    """And its unit does not matter."""
    factors = [LIFECYCLE_G_PER_KWH[fuel] for fuel in mix]
    grams = lifecycle(mix)
    assert min(factors) * 0.999 <= grams <= max(factors) * 1.001
    assert lifecycle({f: 7 * a for f, a in mix.items()}) == pytest.approx(grams)


def test_by_hand():
    """A quarter of gas, the rest of wind: (490 + 3 * 11) / 4."""
    assert lifecycle({"gas": 25, "wind": 75}) == pytest.approx(130.75)


def test_what_is_unknown_is_left_out_up_to_a_fifth():
    """Beyond it the rest says too little."""
    assert lifecycle({"nuclear": 80, OTHER: 20}) == 12
    with pytest.raises(RejectedReadingError, match="unknown_fuels"):
        lifecycle({"nuclear": 79, OTHER: 21})


def test_less_than_nothing_is_nothing():
    """Plants use a little themselves."""
    assert lifecycle({"nuclear": 80, "solar": -3, OTHER: -90}) == 12


@pytest.mark.parametrize("mix", [{}, {"gas": 0.0}, {"gas": -5.0}, {OTHER: 5.0}])
def test_nothing_generated(mix):
    """Is no reading."""
    with pytest.raises(RejectedReadingError, match="no_data"):
        lifecycle(mix)


def test_the_fullest_moment():
    """Most fuels first, then the newest."""
    full = {"gas": 1.0, "wind": 1.0}
    assert fullest({1.0: full, 2.0: full, 3.0: {"gas": 1.0}}) == 2
    with pytest.raises(RejectedReadingError, match="no_data"):
        fullest({})
