"""OpenAI's chat completions, and everything that calls itself compatible."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from lowproxy import __version__
from lowproxy.core import splice
from lowproxy.core.chat import ChatRequest
from lowproxy.core.headers import UP, forwarded
from lowproxy.core.parsing import loads
from lowproxy.core.secret import Secret
from lowproxy.core.upstreams import Candidate
from lowproxy.errors import (
    UpstreamCredentialError,
    UpstreamError,
    UpstreamRateLimitedError,
    UpstreamRefusedError,
    UpstreamStatusError,
)
from lowproxy.providers.provider import Destination, UpstreamRequest

# The request itself was refused: the caller's to fix, in the upstream's words.
_CALLERS = (400, 413, 415, 422)
# Our credential was refused: unknown, without money, not allowed.
_CREDENTIALS = (401, 402, 403)
# How errors under status 200 say 429.
_LIMITED = (429, "429", "rate_limit_exceeded")
# An upstream's complaint is shown to the caller; a page of it is enough.
_MAX_MESSAGE = 2000
# Kept for a candidate, one for each credential: those that are replaced make them more.
_MOST_DESTINATIONS = 64
_new: Any = tuple.__new__  # a third of what `UpstreamRequest(...)` costs
_NO_REASON = "the upstream refused the request and gave no reason"
_BLANK: dict[str, Any] = {
    "message": None,
    "type": "invalid_request_error",
    "param": None,
    "code": None,
}


class OpenAI:
    """The dialect that needs no translation: bytes go through as they are."""

    def dress(
        self,
        chat: ChatRequest,
        candidate: Candidate,
        credential: Secret | None,
        fields: Mapping[str, str],
    ) -> UpstreamRequest:
        """The caller's body under the upstream's model name and a credential."""
        provider = candidate.endpoint.provider
        token = credential.reveal() if credential is not None else None
        to = candidate.dressed.get((chat.stream, token))
        if to is None:
            to = _destination(candidate, chat.stream, token)
        pieces = chat.pieces(
            candidate.model.upstream_model, ask_usage=provider.stream_options
        )
        if provider.respells:
            pieces = _respelled(pieces, provider.respells)
        # Nearly nobody sends one of these.
        extra = () if fields.keys().isdisjoint(UP) else forwarded(fields, UP)
        request: UpstreamRequest = _new(UpstreamRequest, (to, extra, pieces))
        return request

    def failure(
        self,
        candidate: Candidate,
        status: int,
        fields: Mapping[str, str],
        body: bytes,
        now: datetime,
    ) -> UpstreamError:
        """400, 413, 415, 422 and 429 are the caller's own; the rest is ours or the upstream's to fix."""
        name = candidate.endpoint.id
        if status in _CALLERS:
            return UpstreamRefusedError(status, _error_object(body, candidate))
        wait_s = retry_after_s(fields.get("retry-after"), now)
        if status == 429:
            error = _error_object(body, candidate)["error"]
            reason = error.get("message") if isinstance(error, dict) else None
            if reason in (None, _NO_REASON):
                reason = f"{name} answered 429 (rate limit)"
            return UpstreamRateLimitedError(
                str(reason)[:_MAX_MESSAGE], retry_after_s=wait_s
            )
        if status in _CREDENTIALS:
            return UpstreamCredentialError(f"{name} answered {status}")
        return UpstreamStatusError(f"{name} answered {status}", retry_after_s=wait_s)

    def failure_within(
        self, candidate: Candidate, answer: Mapping[str, Any]
    ) -> UpstreamError | None:
        """Some answer 200 with an error object; one that also has choices is an answer."""
        error = answer.get("error")
        if not error or answer.get("choices"):
            return None
        code = error.get("code") if isinstance(error, Mapping) else None
        told = f" ({code})" if isinstance(code, int) else ""
        name = candidate.endpoint.id
        if isinstance(code, int) and code in _CALLERS:
            return UpstreamRefusedError(code, _shaped(answer, candidate))
        if code in _LIMITED:
            return UpstreamRateLimitedError(f"{name} answered an error{told}")
        return UpstreamStatusError(f"{name} answered an error{told} under status 200")


def _respelled(
    pieces: tuple[bytes | memoryview, ...], respells: tuple[tuple[str, str], ...]
) -> tuple[bytes | memoryview, ...]:
    """The body with members under the provider's names; as it is where none of them occurs."""
    body = b"".join(pieces)
    names = {old: new for old, new in respells if b'"%b"' % old.encode() in body}
    return (splice.respell_members(body, names),) if names else pieces


def _destination(candidate: Candidate, stream: bool, token: str | None) -> Destination:
    """What all requests to a candidate share, made once for each credential."""
    auth_header = candidate.endpoint.provider.auth_header
    fields = [
        ("Content-Type", "application/json"),
        ("Accept", "text/event-stream" if stream else "application/json"),
        # A compressed stream is a delayed stream.
        ("Accept-Encoding", "identity"),
        ("User-Agent", f"lowproxy/{__version__}"),
    ]
    if token is not None and auth_header == "authorization":
        fields.append(("Authorization", f"Bearer {token}"))
    elif token is not None:
        fields.append((auth_header, token))
    to = Destination(candidate.endpoint.id, candidate.chat_url, tuple(fields))
    if len(candidate.dressed) >= _MOST_DESTINATIONS:
        candidate.dressed.clear()
    candidate.dressed[stream, token] = to
    return to


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds from a Retry-After field: a number or a date (RFC 9110, section 10.2.3). None if neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
        return max(0.0, seconds) if isfinite(seconds) else None
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())


def _error_object(body: bytes, candidate: Candidate) -> dict[str, Any]:
    try:
        answer = loads(body)
    except ValueError:
        answer = _text(body)
    return _shaped(answer, candidate)


def _shaped(answer: object, candidate: Candidate) -> dict[str, Any]:
    """The upstream's error in OpenAI's shape, whatever shape it came in, without our credentials."""
    told: object
    secrets = [each.reveal() for each in candidate.endpoint.provider.credentials]
    error = answer.get("error") if isinstance(answer, dict) else answer
    message = error.get("message") if isinstance(error, dict) else None
    if isinstance(error, dict) and message and isinstance(message, str):
        whole = _clean({**_BLANK, **error}, secrets)
        if isinstance(whole, dict):
            return {"error": whole}
        told = message
    else:
        told = _told(error, answer)
    # Cleaned before it is cut: half a credential would not be found.
    told = _clean(told, secrets)
    if not told:
        return {"error": {**_BLANK, "message": _NO_REASON}}
    if not isinstance(told, str):  # a validator's list of complaints
        told = json.dumps(told)
    return {"error": {**_BLANK, "message": told[:_MAX_MESSAGE]}}


def _told(error: object, answer: object) -> object:
    if error or not isinstance(answer, dict):
        return error
    return answer.get("message") or answer.get("detail")


def _text(body: bytes) -> str | None:
    """What is not JSON: a sentence, or a page that says nothing to a program."""
    text = body.decode("utf-8", "replace").strip()
    return text if text and not text.startswith("<") else None


def _clean(value: Any, secrets: list[str]) -> Any:
    """The value without our credentials; None where it cannot be written again."""
    try:
        raw = json.dumps(value, allow_nan=False)
        for secret in filter(None, secrets):
            raw = raw.replace(json.dumps(secret)[1:-1], "***")
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
