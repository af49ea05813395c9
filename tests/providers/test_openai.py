"""OpenAI's dialect: what goes up, whose fault an answer is, and in which words the caller hears of it."""

import json
from datetime import UTC, datetime
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from lowproxy.core.chat import ChatRequest
from lowproxy.core.secret import Secret
from lowproxy.core.upstreams import Candidate, Endpoint, Model, Provider
from lowproxy.errors import (
    UpstreamRateLimitedError,
    UpstreamRefusedError,
    UpstreamStatusError,
)
from lowproxy.providers.openai import OpenAI, retry_after_s

CANARY = 'sk-canary/0123"456789'
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def candidate(*credentials, stream_options=True, **quirks):
    provider = Provider(
        id="acme",
        credentials=tuple(Secret(each) for each in credentials),
        stream_options=stream_options,
        **quirks,
    )
    endpoint = Endpoint("acme-1", provider, "eu-west", "https://api.example/v1")
    return Candidate(Model("acme/small", "acme", "small-2026"), endpoint)


def dress(*, stream=False, to=None, **fields):
    body = {"model": "acme/small", "messages": [{"content": "hi"}], "stream": stream}
    chat = ChatRequest.parse(json.dumps({**body, "route": {"region": "eu"}}).encode())
    to = to or candidate(CANARY)
    credential = next(iter(to.endpoint.provider.credentials), None)
    return OpenAI().dress(chat, to, credential, CIMultiDict(fields))


def answered(status, body=b"", **fields):
    return OpenAI().failure(candidate(CANARY), status, CIMultiDict(fields), body, NOW)


# --- up ----------------------------------------------------------------------------------------


def test_a_request():
    """The endpoint's path, the upstream's model, our credential, nothing of ours in the body."""
    request = dress()

    assert request.to.endpoint_id == "acme-1"
    assert request.to.url == "https://api.example/v1/chat/completions"
    fields = CIMultiDict(request.fixed)
    assert fields["Authorization"] == f"Bearer {CANARY}"
    assert fields["Content-Type"] == "application/json"
    assert fields["Accept"] == "application/json"
    assert fields["Accept-Encoding"] == "identity"
    assert fields["User-Agent"].startswith("lowproxy/")
    sent = json.loads(request.body)
    assert sent == {
        "model": "small-2026",
        "messages": [{"content": "hi"}],
        "stream": False,
    }


def test_a_stream_asks_for_usage_where_that_is_understood():
    """And for events; a provider that refuses the field is not sent it."""
    request = dress(stream=True)
    assert CIMultiDict(request.fixed)["Accept"] == "text/event-stream"
    sent = json.loads(request.body)
    assert sent["stream_options"] == {"include_usage": True}

    request = dress(stream=True, to=candidate(stream_options=False))
    assert "stream_options" not in json.loads(request.body)


def test_no_credential_where_none_is_wanted():
    """A local server gets no Authorization at all."""
    request = dress(to=candidate())

    assert "Authorization" not in CIMultiDict(request.fixed)


def test_a_key_in_a_header_of_its_own():
    """As Azure has it: the key alone, and no bearer beside it."""
    fields = CIMultiDict(dress(to=candidate("k", auth_header="api-key")).fixed)

    assert fields["api-key"] == "k"
    assert "Authorization" not in fields


def test_members_that_the_provider_does_not_know():
    """Left out or renamed at the top of the body, where they occur; all else stays as it was."""
    quirky = candidate(
        respells=(("store", ""), ("max_completion_tokens", "max_tokens"))
    )
    body = (
        b'{"model":"acme/small","store":true,"max_completion_tokens": 9007199254740993,'
        b'"messages":[{"content":"\\"store\\" \\u00e9"}]}'
    )
    request = OpenAI().dress(ChatRequest.parse(body), quirky, None, CIMultiDict())

    assert request.body == (
        b'{"model":"small-2026","max_tokens":9007199254740993,'
        b'"messages":[{"content":"\\"store\\" \\u00e9"}]}'
    )
    assert dress(to=quirky).body == dress().body


