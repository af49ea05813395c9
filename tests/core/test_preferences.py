"""What a request says about its routing is taken exactly, or refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.preferences import Preferences
from lowproxy.errors import BadRequestError

NO_PRICES: list[object] = ["cheap", "nan", "inf", float("inf"), -1, True, [], 10**400]


def read(header=None, **body):
    return Preferences.read(body, header)


def test_nothing_said():
    """No route, no provider, no header: no constraint."""
    assert read() == Preferences()
    assert read(route=None, provider=None) == Preferences()
    assert read(route={}, provider={}) == Preferences()
    assert read(header="") == Preferences()


def test_a_header_is_no_longer_than_a_name():
    """What it says is kept with the decision, and in the books."""
    assert read("r" * 200).region == "r" * 200
    with pytest.raises(BadRequestError) as caught:
        read("r" * 201)
    assert caught.value.param == "X-LowRouter-Region"


def test_everything_said():
    """Each field of `route` and of OpenRouter's `provider`."""
    said = read(
        route={
            "region": "eu-west",
            "zone": "FR",
            "provider": "acme",
            "prefer_low_carbon": False,
            "max_carbon_g": 0.5,
            "fallback": False,
            "trace": True,
        },
        provider={
            "order": ["acme", "other"],
            "only": ["acme"],
            "ignore": ["bad"],
            "allow_fallbacks": False,
            "require_parameters": True,
            "sort": "price",
            "max_price": {"prompt": "0.5", "completion": 2},
            "preferred_max_latency": {"p50": 1.5},
        },
    )

    assert said == Preferences(
        region="eu-west",
        zone="FR",
        provider="acme",
        prefer_low_carbon=False,
        max_carbon_g=0.5,
        max_latency_s=1.5,
        fallback=False,
        order=("acme", "other"),
        only=("acme",),
        ignore=("bad",),
        allow_fallbacks=False,
        require_parameters=True,
        sort="price",
        max_price_prompt=0.5,
        max_price_completion=2.0,
    )


def test_null_says_nothing():
    """As everywhere in this API."""
    route = dict.fromkeys(
        ("region", "zone", "provider", "prefer_low_carbon", "max_carbon_g", "fallback")
    )
    names = ("order", "only", "ignore", "allow_fallbacks", "sort", "max_price")
    prices = {"max_price": {"prompt": None, "completion": None}}

    assert read(route=route, provider=dict.fromkeys(names)) == Preferences()
    assert read(provider=prices) == Preferences()


@pytest.mark.parametrize("sort", ["price", "latency", "throughput"])
def test_sorts(sort):
    """OpenRouter's three."""
    assert read(provider={"sort": sort}).sort == sort


def test_a_preferred_latency():
    """Seconds, or OpenRouter's percentiles, of which the median is the one that is measured."""
    for said, meant in (
        (2, 2.0),
        ({"p50": 1.5}, 1.5),
        ({}, None),
        ({"p50": None}, None),
    ):
        assert read(provider={"preferred_max_latency": said}).max_latency_s == meant


def test_telling_makes_no_difference():
    """How much is told afterwards does not part requests that go the same way."""
    assert read(route={"trace": True, "eco": "full"}) == read()
    assert read(route={"trace": True}).trace


