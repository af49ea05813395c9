"""What a request says about its own routing: `route`, the region header, OpenRouter's `provider`."""

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, Self

import attrs

from lowproxy.errors import BadRequestError

_ROUTE = {
    "region": str,
    "zone": str,
    "provider": str,
    "prefer_low_carbon": bool,
    "max_carbon_g": float,
    "fallback": bool,
    "eco": str,
    "trace": bool,
}
# Nobody's region, zone or provider has a longer name, and no list is longer: what a request wishes is kept
# with its decision, for as long as that is remembered, and its pin is in the books.
_LONGEST = 200
_NAMES = {
    str: f"a non-empty string of at most {_LONGEST} characters",
    bool: "true or false",
}
_LISTS = ("order", "only", "ignore")
_SORTS = ("price", "latency", "throughput")
_ECO = ("full", "short")
# A field's name as it may stand in an error text: a caller can write anything there.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@attrs.frozen(cache_hash=True)
class Preferences:
    """The request's own constraints and wishes; None and empty say nothing.

    `fallback` is about other regions, `allow_fallbacks` about any second candidate at all. `max_price_*`
    are in the provider's currency per million tokens, `max_carbon_g` is of this request. Of these
    `sort` and `max_latency_s` steer, and exclude nobody.
    """

    region: str | None = None
    zone: str | None = None
    provider: str | None = None
    prefer_low_carbon: bool | None = None
    fallback: bool = True
    order: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    allow_fallbacks: bool = True
    require_parameters: bool = (
        False  # an explicit model, too, only where it is known to be able
    )
    sort: str | None = None
    max_price_prompt: float | None = None
    max_price_completion: float | None = None
    max_carbon_g: float | None = None
    max_latency_s: float | None = None  # `provider.preferred_max_latency`
    # How much is told afterwards, "full" or "short": no two routes differ by it.
    eco: str | None = attrs.field(default=None, eq=False)
    trace: bool = attrs.field(default=False, eq=False)

    @property
    def is_pinned(self) -> bool:
        """Whether the request says where it may be served."""
        return self.region is not None or self.zone is not None

    @classmethod
    def read(
        cls,
        body: Mapping[str, Any],
        region_header: str | None,
        eco_header: str | None = None,
    ) -> Self:
        """From a parsed body, `X-LowRouter-Region` and `X-LowRouter-Eco`; the body wins.

        Raises BadRequestError.
        """
        eco = _eco(eco_header, "X-LowRouter-Eco")
        if region_header and len(region_header) > _LONGEST:
            raise BadRequestError(
                f"X-LowRouter-Region must be {_NAMES[str]}", param="X-LowRouter-Region"
            )
        if "route" not in body and "provider" not in body:
            if eco:
                return cls(region=region_header or None, eco=eco)
            return cls(region=region_header) if region_header else NO_WISHES
        route = _route(body.get("route"))
        wishes = _provider(body.get("provider"))
        _agree(route.get("provider"), wishes)
        region = route.pop("region", None) or region_header or None
        eco = _eco(route.pop("eco", None), "route.eco") or eco
        return cls(region=region, eco=eco, **route, **wishes)


NO_WISHES: Any = Preferences()


def _eco(value: str | None, path: str) -> str | None:
    if not value:
        return None
    if value not in _ECO:
        raise BadRequestError(f"{path} must be one of {', '.join(_ECO)}", param=path)
    return value


def _route(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequestError("route must be an object", param="route")
    for name, given in value.items():
        path = _path("route", name)
        kind = _ROUTE.get(name)
        if kind is None:
            known = ", ".join(_ROUTE)
            raise BadRequestError(
                f"{path}: no such field; there are {known}", param=path
            )
        if given is None:
            continue
        if kind is float:
            _number(given, path)
        elif not isinstance(given, kind) or (
            isinstance(given, str) and not 0 < len(given) <= _LONGEST
        ):
            raise BadRequestError(f"{path} must be {_NAMES[kind]}", param=path)
    return {name: given for name, given in value.items() if given is not None}


def _provider(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequestError("provider must be an object", param="provider")
    wishes: dict[str, Any] = {}
    for name, given in value.items():
        path = _path("provider", name)
        if given is None:
            continue
        if name in _LISTS:
            if (
                not isinstance(given, list)
                or len(given) > _LONGEST
                or not all(isinstance(each, str) for each in given)
                or max(map(len, given), default=0) > _LONGEST
            ):
                raise BadRequestError(
                    f"{path} must be a list of provider ids, {_LONGEST} at most",
                    param=path,
                )
            wishes[name] = tuple(given)
        elif name in ("allow_fallbacks", "require_parameters"):
            if not isinstance(given, bool):
                raise BadRequestError(f"{path} must be true or false", param=path)
            wishes[name] = given
        elif name == "sort":
            if given not in _SORTS:
                raise BadRequestError(
                    f"{path} must be one of {', '.join(_SORTS)}", param=path
                )
            wishes[name] = given
        elif name == "max_price":
            wishes.update(_max_price(given))
        elif name == "preferred_max_latency":
            wishes["max_latency_s"] = _max_latency(given)
        else:
            # Some of OpenRouter's fields are promises about privacy: better refused than passed over.
            raise BadRequestError(
                f"{path} is not supported by this gateway", param=path
            )
    return wishes


def _max_price(value: object) -> dict[str, float]:
    limits = {}
    if not isinstance(value, dict):
        raise BadRequestError(
            "provider.max_price must be an object", param="provider.max_price"
        )
    for name, given in value.items():
        path = _path("provider.max_price", name)
        if name not in ("prompt", "completion"):
            raise BadRequestError(
                f"{path}: no such field; there are prompt, completion", param=path
            )
        if given is not None:
            limits[f"max_price_{name}"] = _price(given, path)
    return limits


def _max_latency(value: object) -> float | None:
    """Seconds to the first byte; OpenRouter takes a number or percentiles, of which the median is measured."""
    path = "provider.preferred_max_latency"
    if not isinstance(value, dict):
        return _number(value, path)
    for name in value:
        if name != "p50":
            inner = _path(path, name)
            raise BadRequestError(f"{inner}: only p50 is measured here", param=inner)
    given = value.get("p50")
    return None if given is None else _number(given, f"{path}.p50")


def _number(given: Any, path: str) -> float:
    """A number as JSON has it."""
    if isinstance(given, str):
        raise BadRequestError(f"{path} must be a number, zero or more", param=path)
    return _price(given, path)


def _price(given: Any, path: str) -> float:
    try:  # OpenRouter takes strings too
        limit = float("nan" if isinstance(given, bool) else given)
    except (TypeError, ValueError, OverflowError):
        limit = float("nan")
    # Nothing is over NaN, so as a limit it would be none.
    if not isfinite(limit) or limit < 0:
        raise BadRequestError(f"{path} must be a number, zero or more", param=path)
    return limit


def _agree(provider: str | None, wishes: Mapping[str, Any]) -> None:
    """Raises BadRequestError where `route.provider` is what `provider` rules out."""
    only = wishes.get("only")
    if provider and only and provider not in only:
        raise BadRequestError(
            f"route.provider {provider!r} is not in provider.only; name it there or leave one out",
            param="route.provider",
        )
    if provider and provider in wishes.get("ignore", ()):
        raise BadRequestError(
            f"route.provider {provider!r} is in provider.ignore; leave one out",
            param="route.provider",
        )


def _path(parent: str, name: str) -> str:
    return f"{parent}.{name}" if _NAME.fullmatch(name) else f"{parent}.(...)"
