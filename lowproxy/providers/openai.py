"""OpenAI's chat completions, and everything that calls itself compatible."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from math import isfinite
from typing import Any

from lowproxy import __version__
from lowproxy.core.chat import ChatRequest
from lowproxy.core.headers import UP, forwarded
from lowproxy.core.parsing import loads
from lowproxy.core.upstreams import Candidate
from lowproxy.errors import (
    UpstreamError,
    UpstreamRateLimitedError,
    UpstreamRefusedError,
    UpstreamStatusError,
)
from lowproxy.providers.provider import UpstreamRequest

# The request itself was refused: the caller's to fix, in the upstream's words.
_CALLERS = (400, 413, 415, 422)
# An upstream's complaint is shown to the caller; a page of it is enough.
_MAX_MESSAGE = 2000


class OpenAI:
    """The dialect that needs no translation: bytes go through as they are."""

    def dress(
        self, chat: ChatRequest, candidate: Candidate, fields: Mapping[str, str]
    ) -> UpstreamRequest:
        """The caller's body under the upstream's model name and credential."""
        endpoint, provider = candidate.endpoint, candidate.endpoint.provider
        token = provider.credentials[0].reveal() if provider.credentials else None
        return UpstreamRequest(
            endpoint_id=endpoint.id,
            url=f"{endpoint.base_url}/chat/completions",
            fixed=_fixed(chat.stream, token),
            extra=forwarded(fields, UP),
            body=chat.rewritten(
                candidate.model.upstream_model, ask_usage=provider.stream_options
            ),
        )

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
        if status == 429:
            wait_s = retry_after_s(fields.get("retry-after"), now)
            return UpstreamRateLimitedError(
                f"{name} answered 429 (rate limit)", retry_after_s=wait_s
            )
        return UpstreamStatusError(f"{name} answered {status}")

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
        if code == 429:
            return UpstreamRateLimitedError(f"{name} answered an error{told}")
        return UpstreamStatusError(f"{name} answered an error{told} under status 200")


@lru_cache(256)
def _fixed(stream: bool, token: str | None) -> tuple[tuple[str, str], ...]:
    fields = [
        ("Content-Type", "application/json"),
        ("Accept", "text/event-stream" if stream else "application/json"),
        # A compressed stream is a delayed stream.
        ("Accept-Encoding", "identity"),
        ("User-Agent", f"lowproxy/{__version__}"),
    ]
    if token is not None:
        fields.append(("Authorization", f"Bearer {token}"))
    return tuple(fields)


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
    """The upstream's error in OpenAI's shape, whatever shape it came in, without our credential."""
    for secret in candidate.endpoint.provider.credentials:
        body = body.replace(secret.reveal().encode(), b"***")
    try:
        answer = loads(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        if isinstance(answer.get("error"), dict) and answer["error"].get("message"):
            return answer
        told = answer.get("error") or answer.get("message") or answer.get("detail")
    else:
        told = None
    message = (
        told
        if isinstance(told, str)
        else "the upstream refused the request and gave no reason"
    )
    error = {
        "message": message[:_MAX_MESSAGE],
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    return {"error": error}
