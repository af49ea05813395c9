"""`x-ratelimit-*`: what is left of a key's rates, under OpenAI's names and in its way of writing."""

from lowproxy.core.limits import Rates
from lowproxy.core.meters import MINUTE_S


def rate_fields(rates: Rates) -> list[tuple[str, str]]:
    """`x-ratelimit-*` of the limits that the key has."""
    most, left, most_tokens, tokens_left = rates
    fields: list[tuple[str, str]] = []
    if most is not None:
        reset_s = (most - left) * MINUTE_S / most
        fields = [
            ("x-ratelimit-limit-requests", str(most)),
            ("x-ratelimit-remaining-requests", str(int(left)) if left > 0 else "0"),
            ("x-ratelimit-reset-requests", _span(reset_s)),
        ]
    if most_tokens is not None:
        here, reset_s = (
            tokens_left,
            (most_tokens - tokens_left) * MINUTE_S / most_tokens,
        )
        fields += (
            ("x-ratelimit-limit-tokens", str(most_tokens)),
            ("x-ratelimit-remaining-tokens", str(int(here)) if here > 0 else "0"),
            ("x-ratelimit-reset-tokens", _span(reset_s)),
        )
    return fields


def _span(seconds: float) -> str:
    """A duration as OpenAI writes it: `120ms`, `8.64s`, `6m0s`."""
    if seconds < 1:
        return "%dms" % (seconds * 1000 + 0.999)  # noqa: UP031 - half the time of an f-string of an int
    if seconds < 60:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + "s"
    minutes, rest = divmod(int(seconds + 0.999), 60)
    return f"{minutes}m{rest}s"
