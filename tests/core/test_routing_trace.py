"""A decision told in full: candidates with their terms, the others with the rule, the choice with its reason."""

from typing import NamedTuple

import attrs
import orjson
import pytest

from lowproxy.core.access import ApiKey
from lowproxy.core.chat import ChatRequest
from lowproxy.core.policy import Policy
from lowproxy.core.preferences import Preferences
from lowproxy.core.routing import Memo, RouteDecision, decide
from lowproxy.core.routing_trace import MOST, Routed, told_of, trace
from lowproxy.core.upstreams import Candidate, Endpoint, Model, Pool, Provider
from lowproxy.errors import NothingEligibleError

KEY = ApiKey("dev", "sha256:0")
CHAT = ChatRequest.parse(b'{"model":"m","messages":[{"content":"hi"}]}')


def place(name, grams, price, region="eu-west", provenance="declared"):
    """A candidate by its provider's name."""
    at = f"{name}-{region}"
    endpoint = Endpoint(at, Provider(name), region, "http://x", "FR", provenance)
    return Candidate(Model("m", name, "m"), endpoint, grams, price)


CLEAN = place("clean", 1.0, 3.0)
CHEAP = place("cheap", 4.0, 1.0)
FAR = place("far", 2.0, 2.0, "us-east", "inferred")
POOL = Pool({"m": (CHEAP, CLEAN, FAR)})


def ask(**wishes):
    """A request of a thousand tokens for an answer of a thousand."""
    preferences = Preferences(**wishes)
    return attrs.evolve(
        CHAT, preferences=preferences, prompt_bytes=4096, max_tokens=1024
    )


def told(chat=None, pool=POOL, **more):
    """The trace, as it can be sent."""
    decision = decide(chat or ask(), KEY, pool, **more)
    return orjson.loads(orjson.dumps(trace(decision)))


def test_every_candidate_with_its_terms():
    """Best first, in the order of the decision."""
    said = told(latencies={CLEAN.id: 0.25})

    assert [row["candidate"] for row in said["candidates"]] == [
        "clean-eu-west/m",
        "cheap-eu-west/m",
        "far-us-east/m",
    ]
    first = said["candidates"][0]
    assert (first["carbon_g"], first["price"]) == (2.048, 6.144)
    assert (first["latency_s"], first["zone"]) == (0.25, "FR")
    assert said["candidates"][1]["latency_s"] is None
    assert first["score"] < said["candidates"][1]["score"]
    assert said["expected"] == {"prompt_tokens": 1024, "completion_tokens": 1024}
    assert said["scale"]["name"] == "low_carbon"
    assert said["ordered_by"] == "carbon"
    assert said["rejected"] == []


def test_the_score_is_the_mean_of_the_terms():
    """With the shares that are told: who reads it can work it out again."""
    said = told(latencies={c.id: 0.4 for c in (CLEAN, CHEAP, FAR)})
    shares = said["scale"]
    for row in said["candidates"]:
        mean = (
            row["carbon_g"] ** shares["carbon"]
            * (row["latency_s"] + 0.1) ** shares["latency"]
            * row["price"] ** shares["price"]
        )
        assert row["score"] == pytest.approx(mean, rel=1e-4)


def test_who_may_not_serve_and_why():
    """The first rule that says so."""
    said = told(ask(region="us-east"), POOL_OF_ALL)

    assert said["rejected"] == [
        {
            "candidate": f"{name}-eu-west/m",
            "rule": "route.region",
            "reason": "the request is pinned to us-east",
        }
        for name in ("cheap", "clean")
    ]
    assert said["candidates"][0]["region_provenance"] == "inferred"


POOL_OF_ALL = attrs.evolve(POOL, policy=Policy(frozenset({"declared", "inferred"})))


@pytest.mark.parametrize(
    ("wishes", "rule", "left"),
    [
        ({"fallback": False}, "route.fallback", ["far-us-east/m"]),
        (
            {"allow_fallbacks": False},
            "provider.allow_fallbacks",
            ["cheap-eu-west/m", "far-us-east/m"],
        ),
    ],
)
def test_who_might_but_for_a_wish(wishes, rule, left):
    """One region only, one candidate only: told as such."""
    said = told(ask(**wishes))

    assert [(r["candidate"], r["rule"]) for r in said["rejected"]] == [
        (name, rule) for name in left
    ]


def test_what_carbon_changed():
    """Against who is cheapest under the same constraints."""
    said = told()
    assert said["choice"]["candidate"] == "clean-eu-west/m"
    assert said["choice"]["reason"] == "the best of those that may serve"
    assert said["default"]["candidate"] == "cheap-eu-west/m"
    assert said["saved_g"] == pytest.approx(4 * 2.048 - 2.048)

    same = told(ask(sort="price"))
    assert same["choice"]["candidate"] == same["default"]["candidate"]
    assert (same["saved_g"], same["scale"]["sort"]) == (0.0, "price")
    pinned = told(ask(only=("far", "clean")))
    assert pinned["default"]["candidate"] == "far-us-east/m"


