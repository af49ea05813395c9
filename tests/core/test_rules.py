"""Each rule says why a candidate cannot serve, or nothing."""

import attrs
import pytest

from lowproxy.core.access import ApiKey
from lowproxy.core.chat import ChatRequest
from lowproxy.core.policy import Policy
from lowproxy.core.preferences import Preferences
from lowproxy.core.rules import RULES, Question, World, checks
from lowproxy.core.upstreams import Candidate, Endpoint, Model, Pool, Provider

KEY = ApiKey(name="dev", hash="sha256:0")
CHAT = ChatRequest.parse(b'{"model":"acme/small","messages":[{"content":"hi"}]}')
MODEL = Model(
    id="acme/small",
    provider="acme",
    upstream_model="small",
    context_length=100,
    capabilities=frozenset({"tools"}),
    price_prompt=1.0,
    price_completion=None,
)
ENDPOINT = Endpoint(
    id="acme-1", provider=Provider(id="acme"), region="eu-west", base_url="http://x"
)
CANDIDATE = Candidate(MODEL, ENDPOINT, 1.0, zone="FR")


def world(chat=CHAT, key=KEY, policy=None, candidate=CANDIDATE, prompt=100, answer=100):
    """What a decision about one candidate is made in."""
    offered = {candidate.model.id: (candidate,)}
    pool = Pool(offered, tuple(offered), policy=policy or Policy())
    wishes, size = chat.preferences, (prompt, answer)
    return World(
        pool,
        key,
        wishes,
        chat.needs,
        chat.prompt_bytes,
        *size,
        size,
        pool.policy.low_carbon,
        frozenset(),
        {},
        0.0,
    )


def reasons(*, asked="acme/small", key=None, chat=None, policy=None, **wishes):
    """What each rule has against the candidate."""
    request = attrs.evolve(CHAT, preferences=Preferences(**wishes), **(chat or {}))
    question = Question(asked, world(request, attrs.evolve(KEY, **(key or {})), policy))
    found = {}
    for name, rule in RULES.items():
        check = rule(question)
        if check is not None and (reason := check(CANDIDATE)) is not None:
            found[name] = reason
    return found


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"region": "eu-west"},
        {"region": "eu"},
        {"provider": "acme"},
        {"only": ("acme", "other")},
        {"ignore": ("other",)},
        {"max_price_prompt": 1.0},
        {"order": ("other",)},
        {"zone": "FR"},
        {"max_carbon_g": 0.21},
        {"policy": Policy(frozenset({"contractual"}))},
        {"policy": Policy(min_quality=0.5)},
        {"key": {"region": "eu"}},
        {"key": {"models": ("acme/*",)}},
        {"key": {"providers": ("acme",)}},
        {"chat": {"needs": frozenset({"vision"})}},
        {"chat": {"prompt_bytes": 10**6}},
        {"require_parameters": True, "chat": {"needs": frozenset({"tools"})}},
        {"asked": "lowrouter/auto", "chat": {"needs": frozenset({"tools"})}},
        {"asked": "lowrouter/auto", "chat": {"prompt_bytes": 600}},
    ],
)
def test_nothing_against_it(said):
    """What is not constrained, or is satisfied; a model that was named is the caller's choice."""
    assert reasons(**said) == {}


