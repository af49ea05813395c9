"""Names that are not ids lead to ids, and never past a key."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.access import ApiKey
from lowproxy.core.aliases import bare_names, resolved, served
from lowproxy.core.chat import ChatRequest
from lowproxy.core.routing import decide
from lowproxy.core.upstreams import Candidate, Endpoint, Model, Pool, Provider
from lowproxy.errors import PermissionDeniedError, UnknownModelError

KEY = ApiKey(name="dev", hash="sha256:0")
IDS = ("a/one", "b/one", "b/two", "c/deep/three", "four")
CHAT = ChatRequest.parse(b'{"model":"m","messages":[{"content":"hi"}]}')


def pool_of(ids=IDS, **aliases):
    """Every id at one endpoint."""
    endpoint = Endpoint("p-1", Provider("p"), "eu-west", "http://x")
    by_model = {id_: (Candidate(Model(id_, "p", id_), endpoint),) for id_ in ids}
    return Pool(
        by_model,
        tuple(ids),
        aliases=served(aliases, by_model),
        bare=bare_names(by_model),
    )


def routed(pool, *models, key=KEY):
    """The ids that are tried, in order."""
    decision = decide(attrs.evolve(CHAT, models=models), key, pool)
    return [candidate.model.id for candidate in decision.candidates]


def test_a_bare_name_is_an_id_where_it_is_unique():
    """What follows the first slash."""
    assert routed(pool_of(), "two") == ["b/two"]
    assert routed(pool_of(), "deep/three") == ["c/deep/three"]
    with pytest.raises(UnknownModelError):
        routed(pool_of(), "three")


def test_an_ambiguous_name_is_refused_and_the_ids_named():
    """Nobody is picked in silence."""
    with pytest.raises(UnknownModelError, match="a/one, b/one; ask for one of them"):
        routed(pool_of(), "one")


def test_a_key_that_may_use_one_of_them_makes_it_unique():
    """Nor does the message tell ids that the key may not use."""
    assert routed(pool_of(), "one", key=attrs.evolve(KEY, models=("b/*",))) == ["b/one"]
    with pytest.raises(PermissionDeniedError, match="may not use the model 'one'"):
        routed(pool_of(), "one", key=attrs.evolve(KEY, models=("four",)))


def test_an_id_is_nobodys_alias():
    """Not even where an id ends as another begins."""
    assert routed(pool_of(("four", "x/four")), "four") == ["four"]


def test_an_alias_for_several_is_a_fallback_list():
    """In its order, each once, also beside other names."""
    pool = pool_of(fast=("b/two", "a/one"))
    assert routed(pool, "fast") == ["b/two", "a/one"]
    assert routed(pool, "a/one", "fast", "two") == ["a/one", "b/two"]


def test_an_alias_may_be_a_pseudo_model():
    """Its own scale goes with it."""
    pool = pool_of(fast=("lowrouter/auto-cheap",))
    decision = decide(attrs.evolve(CHAT, models=("fast",)), KEY, pool)
    assert len(decision.candidates) == len(IDS)
    assert decision.ordered_by == "price"


def test_targets_that_nobody_serves_are_passed_over():
    """An alias of them alone is no alias."""
    pool = pool_of(fast=("z/none", "b/two"), slow=("z/none",))
    assert routed(pool, "fast") == ["b/two"]
    with pytest.raises(UnknownModelError):
        routed(pool, "slow")


def test_a_key_is_asked_about_the_id():
    """An alias is no way past it."""
    pool = pool_of(fast=("b/two", "a/one"), other=("b/two",))
    key = attrs.evolve(KEY, models=("a/*", "other"))
    assert routed(pool, "fast", key=key) == ["a/one"]
    with pytest.raises(PermissionDeniedError, match="'b/two'"):
        routed(pool, "other", key=key)


@given(
    st.lists(st.sampled_from((*IDS, "one", "two", "fast", "zzz")), min_size=1),
    st.lists(st.sampled_from(("a/*", "b/*", "four", "c/*")), max_size=3),
)
def test_names_never_widen_what_a_key_may_use(asked, allowed):
    """Whatever is asked in whichever way, only allowed ids are tried."""
    key = attrs.evolve(KEY, models=tuple(allowed))
    pool = pool_of(fast=("b/two", "a/one"))
    try:
        ids = resolved(tuple(asked), key, pool)
        tried = routed(pool, *asked, key=key)
    except (UnknownModelError, PermissionDeniedError):
        return
    assert len(set(ids)) == len(ids)
    assert all(key.allows_model(id_) for id_ in tried)