def test_a_choice_that_takes_more_says_so():
    """A negative saving is told as one."""
    slow_default = {CHEAP.id: 60.0, CLEAN.id: 60.0, FAR.id: 0.1}
    dirty = place("cheap", 1.9, 1.0)
    pool = Pool({"m": (dirty, FAR)})

    assert told(pool=pool, latencies={**slow_default, dirty.id: 60.0})["saved_g"] < 0


def test_reasons():
    """A draw, a conversation that stays, nobody else."""
    twin = place("twin", 1.0, 3.0)
    pool = Pool({"m": (CLEAN, twin)})
    assert told(pool=pool)["choice"]["reason"].startswith("drawn among 2 ")
    assert (
        told(pool=Pool({"m": (twin,)}))["choice"]["reason"] == "nobody else may serve"
    )


def test_unknown_is_null():
    """Grams that nobody knows are not told, nor a saving."""
    pool = Pool({"m": (place("a", None, 2.0), CHEAP)})
    said = told(pool=pool)

    assert said["candidates"][-1]["carbon_g"] is None
    assert "saved_g" in said
    assert "saved_g" not in told(ask(order=("a",)), pool)


def test_who_rests_and_what_carbon_costs():
    """Readings that the decision went by."""
    said = told(resting=frozenset({CLEAN.id}), carbon_price=0.5)

    assert said["candidates"][0]["candidate"] == FAR.id
    assert {row["candidate"] for row in said["candidates"] if row.get("resting")} == {
        CLEAN.id
    }
    assert said["scale"]["carbon_price_per_g"] == 0.5


def test_where_nobody_is_left():
    """The failure has the trace: every candidate and what speaks against it."""
    with pytest.raises(NothingEligibleError) as refused:
        decide(ask(max_carbon_g=0.001), KEY, POOL)
    said = trace(refused.value.decision)

    assert said["candidates"] == []
    assert {row["rule"] for row in said["rejected"]} == {"route.max_carbon_g"}
    assert len(said["rejected"]) == 3
    assert "choice" not in said


def test_attempts():
    """What was tried, and who answered."""
    decision = decide(ask(), KEY, POOL)
    attempts = [(CLEAN.id, "upstream_timeout", 1.5), (CHEAP.id, "ok", 0.2)]
    said = trace(decision, attempts, CHEAP.id)

    assert said["attempts"] == [
        {"candidate": CLEAN.id, "outcome": "upstream_timeout", "duration_ms": 1500.0},
        {"candidate": CHEAP.id, "outcome": "ok", "duration_ms": 200.0},
    ]
    assert said["answered"] == CHEAP.id


class Tried(NamedTuple):
    """An attempt, as the transport notes it."""

    candidate: str
    outcome: str
    duration_s: float


def test_a_request_tells_its_trace_when_it_is_called():
    """And what all that share its decision have in common, apart from what is its own."""
    decision = decide(ask(), KEY, POOL)
    attempts = [Tried(CLEAN.id, "upstream_timeout", 1.5), Tried(CHEAP.id, "ok", 0.2)]
    made = Routed(decision, attempts)
    common = told_of(decision)

    assert not decision.told, "told_of keeps nothing"
    assert common | made.own() == made() == trace(decision, attempts, CHEAP.id)
    assert told_of(decision) == common
    assert "answered" not in Routed(decision, attempts[:1])()
    assert Routed(RouteDecision(()), attempts)() == {}


def test_it_is_bounded():
    """Of hundreds some are shown, and the number of the others."""
    rows = tuple(place(f"p{n}", 1.0 + n, 1.0) for n in range(MOST + 20))
    said = told(pool=Pool({"m": rows}))

    assert len(said["candidates"]) == MOST
    assert said["left_out"] == 20


def test_a_remembered_decision_tells_the_same():
    """A memo keeps what a trace is made of."""
    memo = Memo()
    first = trace(decide(ask(), KEY, POOL, memo=memo))

    assert trace(decide(ask(), KEY, POOL, memo=memo)) == first == told()


def test_nothing_to_tell():
    """A decision that was made by hand has no world."""
    assert trace(RouteDecision(())) == {}


def test_a_ranking_by_another_signal_says_so():
    """The grams of each row stay those that its answer would be weighed with."""
    worse = attrs.evolve(CLEAN, ranked=CLEAN.grams._replace(completion=0.02))
    blank = attrs.evolve(CHEAP, ranked=None)
    said = told(pool=Pool({"m": (blank, worse, FAR)}))
    rows = {row["provider"]: row for row in said["candidates"]}
    assert [row["provider"] for row in said["candidates"]][-1] == "cheap"
    assert rows["clean"]["carbon_g"] == 2.048
    assert rows["clean"]["marginal_g"] > 20
    assert rows["cheap"]["marginal_g"] is None
    assert "marginal_g" not in rows["far"]