@pytest.mark.parametrize(
    ("said", "rule", "reason"),
    [
        ({"region": "us"}, "route.region", "the request is pinned to us"),
        ({"region": "eu-west-1"}, "route.region", "pinned to eu-west-1"),
        ({"provider": "other"}, "route.provider", "provider is not other"),
        ({"only": ("other",)}, "provider.only", "not in"),
        ({"ignore": ("acme",)}, "provider.ignore", "in provider.ignore"),
        ({"max_price_prompt": 0.5}, "provider.max_price", "price 1.0 is over 0.5"),
        ({"max_price_completion": 9.0}, "provider.max_price", "price unknown is over"),
        ({"key": {"region": "us"}}, "key.region", "the key is pinned to us"),
        (
            {"asked": "lowrouter/auto", "key": {"models": ("b/*",)}},
            "key.models",
            "does not allow this model",
        ),
        ({"zone": "DE"}, "route.zone", "its grid zone is not DE"),
        ({"max_carbon_g": 0.1}, "route.max_carbon_g", "expected 0.2 g, over 0.1"),
        (
            {"zone": "FR", "policy": Policy(frozenset({"contractual"}))},
            "routing.accept_provenance",
            "its region is declared, a pin takes contractual",
        ),
        (
            {"key": {"region": "eu"}, "policy": Policy(frozenset({"contractual"}))},
            "routing.accept_provenance",
            "its region is declared",
        ),
        (
            {"asked": "lowrouter/auto", "policy": Policy(min_quality=0.5)},
            "auto.min_quality",
            "quality unknown is under 0.5",
        ),
        ({"key": {"providers": ("b",)}}, "key.providers", "does not allow this prov"),
        (
            {"require_parameters": True, "chat": {"needs": frozenset({"vision"})}},
            "capabilities",
            "not known for vision",
        ),
        (
            {"asked": "lowrouter/auto", "chat": {"needs": frozenset({"x", "vision"})}},
            "capabilities",
            "not known for vision, x",
        ),
        (
            {"asked": "lowrouter/auto-cheap", "chat": {"prompt_bytes": 606}},
            "context",
            "at least 101 tokens is over its 100",
        ),
    ],
)
def test_what_speaks_against_it(said, rule, reason):
    """One rule, with a reason that a caller understands."""
    found = reasons(**said)

    assert set(found) == {rule}
    assert reason in found[rule]


def test_rules_cost_nothing_where_they_have_nothing_to_say():
    """A plain question for a named model leaves no check to run."""
    question = Question("acme/small", world())

    assert [name for name, rule in RULES.items() if rule(question) is not None] == []
    assert checks("acme/small", world()) == []


@pytest.mark.parametrize(
    ("asked", "wishes", "key"),
    [
        ("acme/small", {"region": "eu"}, {}),
        ("acme/small", {"zone": "FR"}, {"region": "eu"}),
        ("acme/small", {}, {"providers": ("acme",)}),
        ("lowrouter/auto", {"max_carbon_g": 1.0}, {"models": ("a/*",)}),
        ("acme/small", {"require_parameters": True}, {}),
    ],
)
def test_no_rule_is_passed_over_that_has_something_to_say(asked, wishes, key):
    """The checks of a question are those of all rules, whatever scope they are in."""
    chat = attrs.evolve(
        CHAT, preferences=Preferences(**wishes), needs=frozenset({"vision"})
    )
    policy = Policy(frozenset({"contractual"}), min_quality=1.0)
    here = world(chat, attrs.evolve(KEY, **key), policy)

    every = [n for n, rule in RULES.items() if rule(Question(asked, here)) is not None]
    assert [name for name, _ in checks(asked, here)] == every


def test_unknown_grams_are_not_few_enough():
    """Nor are those of an answer as long as the request allows."""
    wishes = Preferences(max_carbon_g=1.0)
    chat = attrs.evolve(CHAT, preferences=wishes)
    unknown = Candidate(MODEL, ENDPOINT)

    check = RULES["route.max_carbon_g"](Question("m", world(chat)))
    assert check is not None
    assert check(unknown) == "expected grams unknown, over 1"
    long_answer = RULES["route.max_carbon_g"](Question("m", world(chat, answer=1000)))
    assert long_answer is not None
    assert "expected 1.1 g" in str(long_answer(CANDIDATE))
    usual = RULES["route.max_carbon_g"](Question("m", world(chat, answer=None)))
    assert usual is not None
    assert usual(CANDIDATE) is None


def test_an_unknown_context_length_excludes_nobody():
    """Unknown is not too small."""
    open_ended = attrs.evolve(CANDIDATE, model=attrs.evolve(MODEL, context_length=None))
    chat = attrs.evolve(CHAT, prompt_bytes=10**9)

    check = RULES["context"](Question("lowrouter/auto", world(chat)))
    assert check is not None
    assert check(open_ended) is None
    alone = world(chat, candidate=open_ended)
    assert RULES["context"](Question("lowrouter/auto", alone)) is None


def test_every_rule_is_documented_and_listed():
    """The names are those of the configuration and of the trace."""
    for name, rule in RULES.items():
        assert rule.__doc__
        assert name.split(".")[-1] in rule.__name__
