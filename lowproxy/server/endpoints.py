"""The table of the API's paths. To add one: its handler, and a line here."""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import unquote

import attrs

from lowproxy.errors import MethodNotAllowedError, UnknownPathError
from lowproxy.server.credits import get_credits, get_key
from lowproxy.server.eco_pages import get_methodology, list_methodologies
from lowproxy.server.exchange import Exchange
from lowproxy.server.generation import get_generation
from lowproxy.server.listing import get_model, list_models, list_providers
from lowproxy.server.parts import Parts
from lowproxy.server.proxy import chat_completions
from lowproxy.server.route_page import explain_route
from lowproxy.server.wire import Reply, Request

Handle = Callable[[Parts, Request, Exchange], Awaitable[Reply]]

PREFIXES = ("/api/v1", "/v1")


@attrs.frozen
class Endpoint:
    """One path: its name in metrics, and a handler per method."""

    name: str
    methods: Mapping[str, Handle]


ENDPOINTS: dict[str, Endpoint] = {
    "/chat/completions": Endpoint("chat", {"POST": chat_completions}),
    "/route": Endpoint("route", {"POST": explain_route}),
    "/models": Endpoint("models", {"GET": list_models}),
    "/models/{id}": Endpoint("model", {"GET": get_model}),
    "/providers": Endpoint("providers", {"GET": list_providers}),
    "/generation": Endpoint("generation", {"GET": get_generation}),
    "/generation/{id}": Endpoint("generation", {"GET": get_generation}),
    "/credits": Endpoint("credits", {"GET": get_credits}),
    "/key": Endpoint("key", {"GET": get_key}),
    "/eco/methodologies": Endpoint("methodologies", {"GET": list_methodologies}),
    "/eco/methodologies/{version}": Endpoint("methodology", {"GET": get_methodology}),
}

# Of the contract, and not built yet: said so rather than left to guess.
NOT_YET = frozenset(
    (
        "/completions",
        "/embeddings",
        "/responses",
        "/anthropic/v1/messages",
        "/anthropic/v1/messages/count_tokens",
        "/openapi.json",
    )
)

_BY_PATH = {
    prefix + path: endpoint
    for prefix in PREFIXES
    for path, endpoint in ENDPOINTS.items()
}
# As nearly all ask for them: what metrics call it, and its handler, by method and path.
EXACT = {
    (method, path): (endpoint.name, handle)
    for path, endpoint in _BY_PATH.items()
    for method, handle in endpoint.methods.items()
}
# What stands in braces is the rest of the path, slashes included.
_BELOW = {
    path.partition("{")[0]: endpoint
    for path, endpoint in ENDPOINTS.items()
    if path.endswith("}")
}


def find(raw_path: str) -> Endpoint:
    """The endpoint of a request target as sent. Raises UnknownPathError."""
    exact = _BY_PATH.get(raw_path)
    if exact is not None:
        return exact
    path = raw_path.partition("?")[0]
    if "://" in path:  # absolute form, as to a proxy (RFC 9112, section 3.2.2)
        path = "/" + path.partition("://")[2].partition("/")[2]
    path = unquote(path)
    inner = next((path[len(p) :] for p in PREFIXES if path.startswith(p + "/")), None)
    if inner is not None:
        endpoint = ENDPOINTS.get(inner) or _below(inner)
        if endpoint is not None:
            return endpoint
        if inner in NOT_YET:
            raise UnknownPathError(f"{inner[:80]} is not served by this version")
    raise UnknownPathError(
        "no such path; the API is under /api/v1, for example POST /api/v1/chat/completions"
    )


def _below(inner: str) -> Endpoint | None:
    return next((e for start, e in _BELOW.items() if inner.startswith(start)), None)


def handler(endpoint: Endpoint, method: str) -> Handle:
    """The handler for a method; HEAD is answered like GET. Raises MethodNotAllowedError."""
    found = endpoint.methods.get("GET" if method == "HEAD" else method)
    if found is None:
        methods = {*endpoint.methods, *(("HEAD",) if "GET" in endpoint.methods else ())}
        allow = ", ".join(sorted(methods))
        raise MethodNotAllowedError(f"this path takes {allow}", allow=allow)
    return found
