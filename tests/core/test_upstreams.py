"""The values that routing chooses among."""

import pytest

from lowproxy.core.secret import Secret
from lowproxy.core.upstreams import (
    Candidate,
    Endpoint,
    Model,
    Pool,
    Provider,
    region_matches,
)


@pytest.mark.parametrize(
    ("region", "pin", "matches"),
    [
        ("eu-west", "eu-west", True),
        ("eu-west", "eu", True),
        ("eu", "eu-west", False),
        ("europe-west", "eu", False),
        ("eu-west", "eu-w", False),
        ("eu-west-1", "eu-west", True),
        ("EU-west", "eu", False),
        ("eu", "eu", True),
        ("us-east", "eu", False),
    ],
)
def test_a_pin_accepts_what_is_within_it(region, pin, matches):
    """`eu` accepts every `eu-...`, never the other way round; names are exact."""
    assert region_matches(region, pin) is matches


def candidate(provider="acme", region="eu-west", grams=None, price=None):
    endpoint = Endpoint(
        id=f"{provider}-{region}",
        provider=Provider(id=provider, credentials=(Secret("canary"),)),
        region=region,
        base_url="https://api.example/v1",
    )
    model = Model(id="acme/small", provider=provider, upstream_model="small")
    return Candidate(model, endpoint, carbon_g_per_1k=grams, price_per_1k=price)


def test_a_candidate():
    """Its name says where and what; unknown grams and prices come last, never first."""
    one = candidate(grams=0.2, price=None)

    assert one.id == "acme-eu-west/acme/small"
    assert one.by_carbon == (0.2, float("inf"))
    assert one.by_price == (float("inf"), 0.2)
    assert candidate(grams=0.0).by_carbon < one.by_carbon < candidate().by_carbon
    assert "canary" not in repr(one)


def test_a_pool_knows_its_places():
    """Names for messages: sorted, each once."""
    pool = Pool({"a": (candidate("z", "us"), candidate()), "b": (candidate(),)})

    assert pool.regions == ["eu-west", "us"]
    assert pool.providers == ["acme", "z"]
    assert Pool({}).regions == []
    assert Pool({}).providers == []