def test_the_callers_own_fields():
    """Its trace goes up, its credential, cookies and encodings do not."""
    request = dress(
        Authorization="Bearer caller",
        Cookie="caller",
        Accept_Encoding="gzip",
        traceparent="00-1-2-01",
        **{"Accept-Encoding": "gzip", "x-api-key": "caller"},
    )

    assert request.extra == [("traceparent", "00-1-2-01")]
    assert "caller" not in str(request.fixed)
    assert "gzip" not in str(request.fixed)


# --- whose fault -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_the_callers_own(status):
    """Its status and its words come through."""
    error = {"message": "too long", "type": "t", "param": "messages", "code": "c"}

    failure = answered(status, json.dumps({"error": error}).encode())

    assert isinstance(failure, UpstreamRefusedError)
    assert failure.refused_status == status
    assert failure.body() == {"error": error}


@pytest.mark.parametrize("status", [301, 307, 401, 402, 403, 404, 407, 418, 500, 503])
def test_ours_or_the_upstreams_to_fix(status):
    """502 without the upstream's words: they may name an account."""
    failure = answered(status, b'{"error":{"message":"canary"}}')

    assert isinstance(failure, UpstreamStatusError)
    assert failure.status == 502
    assert failure.message == f"acme-1 answered {status}"


def test_429():
    """With its wait, where it names one."""
    failure = answered(429, b"", **{"Retry-After": "7"})
    assert isinstance(failure, UpstreamRateLimitedError)
    assert (failure.status, failure.retry_after_s) == (429, 7.0)
    assert answered(429).retry_after_s is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("-5", 0.0),
        ("Sun, 22 Nov 2026 12:01:00 GMT", 60.0),
        ("Sun, 22 Nov 2026 12:01:00 -0000", 60.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("inf", None),
        ("nan", None),
        ("1e999", None),
        ("Mon, 01 Jan 99999 00:00:00 GMT", None),
    ],
)
def test_retry_after(value, seconds):
    """Seconds or a date; what is neither is nothing."""
    assert retry_after_s(value, NOW) == seconds


@given(st.text())
def test_any_retry_after(value):
    """Never an exception, never a wait that is not a time."""
    seconds = retry_after_s(value, NOW)

    assert seconds is None or (isfinite(seconds) and seconds >= 0)


# --- in which words ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":{"message":"too long"}}', "too long"),
        (b'{"error":"too long"}', "too long"),
        (b'{"message":"too long"}', "too long"),
        (b'{"object":"error","message":"too long","type":"x"}', "too long"),
        (b'{"detail":"too long"}', "too long"),
        (b'{"error":{"message":""},"detail":"too long"}', None),
        (b"too long", "too long"),
        (b'"too long"', "too long"),
        (b'{"error":{"message":"\\ud83d too long"}}', "\ud83d too long"),
        (b"<html><body>413</body></html>", None),
        (b"", None),
        (b"{}", None),
        (b'{"error":null}', None),
        (b'{"error":{}}', None),
        (b"[]", None),
    ],
)
def test_every_shape_becomes_openais(body, message):
    """The reason, wherever the upstream put it; else that there was none."""
    [error] = answered(400, body).body().values()

    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    if message is not None:
        assert error["message"] == message
    elif body == b'{"error":{"message":""},"detail":"too long"}':
        assert error["message"]
    else:
        assert error["message"].endswith("gave no reason")


def test_a_validators_list_is_a_reason():
    """As FastAPI and Mistral complain: shown as it is."""
    detail = [{"loc": ["body", "foo"], "msg": "Extra inputs are not permitted"}]
    for said in ({"detail": detail}, {"message": {"detail": detail}}):
        message = answered(422, json.dumps(said).encode()).message
        assert "Extra inputs are not permitted" in message
        assert '"foo"' in message


