"""What the caller is told where nobody may serve: the most useful of the reasons."""

from collections.abc import Sequence

from lowproxy.core.access import ApiKey
from lowproxy.core.preferences import Preferences
from lowproxy.core.upstreams import Pool, region_matches
from lowproxy.errors import LowproxyError, NothingEligibleError, PermissionDeniedError

# Where only these speak against a candidate, the key is what is in the way: a 403.
_KEY_RULES = ("key.models", "key.providers")
# More reasons than this are no explanation.
_MOST = 5


def nothing_eligible(
    asked: str,
    key: ApiKey,
    wishes: Preferences,
    pool: Pool,
    rejections: Sequence[tuple[str, str, str]],
) -> LowproxyError:
    """The failure for `asked`; `rejections` are candidate, rule and reason of each."""
    known = ", ".join(pool.regions) or "none"
    pin = wishes.region
    if pin and not any(region_matches(region, pin) for region in pool.regions):
        return NothingEligibleError(
            f"no provider serves the region {pin!r}; known regions: {known}",
            param="route.region",
        )
    if wishes.zone and wishes.zone not in pool.zones:
        zones = ", ".join(pool.zones) or "none"
        return NothingEligibleError(
            f"no provider serves in the grid zone {wishes.zone!r}; known zones: {zones}",
            param="route.zone",
        )
    if wishes.provider and wishes.provider not in pool.providers:
        active = ", ".join(pool.providers) or "none"
        return NothingEligibleError(
            f"no provider {wishes.provider!r} is active; active: {active}",
            param="route.provider",
        )
    if rejections and all(rule in _KEY_RULES for _, rule, _ in rejections):
        return PermissionDeniedError(
            f"the key {key.name!r} allows nobody who serves {asked!r}",
            param="model",
        )
    reasons = sorted({f"{rule}: {reason}" for _, rule, reason in rejections})[:_MOST]
    return NothingEligibleError(
        f"nothing can serve {asked!r} under these constraints"
        f" ({'; '.join(reasons) or 'the pool is empty'}); known regions: {known}"
    )
