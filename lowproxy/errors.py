"""Every failure, whose fault it is, and what the caller is told.

No handler picks a status: it raises the name, and the class carries the rest.
A message never holds a prompt, an answer, a key or a caller's credential.
"""

from math import ceil
from typing import Any, ClassVar


class LowproxyError(Exception):
    """A failure with a name; raised as such it is a bug of ours.

    `status`, `type` and `code` are what the caller sees, in OpenAI's terms, so that its SDK raises the
    right exception. `side` says whose fault it is and bounds the metric's labels.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    code: ClassVar[str] = "internal_error"
    side: ClassVar[str] = "gateway"
    retry: ClassVar[bool | None] = (
        None  # x-should-retry, where the SDK's own rule would be wrong
    )

    # The routing decision that led nowhere, where there was one: for the trace.
    decision: Any = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, Any]:
        """The error object of the contract: `{"error": {message, type, param, code}}`."""
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}

    def headers(self) -> dict[str, str]:
        """Header fields that go with the answer."""
        fields = {}
        if self.retry_after_s is not None:
            # Up, never down: who comes back too early is refused again.
            fields["Retry-After"] = str(max(1, ceil(self.retry_after_s)))
        if self.retry is not None:
            fields["x-should-retry"] = "true" if self.retry else "false"
        return fields


class ConfigError(Exception):
    """The configuration cannot be used; `problems` has one line per mistake."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


# --- the caller's side -------------------------------------------------------------------------


class DownstreamError(LowproxyError):
    """The caller asked for something that cannot be done, or may not be."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"
    side = "downstream"


class BadRequestError(DownstreamError):
    """The body or a header is malformed or contradicts itself."""


class AuthenticationError(DownstreamError):
    """No key, or not one of ours."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class BudgetSpentError(DownstreamError):
    """The key's budget is spent, or as much of it is reserved by requests under way (`waits`)."""

    status = 402
    type = "insufficient_quota"
    code = "insufficient_quota"
    waits: bool = False

    def headers(self) -> dict[str, str]:
        """Asking again helps before the budget resets where others may take less than they reserved."""
        again = "true" if self.waits else "false"
        return {**super().headers(), "x-should-retry": again}


class PermissionDeniedError(DownstreamError):
    """The key is ours but may not do this."""

    status = 403
    type = "permission_error"
    code = "permission_denied"


class UnknownModelError(DownstreamError):
    """No such model in the catalogue or the configuration."""

    status = 404
    type = "not_found_error"
    code = "model_not_found"


class UnknownPathError(DownstreamError):
    """Nothing is served at this path (or not yet)."""

    status = 404
    type = "not_found_error"
    code = "unknown_path"


class UnknownGenerationError(DownstreamError):
    """No record of that id, or it is another key's."""

    status = 404
    type = "not_found_error"
    code = "generation_not_found"


class MethodNotAllowedError(DownstreamError):
    """The path exists, the method does not."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow

    def headers(self) -> dict[str, str]:
        """Names the methods that do exist, as RFC 9110 section 15.5.6 asks."""
        return {**super().headers(), "Allow": self.allow}


class BodyTimeoutError(DownstreamError):
    """The caller began a body and did not finish it in time."""

    status = 408
    code = "request_timeout"


class BodyTooLargeError(DownstreamError):
    """The body is over `server.max_body_bytes`, as sent or as decoded."""

    status = 413
    code = "request_too_large"


class UnsupportedMediaTypeError(DownstreamError):
    """The body is not JSON by its content type."""

    status = 415
    code = "unsupported_media_type"


class RateLimitedError(DownstreamError):
    """The key has used up its rate."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


# --- ours --------------------------------------------------------------------------------------


class NothingEligibleError(LowproxyError):
    """No candidate satisfies the constraints: asking again will not help."""

    status = 503
    type = "service_unavailable"
    code = "no_eligible_provider"
    retry = False


class OverloadedError(LowproxyError):
    """More work than this process takes on; asking again later will help."""

    status = 503
    type = "service_unavailable"
    code = "overloaded"


class StoreAwayError(LowproxyError):
    """What is asked for is in a store that does not answer now."""

    status = 503
    type = "service_unavailable"
    code = "store_unavailable"


# --- the upstream's side -----------------------------------------------------------------------


class UpstreamError(LowproxyError):
    """A request was sent and failed, and no candidate was left.

    `usage` is the member of that name of what the upstream said, for those that bill failures.
    """

    status = 502
    type = "upstream_error"
    code = "upstream_failed"
    side = "upstream"
    usage: object = None


class UpstreamUnreachableError(UpstreamError):
    """No connection was made, so nothing was billed: another try is safe."""

    status = 503
    type = "service_unavailable"
    code = "upstream_unreachable"


class UpstreamRestingError(UpstreamUnreachableError):
    """Every candidate has been failing, and one request at a time finds out whether that is over."""

    code = "upstream_resting"


class UpstreamTimeoutError(UpstreamError):
    """The upstream did not answer within the limit that the message names."""

    status = 504
    type = "timeout_error"
    code = "upstream_timeout"


class UpstreamRateLimitedError(UpstreamError):
    """Every candidate answered 429."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class UpstreamStatusError(UpstreamError):
    """The upstream answered a status that is not the caller's to fix (5xx, 401, 3xx, ...)."""

    code = "upstream_status"


class UpstreamCredentialError(UpstreamStatusError):
    """The upstream refused our credential (401, 402, 403): another one may do."""

    code = "upstream_credential"
    renewed = False  # it has been replaced meanwhile: the same one is worth another try


class UpstreamUnreadableError(UpstreamError):
    """The upstream's answer is not what its content type or length says."""

    code = "upstream_unreadable"


class UpstreamCutError(UpstreamError):
    """The connection ended before the answer did."""

    code = "upstream_cut"


class UpstreamRefusedError(UpstreamError):
    """The upstream refused the request itself (400, 413, 415, 422): the caller's to fix.

    `answer` is the upstream's error object, already in OpenAI's shape and free of our credential.
    """

    side = "downstream"

    def __init__(self, status: int, answer: dict[str, Any]) -> None:
        super().__init__(
            str(answer["error"].get("message", "the upstream refused the request"))
        )
        self.refused_status = status
        self.answer = answer

    def body(self) -> dict[str, Any]:
        """The upstream's own words."""
        return self.answer