def test_what_is_beside_the_error_stays_behind():
    """Of the answer the error comes through, not what may name our account."""
    said = {
        "error": {"message": "no", "code": 400, "metadata": {"raw": "why"}},
        "user_id": "user_canary",
    }
    failure = answered(400, json.dumps(said).encode())

    assert failure.body()["error"] == {
        "message": "no",
        "type": "invalid_request_error",
        "param": None,
        "code": 400,
        "metadata": {"raw": "why"},
    }
    assert "canary" not in str(failure.body())


@pytest.mark.parametrize(
    "said",
    [
        {"error": {"message": f"bad key {CANARY}", "metadata": [{CANARY: CANARY}]}},
        {"error": f"bad key {CANARY}"},
        {"detail": [f"bad key {CANARY}"]},
        {"error": "x" * 1990 + CANARY},
        {"error": "x" * 1990 + CANARY + "y" * 5000},
    ],
)
def test_our_credential_does_not_reach_the_caller(said):
    """However it is echoed, and also where the message is cut."""
    for body in (json.dumps(said), json.dumps(said).replace("/", "\\/")):
        told = json.dumps(answered(400, body.encode()).body())
        assert "canary" not in told
        assert "***" in told


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "message", "detail", "code"]),
                inner,
                max_size=3,
            )
        ),
    )
    | st.binary()
)
def test_any_answer_can_be_told(said):
    """Whatever the body: an error object with a message, which can be written as JSON."""
    body = said if isinstance(said, bytes) else json.dumps(said).encode()

    told = answered(400, body).body()

    assert isinstance(told["error"]["message"], str)
    assert told["error"]["message"]
    assert json.loads(json.dumps(told, allow_nan=False)) == told


@pytest.mark.parametrize("depth", [300, 1000, 100_000])
def test_an_answer_nested_too_deep(depth):
    """Is not what fails us."""
    deep = b"[" * depth + b"]" * depth

    told = answered(400, b'{"error":{"message":"no","metadata":' + deep + b"}}").body()
    assert told["error"]["message"] in ("no", answered(400, b"{}").message) or (
        told["error"]["message"].startswith("{")
    )


# --- errors under status 200 -------------------------------------------------------------------


def within(answer):
    return OpenAI().failure_within(candidate(CANARY), answer)


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{}]},
        {"choices": [{}], "error": None},
        {"choices": [{}], "error": {"code": "server_error"}},
        {"error": {}},
        {"object": "ping"},
        {},
    ],
)
def test_an_answer_is_an_answer(answer):
    """One that has choices, or no error."""
    assert within(answer) is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 500, "message": "canary"}, UpstreamStatusError),
        ({"code": "server_error", "message": "canary"}, UpstreamStatusError),
        ("canary", UpstreamStatusError),
        ({"message": "canary"}, UpstreamStatusError),
        ({"code": ["odd"]}, UpstreamStatusError),
        ({"code": 401, "message": "canary"}, UpstreamStatusError),
        ({"code": 429, "message": "canary"}, UpstreamRateLimitedError),
        ({"code": "429"}, UpstreamRateLimitedError),
        ({"code": "rate_limit_exceeded"}, UpstreamRateLimitedError),
    ],
)
def test_an_error_under_status_200(error, kind):
    """Is a failure of its own kind; another candidate may do better."""
    failure = within({"error": error})

    assert type(failure) is kind
    assert failure.message.startswith("acme-1 answered an error")
    assert "canary" not in failure.message


def test_a_refusal_under_status_200():
    """A request that the upstream calls wrong is the caller's to fix, whatever the status line."""
    failure = within({"error": {"code": 400, "message": f"no such tool {CANARY}"}})

    assert isinstance(failure, UpstreamRefusedError)
    assert failure.refused_status == 400
    assert failure.message == "no such tool ***"


def test_a_429_in_the_upstreams_own_words():
    """The reason is the caller's to know; our credential is not."""
    told = json.dumps({"error": {"message": f"slow down, {CANARY}"}}).encode()

    failure = answered(429, told)

    assert isinstance(failure, UpstreamRateLimitedError)
    assert failure.message.startswith("slow down, ")
    assert CANARY not in failure.message
