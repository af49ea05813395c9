"""What a request says about its own routing: `route`, the region header, OpenRouter's `provider`."""

from collections.abc import Mapping
from typing import Any, Self

import attrs

from lowproxy.errors import BadRequestError

_ROUTE = {
    "region": str,
    "provider": str,
    "prefer_low_carbon": bool,
    "fallback": bool,
    "eco": str,
}
_NAMES = {str: "a non-empty string", bool: "true or false"}
_LISTS = ("order", "only", "ignore")
_SORTS = ("price",)
_ECO = ("full", "short")


@attrs.frozen(cache_hash=True)
class Preferences:
    """The request's own constraints and wishes; None and empty say nothing.

    `fallback` is about other regions, `allow_fallbacks` about any second candidate at all. `max_price_*`
    are in the provider's currency per million tokens.
    """

    region: str | None = None
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
    # How much is told afterwards, "full" or "short": no two routes differ by it.
    eco: str | None = attrs.field(default=None, eq=False)

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
        if "route" not in body and "provider" not in body:
            if eco:
                return cls(region=region_header or None, eco=eco)
            return cls(region=region_header) if region_header else _NOTHING
        route = _route(body.get("route"))
        wishes = _provider(body.get("provider"))
        only = wishes.get("only")
        if only and route.get("provider") and route["provider"] not in only:
            raise BadRequestError(
                f"route.provider {route['provider']!r} is not in provider.only; name it there or leave one out",
                param="route.provider",
            )
        region = route.pop("region", None) or region_header or None
        eco = _eco(route.pop("eco", None), "route.eco") or eco
        return cls(region=region, eco=eco, **route, **wishes)


_NOTHING: Any = Preferences()


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
        kind = _ROUTE.get(name)
        if kind is None:
            known = ", ".join(_ROUTE)
            raise BadRequestError(
                f"route.{name}: no such field; there are {known}", param=f"route.{name}"
            )
        if given is not None and (not isinstance(given, kind) or given == ""):
            raise BadRequestError(
                f"route.{name} must be {_NAMES[kind]}", param=f"route.{name}"
            )
    return {name: given for name, given in value.items() if given is not None}


def _provider(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequestError("provider must be an object", param="provider")
    wishes: dict[str, Any] = {}
    for name, given in value.items():
        path = f"provider.{name}"
        if given is None:
            continue
        if name in _LISTS:
            if not isinstance(given, list) or not all(
                isinstance(each, str) for each in given
            ):
                raise BadRequestError(
                    f"{path} must be a list of provider ids", param=path
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
        path = f"provider.max_price.{name}"
        if name not in ("prompt", "completion"):
            raise BadRequestError(
                f"{path}: no such field; there are prompt, completion", param=path
            )
        try:  # OpenRouter takes strings too
            limits[f"max_price_{name}"] = float(given)
        except (TypeError, ValueError):
            raise BadRequestError(f"{path} must be a number", param=path) from None
    return limits
