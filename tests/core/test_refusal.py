"""What the caller is told where nobody may serve; the whole of it is in test_routing.py."""

import pytest

from lowproxy.core.access import ApiKey
from lowproxy.core.preferences import Preferences
from lowproxy.core.refusal import nothing_eligible
from lowproxy.core.upstreams import Candidate, Endpoint, Model, Pool, Provider

KEY = ApiKey("dev", "sha256:0")
PLACE = Endpoint("acme-1", Provider("acme"), "eu-west", "http://x", "FR")
POOL = Pool({"m": (Candidate(Model("m", "acme", "m"), PLACE),)})


@pytest.mark.parametrize(
    ("wishes", "param", "words"),
    [
        ({"region": "mars"}, "route.region", "known regions: eu-west"),
        ({"zone": "XX"}, "route.zone", "known zones: FR"),
        ({"provider": "z"}, "route.provider", "active: acme"),
    ],
)
def test_a_name_that_nobody_has(wishes, param, words):
    """The names that there are."""
    failure = nothing_eligible("m", KEY, Preferences(**wishes), POOL, ())

    assert (failure.status, failure.param) == (503, param)
    assert words in failure.message


def test_the_reasons():
    """Each once, with its rule; a 403 where only the key is in the way."""
    why = [("a/m", "route.zone", "its grid zone is not FR")] * 3
    failure = nothing_eligible("m", KEY, Preferences(zone="FR"), POOL, why)
    assert failure.message.count("route.zone: its grid zone is not FR") == 1

    why = [("a/m", "key.providers", "the key does not allow this provider")]
    assert nothing_eligible("m", KEY, Preferences(), POOL, why).status == 403