def test_the_body_wins_over_the_header():
    """Where both name a region."""
    assert read("eu-west").region == "eu-west"
    assert read("eu-west", route={"fallback": False}).region == "eu-west"
    assert read("eu-west", route={"region": None}).region == "eu-west"
    assert read("eu-west", route={"region": "us"}).region == "us"


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"route": "eu"}, "route", "object"),
        ({"route": {"regoin": "eu"}}, "route.regoin", "there are region, zone"),
        ({"route": {"region": 5}}, "route.region", "non-empty string"),
        ({"route": {"region": ""}}, "route.region", "non-empty string"),
        ({"route": {"region": ["eu"]}}, "route.region", "non-empty string"),
        ({"route": {"provider": ""}}, "route.provider", "non-empty string"),
        ({"route": {"fallback": "no"}}, "route.fallback", "true or false"),
        ({"route": {"fallback": 0}}, "route.fallback", "true or false"),
        ({"route": {"prefer_low_carbon": 1}}, "route.prefer_low_carbon", "true or"),
        ({"provider": "acme"}, "provider", "object"),
        ({"provider": ["acme"]}, "provider", "object"),
        ({"route": {"region": "r" * 201}}, "route.region", "at most 200 characters"),
        ({"route": {"zone": "z" * 201}}, "route.zone", "at most 200 characters"),
        ({"route": {"provider": "p" * 201}}, "route.provider", "at most 200"),
        ({"provider": {"order": ["p" * 201]}}, "provider.order", "200 at most"),
        ({"provider": {"only": ["p"] * 201}}, "provider.only", "200 at most"),
        ({"provider": {"order": "acme"}}, "provider.order", "list of provider ids"),
        ({"provider": {"only": [1]}}, "provider.only", "list of provider ids"),
        ({"provider": {"ignore": {}}}, "provider.ignore", "list of provider ids"),
        ({"provider": {"allow_fallbacks": 1}}, "provider.allow_fallbacks", "true or"),
        ({"route": {"zone": 5}}, "route.zone", "non-empty string"),
        ({"route": {"trace": "yes"}}, "route.trace", "true or false"),
        ({"route": {"max_carbon_g": "1"}}, "route.max_carbon_g", "a number"),
        ({"route": {"max_carbon_g": -1}}, "route.max_carbon_g", "a number"),
        ({"route": {"max_carbon_g": True}}, "route.max_carbon_g", "a number"),
        ({"route": {"max_carbon_g": 10**400}}, "route.max_carbon_g", "a number"),
        ({"provider": {"preferred_max_latency": "1"}}, None, "a number"),
        ({"provider": {"preferred_max_latency": {"p90": 1}}}, None, "only p50"),
        ({"provider": {"preferred_max_latency": {"p50": []}}}, None, "a number"),
        ({"provider": {"sort": "speed"}}, "provider.sort", "price, latency, through"),
        ({"provider": {"sort": ["price"]}}, "provider.sort", "one of price"),
        ({"provider": {"zdr": True}}, "provider.zdr", "not supported"),
        ({"provider": {"data_collection": "deny"}}, None, "not supported"),
        ({"provider": {"max_price": 1}}, "provider.max_price", "object"),
        ({"provider": {"max_price": {"image": 1}}}, "provider.max_price.image", "no"),
        *[
            ({"provider": {"max_price": {"prompt": price}}}, None, "must be a number")
            for price in NO_PRICES
        ],
    ],
)
def test_refused_by_name(body, param, words):
    """400 with the path of the field and what would be right; nothing is passed over in silence."""
    with pytest.raises(BadRequestError) as caught:
        read(**body)

    assert caught.value.status == 400
    assert words in caught.value.message
    if param is not None:
        assert caught.value.param == param
        assert param in caught.value.message


def test_contradictions():
    """A pin to a provider that the same request rules out."""
    for wishes in ({"only": ["other"]}, {"ignore": ["acme"]}):
        with pytest.raises(
            BadRequestError, match=r"route\.provider 'acme' is"
        ) as caught:
            read(route={"provider": "acme"}, provider=wishes)
        assert caught.value.param == "route.provider"
    agreed = read(route={"provider": "acme"}, provider={"only": ["acme"], "ignore": []})
    assert agreed.provider == "acme"


@given(st.text(st.characters(codec=None), min_size=1))
def test_a_name_may_be_anything_but_an_error_text_may_not(name):
    """What a caller calls a field comes back short and printable, or not at all."""
    for body in (
        {"route": {name: 1}},
        {"provider": {name: 1}},
        {"provider": {"max_price": {name: 1}}},
    ):
        try:
            read(**body)
        except BadRequestError as refused:
            told = f"{refused.message} {refused.param}"
            assert told.isascii()
            assert told.isprintable()
            assert len(told) < 400
