"""Which header fields cross the gateway: an allowlist in each direction.

A caller's credential never travels up and an account's limits never travel down, because neither is named
here. Hop-by-hop fields stay on their hop for the same reason.
"""

from collections.abc import Iterable, Mapping

# W3C trace context and what OpenAI's own clients use to name a request.
UP = (
    "traceparent",
    "tracestate",
    "x-client-request-id",
    "openai-beta",
    "idempotency-key",
)
DOWN = ("x-request-id", "openai-processing-ms", "openai-version")


def forwarded(
    fields: Mapping[str, str], allowed: Iterable[str]
) -> list[tuple[str, str]]:
    """The allowed fields that are there. `fields` looks names up without regard to case."""
    return [
        (name, value) for name in allowed if (value := fields.get(name)) is not None
    ]


def media_type(fields: Mapping[str, str]) -> str:
    """The content type in lower case, without parameters; empty where there is none."""
    kind = fields.get("content-type") or ""
    if kind == "application/json":  # as nearly all say it
        return kind
    return kind.partition(";")[0].strip().lower()


def bearer(given: str | None) -> str | None:
    """The token of an `Authorization` field, `Bearer ...`; None where there is none."""
    if given is None:
        return None
    scheme, _, token = given.partition(" ")
    token = token.strip()
    if scheme == "Bearer" and token:  # as nearly all write it
        return token
    return token if scheme.lower() == "bearer" and token else None


def head(start_line: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """A start line and its fields as sent, blank line included.

    Raises ValueError where a value would break out of its line.
    """
    if "\n" in start_line or "\r" in start_line:
        raise ValueError("a line break within a start line")
    return f"{start_line}\r\n{lines(fields)}\r\n".encode("utf-8", "surrogateescape")


def lines(fields: str | Iterable[tuple[str, str]]) -> str:
    """Fields as sent; what is lines already stays as it is.

    Raises ValueError where a value would break out of its line.
    """
    if isinstance(fields, str):
        return fields
    out = [f"{name}: {value}\r\n" for name, value in fields]
    text = "".join(out)
    if not text.count("\n") == text.count("\r") == len(out):
        raise ValueError("a line break within a header field")
    return text


def pairs(text: str) -> list[tuple[str, str]]:
    """Names and values of lines as `lines` makes them."""
    fields = (line.partition(": ") for line in text.split("\r\n")[:-1])
    return [(name, value) for name, _, value in fields]
