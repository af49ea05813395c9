"""The values that routing chooses among."""

from decimal import Decimal

import pytest

from lowproxy.core.cost import prices
from lowproxy.core.secret import Secret
from lowproxy.core.upstreams import (
    NO_GRAMS,
    NO_PRICE,
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
    """Its name says where and what; what is unknown of it is marked, never 0."""
    one = candidate(grams=0.2, price=None)

    assert one.id == "acme-eu-west/acme/small"
    assert one.region == "eu-west"
    assert one.grams == (0.0, 0.2 / 1000, 0.2 / 1000, 0.0, 0.0)
    assert (one.prices, one.gaps) == (None, NO_PRICE)
    assert candidate().gaps == NO_GRAMS | NO_PRICE
    assert candidate(grams=0.0, price=0.0).gaps == 0
    assert "canary" not in repr(one)


def test_prices_of_a_candidate():
    """Those of the model's row, per token; else those of a typical request."""
    row = Model("m", "acme", "m", price_prompt=2.0, price_completion=6.0)
    place = candidate().endpoint

    assert Candidate(row, place, None, 9.0).prices == (2e-6, 6e-6, 2e-6)
    assert candidate(price=4.0).prices == (0.004, 0.004, 0.004)


def test_prices_in_one_currency():
    """Where the rate is known: then one provider's can be compared with another's."""
    billed = prices(2.0, 6.0, 0.5, rate=Decimal("1.5"), currency="EUR")
    row = Model("m", "acme", "m", price_prompt=2.0, price_completion=6.0, prices=billed)
    one = Candidate(row, candidate().endpoint)

    assert one.prices == pytest.approx((3e-6, 9e-6, 0.75e-6))
    assert one.currency == "EUR"
    assert candidate(price=4.0).currency == "USD"


def test_what_a_pool_knows_beforehand():
    """What decisions would otherwise look for each time."""
    short = Model("s", "acme", "s", context_length=10)
    place = Endpoint("e", Provider("acme"), "eu", "http://x", "FR", "inferred")
    pool = Pool(
        {"a": (candidate(grams=1.0, price=1.0),), "s": (Candidate(short, place),)},
        ("s", "gone"),
    )

    assert [c.model.id for c in pool.auto_offers] == ["s"]
    assert pool.least_context == 10
    assert pool.places == {"eu-west", "eu"}
    assert pool.provenances == {"declared", "inferred"}
    assert pool.zones == ["FR"]
    assert pool.gaps == NO_GRAMS | NO_PRICE
    assert (Pool({}).least_context, Pool({}).gaps) == (None, 0)


def test_a_pool_knows_its_places():
    """Names for messages: sorted, each once."""
    pool = Pool({"a": (candidate("z", "us"), candidate()), "b": (candidate(),)})

    assert pool.regions == ["eu-west", "us"]
    assert pool.providers == ["acme", "z"]
    assert Pool({}).regions == []
    assert Pool({}).providers == []


def test_what_an_answer_says_of_its_place():
    """Members of an object; the second form says how sure the region is."""
    plain, sure = candidate().named
    assert plain == '"provider":"acme","region":"eu-west"'
    assert sure == plain + ',"region_provenance":"declared"'
