"""What sources call zones."""

import string

import pytest

from lowproxy.core.grid_kinds import _EIC, KINDS

_VALUES = {c: i for i, c in enumerate(string.digits + string.ascii_uppercase + "-")}


@pytest.mark.parametrize("zone", _EIC)
def test_every_code_has_its_check_character(zone):
    """A slip of one character would ask for another place, or for none."""
    rest, check = _EIC[zone][:-1], _EIC[zone][-1]
    weights = range(16, 1, -1)
    total = sum(_VALUES[c] * w for c, w in zip(rest, weights, strict=True))
    assert _VALUES[check] == 36 - (total - 1) % 37


@pytest.mark.parametrize(
    ("zone", "name"),
    [("US-MIDA-PJM", "PJM"), ("US-CAL-CISO", "CISO"), ("US", "US48"), ("FR", None)],
)
def test_balancing_authorities(zone, name):
    """The last part of the zone's name; elsewhere there are none."""
    assert KINDS["eia"].name_of(zone) == name
