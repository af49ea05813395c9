"""The order of those who may serve; the whole of it, with constraints, is in test_routing.py."""

from lowproxy.core.access import ApiKey
from lowproxy.core.ordering import ordered, sort_values
from lowproxy.core.policy import Scale
from lowproxy.core.preferences import Preferences
from lowproxy.core.rules import World
from lowproxy.core.upstreams import Candidate, Endpoint, Model, Pool, Provider

KEY = ApiKey("dev", "sha256:0")


def place(name, grams, price):
    """A candidate by its provider's name."""
    endpoint = Endpoint(name, Provider(name), "eu", "http://x")
    return Candidate(Model("m", name, "m"), endpoint, grams, price)


A, B = place("a", 1.0, 2.0), place("b", 2.0, 1.0)


def world(sort=None, resting=()):
    """What a decision about the two is made in."""
    pool = Pool({"m": (A, B)})
    scale = Scale.of("x", 1, 0, 0)._replace(sort=sort)
    wishes, size = Preferences(sort=sort), (500, 500)
    rest = frozenset(resting)
    return World(
        pool, KEY, wishes, frozenset(), 2000, *size, size, scale, rest, {}, 0.0
    )


def test_what_comes_before_the_score():
    """Health first, then the term to sort by, then the score."""
    assert ordered([A, B], world(), None) == ([A, B], 1, False)
    assert ordered([A, B], world("price"), None)[0] == [B, A]
    assert ordered([A, B], world("price", [B.id]), None)[0] == [A, B]
    assert ordered([A], world(), None) == ([A], 1, False)


def test_what_is_sorted_by():
    """The expected price of this request; unknown is last; nothing without a wish."""
    assert sort_values([A, B], world("price")) == [2.0, 1.0]
    assert sort_values([A, B], world("throughput")) == [float("inf")] * 2
    assert sort_values([A, B], world()) == []
