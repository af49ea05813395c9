"""Each rule says why a candidate cannot serve, or nothing."""

import attrs
import pytest

from lowproxy.core.access import ApiKey
from lowproxy.core.chat import ChatRequest
from lowproxy.core.preferences import Preferences
from lowproxy.core.rules import RULES, Question
from lowproxy.core.upstreams import Candidate, Endpoint, Model, Provider

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
CANDIDATE = Candidate(MODEL, ENDPOINT)


def reasons(*, asked="acme/small", key=None, chat=None, **wishes):
    """What each rule has against the candidate."""
    request = attrs.evolve(CHAT, preferences=Preferences(**wishes), **(chat or {}))
    question = Question(request, attrs.evolve(KEY, **(key or {})), asked)
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
        ({"key": {"models": ("b/*",)}}, "key.models", "does not allow this model"),
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
    question = Question(CHAT, KEY, "acme/small")

    assert [name for name, rule in RULES.items() if rule(question) is not None] == []


def test_an_unknown_context_length_excludes_nobody():
    """Unknown is not too small."""
    open_ended = attrs.evolve(CANDIDATE, model=attrs.evolve(MODEL, context_length=None))
    chat = attrs.evolve(CHAT, prompt_bytes=10**9)

    check = RULES["context"](Question(chat, KEY, "lowrouter/auto"))
    assert check is not None
    assert check(open_ended) is None


def test_every_rule_is_documented_and_listed():
    """The names are those of the configuration and of the trace."""
    for name, rule in RULES.items():
        assert rule.__doc__
        assert name.split(".")[-1] in rule.__name__
