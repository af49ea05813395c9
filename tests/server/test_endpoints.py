"""The table of paths: what is served, what is not yet, and what a wrong method is told."""

import pytest

from lowproxy.errors import MethodNotAllowedError, UnknownPathError
from lowproxy.server.endpoints import ENDPOINTS, EXACT, NOT_YET, find, handler


@pytest.mark.parametrize("prefix", ["/api/v1", "/v1", "http://host:1/api/v1"])
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/chat/completions", "chat"),
        ("/chat%2Fcompletions", "chat"),
        ("/chat/completions?x=/models/y", "chat"),
        ("/models", "models"),
        ("/models?limit=1", "models"),
        ("/models/openai/gpt-4o-mini", "model"),
        ("/models/openai%2Fgpt-4o-mini", "model"),
        ("/models/chat/completions", "model"),
        ("/providers", "providers"),
        ("/eco/methodologies", "methodologies"),
        ("/eco/methodologies/v1.0-2026-11", "methodology"),
        ("/eco/methodologies/", "methodology"),
    ],
)
def test_what_is_served(prefix, path, name):
    """Both prefixes, escapes, queries, and the absolute form that proxies send."""
    assert find(prefix + path).name == name


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "*",
        "/v1",
        "/v1/",
        "/v2/models",
        "/api/models",
        "/api/v1models",
        "/v1/chat/completions/",
        "/v1//models",
        "//v1/models",
        "/v1/../admin",
        "/metrics",
        "/readyz",
        "/v1/model",
        "host:443",
        "http://host",
        "/%76%31%00/models",
    ],
)
def test_what_is_not(path):
    """404 that names the place where the API is, and repeats nothing."""
    with pytest.raises(UnknownPathError, match="under /api/v1") as caught:
        find(path)
    assert caught.value.status == 404


@pytest.mark.parametrize("path", sorted(NOT_YET))
def test_what_is_not_yet(path):
    """Of the contract, but not built: said so."""
    with pytest.raises(UnknownPathError, match="not served by this version"):
        find("/api/v1" + path)


@pytest.mark.parametrize(
    ("name", "method", "allow"),
    [
        ("/chat/completions", "GET", "POST"),
        ("/chat/completions", "HEAD", "POST"),
        ("/models", "POST", "GET, HEAD"),
        ("/models", "OPTIONS", "GET, HEAD"),
        ("/providers", "DELETE", "GET, HEAD"),
    ],
)
def test_a_wrong_method(name, method, allow):
    """405 says which there are."""
    with pytest.raises(MethodNotAllowedError) as caught:
        handler(ENDPOINTS[name], method)
    assert caught.value.headers()["Allow"] == allow


def test_head_is_get():
    """The handler is the same; the body is left out on the wire."""
    endpoint = ENDPOINTS["/models"]
    assert handler(endpoint, "HEAD") is handler(endpoint, "GET")


def test_what_is_asked_for_exactly_is_answered_as_what_is_searched_for():
    """One look-up instead of two, with the same end."""
    for (method, path), (name, handle) in EXACT.items():
        endpoint = find(path)
        assert (endpoint.name, handler(endpoint, method)) == (name, handle)
    assert ("POST", "/v1/chat/completions") in EXACT
