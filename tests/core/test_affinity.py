"""A conversation keeps its endpoint unless leaving pays for the cached prefix."""

import attrs
import orjson
import pytest

from lowproxy.core.access import ApiKey
from lowproxy.core.affinity import Affinity, Stay, stays
from lowproxy.core.chat import ChatRequest
from lowproxy.core.cost import prices
from lowproxy.core.eco import CarbonIntensity, ModelFacts
from lowproxy.core.eco_methods import DEFAULT
from lowproxy.core.policy import Policy, Scale, Weights
from lowproxy.core.routing import decide
from lowproxy.core.upstreams import Candidate, Endpoint, Model, Pool, Provider

KEY = ApiKey("dev", "sha256:0")
CANARY = "tell nobody about the canary "
SEVENTY = ModelFacts(total_params_b=70, active_params_b=70, weight_bits=8)


def chat(*messages, **fields):
    """A request whose messages have these texts."""
    said = [{"role": "user", "content": text} for text in messages]
    return ChatRequest.parse(orjson.dumps({"model": "m", "messages": said, **fields}))


def place(name, intensity, price=1.0):
    """A 70B model on a grid of so many grams per kWh."""
    grid = CarbonIntensity("FR", intensity, intensity, intensity, "test", "2025")
    grams = DEFAULT.coefficients(SEVENTY, grid, 1.15).grams()
    endpoint = Endpoint(name, Provider(name), "eu-west", "http://x")
    return Candidate(
        Model("m", name, "m", price_prompt=price, price_completion=price),
        endpoint,
        1.0,
        None,
        grams,
    )


def chosen(old, new, tokens=8000, prompt=8000, carbon_only=True):
    """Where a conversation goes that was at `old` and has so many tokens there."""
    scale = Scale.of("low_carbon", 1, 0, 0) if carbon_only else Policy().low_carbon
    pool = Pool({"m": (new, old)}, policy=Policy(low_carbon=scale))
    asked = attrs.evolve(chat("x"), prompt_bytes=prompt * 4)
    decision = decide(asked, KEY, pool, stay=Stay(old.id, tokens))
    assert decision.stayed == (decision.chosen is old)
    assert {c.id for c in decision.candidates} == {old.id, new.id}
    return decision.chosen


def test_a_grid_that_is_a_little_cleaner_does_not_pay():
    """Eight thousand cached tokens of a 70B model: the other grid has to be several times cleaner."""
    old = place("old", 330.0)

    assert chosen(old, place("new", 200.0)) is old
    assert chosen(old, place("new", 330.0 / 3)) is old
    clean = place("new", 330.0 / 8)
    assert chosen(old, clean) is clean


def test_without_a_prefix_a_fifth_decides():
    """Nothing cached: whoever is a fifth better is worth the move, and less is not."""
    old = place("old", 120.0)

    assert chosen(old, place("new", 110.0), tokens=0) is old
    better = place("new", 80.0)
    assert chosen(old, better, tokens=0) is better


def test_the_price_of_a_prefix_counts_too():
    """Where the provider's list says that cached tokens are cheaper."""
    old, new = place("old", 100.0, price=1.0), place("new", 100.0, price=0.7)
    listed = attrs.evolve(old.model, prices=prices(1.0, 1.0, 0.1))
    cheaper = attrs.evolve(old, model=listed)
    pool = Policy(low_carbon=Scale.of("low_carbon", 0, 0, 1))
    asked = attrs.evolve(chat("x"), prompt_bytes=32_000)
    for at, kept in ((old, False), (cheaper, True)):
        decision = decide(
            asked, KEY, Pool({"m": (new, at)}, policy=pool), stay=Stay(at.id, 8000)
        )
        assert decision.stayed is kept


def test_nobody_stays_with_who_may_not_serve():
    """A constraint, or an endpoint at rest, comes before the cache."""
    old, new = place("old", 100.0), place("new", 300.0)
    pool = Pool({"m": (new, old)})
    asked = attrs.evolve(chat("x"), prompt_bytes=32_000)

    resting = decide(asked, KEY, pool, frozenset({old.id}), stay=Stay(old.id, 8000))
    assert resting.chosen is new
    only = attrs.evolve(asked.preferences, only=("new",))
    pinned = attrs.evolve(asked, preferences=only)
    assert decide(pinned, KEY, pool, stay=Stay(old.id, 8000)).chosen is new
    gone = decide(asked, KEY, pool, stay=Stay("gone/m", 8000))
    assert (gone.chosen, gone.stayed) == (old, False)


def test_unknown_terms_are_no_reason_to_stay():
    """What is not known is not saved."""
    bare = Candidate(Model("m", "p", "m"), place("old", 1.0).endpoint)
    weights = Weights(1.0, 0.2, 0.2)

    assert stays(Stay(bare.id, 900), bare, (1.1, 1.0), (1000, None), weights)
    assert not stays(Stay(bare.id, 900), bare, (1.3, 1.0), (1000, None), weights)


# --- the memory --------------------------------------------------------------------------------


@pytest.fixture
def memory():
    """Five minutes, two conversations."""
    return Affinity(b"secret", 300.0, most=2)


def test_the_turns_of_a_conversation_have_one_key(memory):
    """What is added does not change it; who asks, for what, as whom and how it began do."""
    first = CANARY * 200
    turns = [chat(first), chat(first, "yes"), chat(first, "yes", "{more}")]

    (key,) = {memory.key(each, "dev") for each in turns}
    others = [
        memory.key(turns[0], "somebody"),
        memory.key(chat(first, user="u"), "dev"),
        memory.key(chat("Another one. " + first), "dev"),
        memory.key(chat(first, models=["n"]), "dev"),
        Affinity(b"other", 1.0).key(turns[0], "dev"),
    ]
    assert key is not None
    assert len({key, *others}) == 6


@pytest.mark.parametrize("first", ["{" * 5000, "}" * 5000, "é" * 9000, "x}y" * 3000])
def test_any_first_message_will_do(memory, first):
    """Braces in it, none, more of it than is looked at."""
    assert memory.key(chat(first), "dev") == memory.key(chat(first, "on"), "dev")


def test_short_prompts_are_nobodys_business(memory):
    """No provider caches them."""
    assert memory.key(chat("x" * 4095), "dev") is None
    assert memory.key(chat("x" * 4096), "dev") is not None


def test_it_forgets(memory):
    """After the time that a cache may hold, and the oldest where there are too many."""
    memory.keep(b"a", "p/m", 2000, now=0.0)
    assert memory.stay(b"a", now=300.0) == Stay("p/m", 2000)
    assert memory.stay(b"a", now=300.1) is None
    for key in (b"b", b"a", b"c"):
        memory.keep(key, "p/m", 1, now=400.0)
    assert len(memory) == 2
    assert memory.stay(b"b", now=400.0) is None
    assert memory.stay(b"a", now=400.0) is not None


def test_nothing_of_it_is_text(memory):
    """Only hashes, which nobody without the secret can compare with a guess."""
    key = memory.key(chat(CANARY * 200), "dev")
    assert key is not None
    memory.keep(key, "p/m", 1, now=0.0)

    assert "canary" not in repr(vars(memory))
    assert len(key) == 16
