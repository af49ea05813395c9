"""`x-ratelimit-*`: what is left of a key's rates, under OpenAI's names and in its way of writing."""

from lowproxy.core.limits import Rates


def rate_fields(rates: Rates) -> list[tuple[str, str]]:
    """`x-ratelimit-*` of the limits that the key has."""
    fields = []
    if rates.requests_limit is not None:
        fields += [
            ("x-ratelimit-limit-requests", str(rates.requests_limit)),
            ("x-ratelimit-remaining-requests", str(rates.requests_left)),
            ("x-ratelimit-reset-requests", _span(rates.requests_reset_s)),
        ]
    if rates.tokens_limit is not None:
        fields += [
            ("x-ratelimit-limit-tokens", str(rates.tokens_limit)),
            ("x-ratelimit-remaining-tokens", str(rates.tokens_left)),
            ("x-ratelimit-reset-tokens", _span(rates.tokens_reset_s)),
        ]
    return fields


def _span(seconds: float) -> str:
    """A duration as OpenAI writes it: `120ms`, `8.64s`, `6m0s`."""
    if seconds < 1:
        return f"{int(seconds * 1000 + 0.999)}ms"
    if seconds < 60:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + "s"
    minutes, rest = divmod(int(seconds + 0.999), 60)
    return f"{minutes}m{rest}s"
