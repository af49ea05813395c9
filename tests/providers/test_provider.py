"""What a dialect has to be, and that an attempt does not show its credential."""

import inspect

import pytest

from lowproxy.providers import DIALECTS
from lowproxy.providers.provider import Destination, Dialect, UpstreamRequest


def test_an_attempt_is_not_shown():
    """Neither its credential nor the prompt, in a log line or a traceback."""
    request = UpstreamRequest(
        Destination(
            endpoint_id="acme-1",
            url="https://api.example/v1/chat/completions",
            fixed=(("Authorization", "Bearer canary"),),
            lead=b"Authorization: Bearer canary",
        ),
        extra=[("traceparent", "canary")],
        pieces=(b"can", memoryview(b"ary")),
    )

    assert "canary" not in repr(request)
    assert "acme-1" in repr(request)
    assert request.body == b"canary"


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_offers_what_is_asked(name):
    """The protocol's methods, with the protocol's parameters."""
    for method, asked in inspect.getmembers(Dialect, inspect.isfunction):
        if not method.startswith("_"):
            offered = getattr(type(DIALECTS[name]), method)
            assert inspect.signature(offered) == inspect.signature(asked)


def test_the_names_are_those_of_the_configuration():
    """Short, lower case."""
    assert "openai" in DIALECTS
    assert all(name.islower() for name in DIALECTS)
