"""What a key may do, and what the caller is told where it may not."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.access import ApiKey
from lowproxy.errors import AuthenticationError, PermissionDeniedError

KEY = ApiKey(name="dev", hash="sha256:0")


def with_(**policy):
    return attrs.evolve(KEY, **policy)


def test_a_key_without_policy_may_do_everything():
    """Empty lists allow all."""
    KEY.usable(1e12)
    KEY.permit("any/model", "eu-west", "acme")
    KEY.permit("lowrouter/auto", None, None)


def test_disabled_and_expired_keys_are_no_keys():
    """401, as for an unknown one, and from the very second on."""
    with pytest.raises(AuthenticationError, match="'dev' is disabled") as caught:
        with_(enabled=False).usable(0)
    assert caught.value.status == 401
    key = with_(expires_at=100.0)
    key.usable(99.9)
    with pytest.raises(AuthenticationError, match="'dev' has expired"):
        key.usable(100.0)


@pytest.mark.parametrize(
    ("patterns", "model", "allowed"),
    [
        (("openai/*",), "openai/gpt-4o-mini", True),
        (("openai/*",), "acme/openai/x", False),
        (("openai/*", "acme/small"), "acme/small", True),
        (("acme/small",), "acme/small-2", False),
        (("ACME/*",), "acme/small", False),
        (("*",), "anything", True),
        (("acme/?",), "acme/a", True),
    ],
)
def test_models_by_wildcard(patterns, model, allowed):
    """As in a shell; case counts."""
    key = with_(models=patterns)

    assert key.allows_model(model) is allowed
    if allowed:
        key.permit(model, None, None)
    else:
        with pytest.raises(PermissionDeniedError, match="may not use") as caught:
            key.permit(model, None, None)
        assert caught.value.param == "model"
        assert caught.value.status == 403
        assert ", ".join(patterns) in caught.value.message


def test_pseudo_models_are_narrowed_not_refused():
    """What they may pick from is the rules' business."""
    key = with_(models=("acme/*",))

    key.permit("lowrouter/auto", None, None)
    key.permit("lowrouter/auto-cheap", None, None)


@pytest.mark.parametrize(
    ("pin", "asked", "allowed"),
    [
        ("eu-west", "eu-west", True),
        ("eu", "eu-west", True),
        ("eu-west", "eu", True),  # both hold: what is left is eu-west
        ("eu-west", "eu-north", False),
        ("eu", "us-east", False),
        ("eu-west", "eu-west-1", True),
        ("eu", "europe", False),
        (None, "mars", True),
        ("eu-west", None, True),
        ("eu-west", "EU-WEST", False),
    ],
)
def test_regions(pin, asked, allowed):
    """A request narrows what its key allows, never widens it."""
    key = with_(region=pin)

    if allowed:
        key.permit("m", asked, None)
    else:
        with pytest.raises(
            PermissionDeniedError, match="pinned to the region"
        ) as caught:
            key.permit("m", asked, None)
        assert caught.value.param == "route.region"


def test_providers():
    """A provider outside the key's list is a 403."""
    key = with_(providers=("acme",))

    key.permit("m", None, "acme")
    key.permit("m", None, None)
    assert key.allows_provider("acme")
    with pytest.raises(
        PermissionDeniedError, match="'other'; it allows acme"
    ) as caught:
        key.permit("m", None, "other")
    assert caught.value.param == "route.provider"


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_names(model, region):
    """Whatever a request asks for, it is allowed or refused with a 403 and nothing else."""
    key = with_(models=("a*",), region="eu")
    try:
        key.permit(model, region, None)
    except PermissionDeniedError as refused:
        assert refused.status == 403
    else:
        assert model.startswith(("a", "lowrouter/"))


def test_keys_are_values():
    """Two with the same policy are equal; an edit makes another, which no memory confuses."""
    assert {KEY: 1}[ApiKey(name="dev", hash="sha256:0")] == 1
    assert with_(region="eu") != KEY
