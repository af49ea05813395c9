"""What a key may do, between the words of a row and the values that requests are judged by.

The same words serve the configuration file, the key store, `lowproxy keys` and the admin API.
"""

import datetime
from collections.abc import Mapping
from typing import Any

import attrs

from lowproxy.config.reading import read_tables
from lowproxy.config.rows import KeyRow
from lowproxy.core.access import ApiKey
from lowproxy.core.cost import decimal, nano
from lowproxy.core.limits import Limits

UG_PER_G = 1_000_000
# What a key is found by, and what says what it may do.
_IDENTITY = ("name", "hash", "key_env")
POLICY = tuple(f.name for f in attrs.fields(KeyRow) if f.name not in _IDENTITY)


def api_key(row: KeyRow, digest: str) -> ApiKey:
    """The key of a row whose secret has this hash."""
    return ApiKey(
        name=row.name,
        hash=digest,
        models=row.models,
        providers=row.providers,
        region=row.region,
        prefer_low_carbon=row.prefer_low_carbon,
        expires_at=row.expires_at.timestamp() if row.expires_at else None,
        enabled=row.enabled,
        limits=_limits(row),
    )


def read_policy(
    name: str, fields: Mapping[str, Any], where: str = ""
) -> tuple[KeyRow | None, list[str]]:
    """A row out of JSON's values, or one line per mistake; null is as if the field were not there.

    `expires_at` is an ISO 8601 string. `where` begins each line.
    """
    said = {key: value for key, value in fields.items() if value is not None}
    moment = said.get("expires_at")
    if isinstance(moment, str):
        try:
            said["expires_at"] = datetime.datetime.fromisoformat(moment)
        except ValueError:
            right = "a date and time such as 2027-01-31T00:00:00Z"
            return None, [f"{where}expires_at: found {moment[:40]!r}, needs {right}"]
    own = [
        f"{where}{key}: no option of a stored key's policy"
        for key in said
        if key in _IDENTITY
    ]
    rows, problems = read_tables({"keys": [{**said, "name": name}]})
    problems = own + [each.replace("keys[0].", where, 1) for each in problems]
    return (None if problems else rows["keys"][0]), problems


def written(row: KeyRow) -> dict[str, Any]:
    """The policy as JSON's values, `read_policy`'s opposite; what is as it always is, is left out."""
    fields: dict[str, Any] = {}
    for field in attrs.fields(KeyRow):
        value = getattr(row, field.name)
        if field.name in POLICY and value != field.default:
            if isinstance(value, datetime.datetime):
                value = value.isoformat()
            fields[field.name] = list(value) if isinstance(value, tuple) else value
    return fields


def _limits(row: KeyRow) -> Limits | None:
    carbon = row.daily_carbon_g
    limits = Limits(
        requests_per_minute=row.requests_per_minute,
        tokens_per_minute=row.tokens_per_minute,
        max_streams=row.max_streams,
        daily_nano=None if row.daily_limit is None else nano(row.daily_limit),
        monthly_nano=None if row.monthly_limit is None else nano(row.monthly_limit),
        daily_carbon_ug=None if carbon is None else int(decimal(carbon) * UG_PER_G),
    )
    return None if limits == Limits() else limits
