"""Every failure has a status, a type and a code that an SDK understands, and shows nothing it should not."""

import inspect
import json

import httpx2
import openai
import pytest

from lowproxy import errors
from lowproxy.errors import ConfigError, LowproxyError, UpstreamRefusedError

REFUSED = {"error": {"message": "no", "type": "invalid_request_error"}}


def _all():
    found = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, LowproxyError) and kind is not UpstreamRefusedError
    ]
    return sorted(found, key=lambda kind: kind.__name__)


ALL = _all()


def make(kind, message="what was wrong", **more):
    extra = {"allow": "POST"} if kind is errors.MethodNotAllowedError else {}
    return kind(message, **extra, **more)


# The contract's table of errors: what each name is to a caller.
STATUSES = {
    "AuthenticationError": 401,
    "BadRequestError": 400,
    "BodyTimeoutError": 408,
    "BodyTooLargeError": 413,
    "BudgetSpentError": 402,
    "DownstreamError": 400,
    "LowproxyError": 500,
    "MethodNotAllowedError": 405,
    "NothingEligibleError": 503,
    "OverloadedError": 503,
    "PermissionDeniedError": 403,
    "RateLimitedError": 429,
    "UnknownModelError": 404,
    "StoreAwayError": 503,
    "UnknownGenerationError": 404,
    "UnknownPathError": 404,
    "UnsupportedMediaTypeError": 415,
    "UpstreamCredentialError": 502,
    "UpstreamCutError": 502,
    "UpstreamError": 502,
    "UpstreamRateLimitedError": 429,
    "UpstreamRestingError": 503,
    "UpstreamStatusError": 502,
    "UpstreamTimeoutError": 504,
    "UpstreamUnreachableError": 503,
    "UpstreamUnreadableError": 502,
}


def test_statuses():
    """Those of the contract; a new failure is entered here."""
    assert {kind.__name__: kind.status for kind in ALL} == STATUSES


@pytest.mark.parametrize("kind", ALL)
def test_the_body(kind):
    """OpenAI's error object, all four members."""
    body = make(kind).body()

    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"] == "what was wrong"
    assert json.loads(json.dumps(body)) == body


@pytest.mark.parametrize("kind", ALL)
def test_labels_are_bounded(kind):
    """Side and code are words of ours, fit for a metric's label."""
    assert kind.side in ("gateway", "downstream", "upstream")
    assert kind.code.replace("_", "").isalpha()
    assert kind.code.islower()
    assert kind.__doc__


EXPECTED = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    502: openai.InternalServerError,
    503: openai.InternalServerError,
    504: openai.InternalServerError,
}


@pytest.mark.parametrize("kind", ALL)
def test_the_sdk_raises_its_own(kind):
    """OpenAI's client makes its typed exception of it, with message and code."""
    failure = make(kind)

    def answer(_request):
        return httpx2.Response(
            failure.status, json=failure.body(), headers=failure.headers()
        )

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    with (
        openai.OpenAI(
            api_key="x", base_url="http://test/v1", http_client=http, max_retries=0
        ) as client,
        pytest.raises(EXPECTED.get(failure.status, openai.APIStatusError)) as caught,
    ):
        client.chat.completions.create(model="m", messages=[])
    assert caught.value.status_code == failure.status
    assert "what was wrong" in caught.value.message
    assert caught.value.code == failure.code
    assert caught.value.type == failure.type


@pytest.mark.parametrize(
    ("wait_s", "field"),
    [(0.0, "1"), (0.2, "1"), (1.0, "1"), (2.5, "3"), (60.001, "61")],
)
def test_retry_after_is_rounded_up(wait_s, field):
    """Whoever keeps to it is not too early."""
    failure = errors.RateLimitedError("slow down", retry_after_s=wait_s)

    assert failure.headers() == {"Retry-After": field}


def test_header_fields():
    """Only what goes with the failure."""
    assert make(errors.BadRequestError).headers() == {}
    assert make(errors.MethodNotAllowedError).headers() == {"Allow": "POST"}
    assert make(errors.NothingEligibleError).headers() == {"x-should-retry": "false"}
    param = errors.BadRequestError("x", param="model")
    assert param.body()["error"]["param"] == "model"


def test_an_upstreams_refusal():
    """Its own status and words; ours only where it has none. The caller's to fix."""
    failure = UpstreamRefusedError(422, REFUSED)

    assert failure.body() is REFUSED
    assert failure.refused_status == 422
    assert failure.message == "no"
    assert failure.side == "downstream"
    assert "gave" not in UpstreamRefusedError(400, {"error": {}}).message


def test_a_configuration_error_lists_every_mistake():
    """One line each."""
    failure = ConfigError(["a: no such option", "b: not a number"])

    assert failure.problems == ["a: no such option", "b: not a number"]
    assert str(failure) == "a: no such option\nb: not a number"
    assert not isinstance(failure, LowproxyError)
