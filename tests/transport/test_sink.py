"""The two sides that meet between an upstream and a caller speak the same protocol."""

import inspect

import pytest

from lowproxy.server.relay import Relay
from lowproxy.transport.answer import Answer, Client
from lowproxy.transport.fast import FastClient
from lowproxy.transport.fast_answer import FastAnswer
from lowproxy.transport.public import PublicAnswer, PublicClient
from lowproxy.transport.sink import Flow, Sink


@pytest.mark.parametrize(
    ("made", "promised"),
    [
        (Relay, Sink),
        (FastAnswer, Flow),
        (FastAnswer, Answer),
        (FastClient, Client),
        (PublicAnswer, Flow),
        (PublicAnswer, Answer),
        (PublicClient, Client),
    ],
)
def test_every_method_is_there(made, promised):
    """With the same parameters; the type checker sees the rest."""
    for name, method in vars(promised).items():
        if name.startswith("_") or not inspect.isfunction(method):
            continue
        theirs = inspect.signature(getattr(made, name)).parameters
        assert list(theirs) == list(inspect.signature(method).parameters), name
        assert inspect.iscoroutinefunction(getattr(made, name)) == (
            inspect.iscoroutinefunction(method)
        )
