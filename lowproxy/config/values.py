"""The scalars of the configuration: what each may be, and the words when it is not.

Every function takes a TOML value and returns it checked, or raises ValueError that says
what was found and what would be right. A value that may be a secret is never repeated.
"""

import datetime
import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated
from urllib.parse import urlsplit

import attrs

from lowproxy.core.grid_kinds import KINDS
from lowproxy.core.upstreams import PSEUDO_MODELS

DIALECTS = ("openai",)
CAPABILITIES = ("tools", "vision", "structured_output", "reasoning", "audio")


@attrs.frozen
class Listen:
    """Where a port is opened: a host name or address, and a port (0: any free one).

    Or a Unix socket: its absolute path, and neither of the others.
    """

    host: str
    port: int
    path: str = ""

    @classmethod
    def parse(cls, value: object) -> "Listen":
        """Reads `HOST:PORT`, `[IPv6]:PORT` or `unix:/PATH`; raises ValueError."""
        if isinstance(value, str) and value.startswith("unix:"):
            path = value.removeprefix("unix:")
            # sockaddr_un has room for 108 bytes, the last of them zero.
            if not path.startswith("/") or len(path.encode()) > 107 or "\0" in path:
                raise _wrong(value, "unix: and an absolute path of at most 107 bytes")
            return cls("", 0, path)
        match = _LISTEN.fullmatch(value) if isinstance(value, str) else None
        if match is None or int(match["port"]) > 65535:
            raise _wrong(value, 'HOST:PORT, such as "127.0.0.1:8080" or "[::1]:8080"')
        return cls(match["v6"] or match["host"], int(match["port"]))

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it; a name other than localhost cannot be."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


_LISTEN = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})"
)


def shown(value: object) -> str:
    """A value as an error text repeats it: TOML's spelling, cut to a readable length."""
    match value:
        case bool():
            return "true" if value else "false"
        case Mapping():
            return "a table"
        case list():
            return "a list"
        case str() if len(value) > 60:
            return repr(value[:57] + "...")
        case str():
            return repr(value)
    return str(value)


def text(value: object) -> str:
    """A string; a number is not one."""
    if not isinstance(value, str):
        raise _wrong(value, "a string")
    return value


def flag(value: object) -> bool:
    """True or false; neither 1 nor "yes"."""
    if not isinstance(value, bool):
        raise _wrong(value, "true or false")
    return value


def integer(value: object) -> int:
    """A whole number; a bool is not one."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(value, "a whole number")
    return value


def number(value: object) -> float:
    """A finite number, whole or not."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong(value, "a number")
    if not math.isfinite(value):
        raise _wrong(value, "a finite number")
    return float(value)


def moment(value: object) -> datetime.datetime:
    """A TOML date and time; without an offset it is in UTC."""
    if not isinstance(value, datetime.datetime):
        raise _wrong(value, "a date and time such as 2027-01-31T00:00:00Z, unquoted")
    return value if value.tzinfo else value.replace(tzinfo=datetime.UTC)


def day(value: object) -> datetime.date:
    """A TOML date."""
    if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
        raise _wrong(value, "a date such as 2026-01-31, unquoted")
    return value


def name(value: object) -> str:
    """What a person reads in logs and tables: one line, not too long."""
    if not (isinstance(value, str) and value.isprintable() and 0 < len(value) <= 100):
        raise _wrong(value, "a name of 1 to 100 printable characters")
    return value


def _wrong(value: object, right: str) -> ValueError:
    return ValueError(f"found {shown(value)}, needs {right}")


def _pattern(pattern: str, right: str) -> Callable[[object], str]:
    compiled = re.compile(pattern)

    def check(value: object) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise _wrong(value, right)
        return value

    return check


def _secretive(pattern: str, right: str) -> Callable[[object], str]:
    """As `_pattern`, for options where people paste the secret itself by mistake."""
    check = _pattern(pattern, right)

    def quiet(value: object) -> str:
        try:
            return check(value)
        except ValueError:
            raise ValueError(f"needs {right} (not repeated here)") from None

    return quiet


def _one_of(*allowed: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in allowed:
            raise _wrong(value, one_of(allowed))
        return str(value)

    return check


def one_of(allowed: tuple[str, ...]) -> str:
    """The words for a choice: `"a", "b" or "c"`."""
    *most, last = (f'"{each}"' for each in allowed)
    return f"{', '.join(most)} or {last}" if most else last


def _count(value: object) -> int:
    if integer(value) < 1:
        raise _wrong(value, "1 or more")
    return integer(value)


def _amount(value: object) -> float:
    if number(value) < 0:
        raise _wrong(value, "0 or more")
    return number(value)


def _positive(value: object) -> float:
    if number(value) <= 0:
        raise _wrong(value, "more than 0")
    return number(value)


def _mode(value: object) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value):
        raise _wrong(value, 'permissions as "0660"')
    return int(value, 8)


def _model_id(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]+", value):
        raise _wrong(value, 'a model id without spaces, such as "acme/small"')
    if value in PSEUDO_MODELS:
        raise _wrong(value, "another id: this one is a pseudo-model")
    return value


def _targets(value: object) -> tuple[str, ...]:
    """Model ids, or pseudo-models, that an alias stands for: one, or several, best first."""
    listed = value if isinstance(value, list) else [value]
    if not listed or not all(
        isinstance(each, str) and re.fullmatch(r"[!-~]+", each) for each in listed
    ):
        raise _wrong(value, 'a model id such as "acme/small", or a list of them')
    return tuple(dict.fromkeys(listed))


def _zones(value: object) -> Mapping[str, str]:
    """Grid zones and what a source calls each; "" where only the zone is said."""
    if isinstance(value, list):
        return {_zone(each): "" for each in value}
    if isinstance(value, Mapping):
        return {_zone(each): name(called) for each, called in value.items()}
    raise _wrong(value, 'a list of grid zones, or a table such as { "FR" = "name" }')


def _base_url(value: object) -> str:
    right = "a URL such as https://api.acme.example/v1"
    url = text(value)
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        raise _wrong(value, right) from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("found a URL with a user or a password, needs one without")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        # Not repeated: what follows the question mark may be a key.
        raise ValueError(f"found a URL with a query or a fragment, needs {right}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _wrong(value, right)
    if not re.fullmatch(r"[!-~]+", url) or re.search(r"[{}]", _unfilled(url)):
        raise _wrong(value, right)
    return url.rstrip("/")


def _unfilled(url: str) -> str:
    """A URL or path without what is filled in later."""
    return url.replace("{account}", "").replace("{model}", "")


def _chat_path(value: object) -> str:
    path = text(value)
    if not re.fullmatch(r"/[!-~]*", path) or re.search(r"[{}#]", _unfilled(path)):
        right = "/deployments/{model}/chat/completions?api-version=2024-10-21"
        raise _wrong(value, f"a path such as {right}")
    return path


def _store_url(value: object) -> str:
    """A database; what may have a password is never repeated."""
    right = (
        "sqlite:///ABSOLUTE/PATH or postgresql://HOST/DATABASE, without a password"
        " (name the environment variable that holds the whole URL: url_env)"
    )
    url = text(value)
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and rest.strip("/"):
        return url
    if scheme in ("postgresql", "postgres") and not _has_password(url):
        return url
    raise ValueError(f"found another kind of URL, needs {right}")


def _shared_url(value: object) -> str:
    """A Valkey or Redis; likewise."""
    right = (
        "redis://HOST:PORT/NUMBER, rediss:// or unix://, without a password"
        " (name the environment variable that holds the whole URL: url_env)"
    )
    url = text(value)
    schemes = ("redis", "rediss", "valkey", "valkeys", "unix")
    if url.partition("://")[0] in schemes and not _has_password(url):
        return url
    raise ValueError(f"found another kind of URL, needs {right}")


def _has_password(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.password is not None or "password=" in parts.query
    except ValueError:
        return True


# The types of the rows' fields: what Python sees, and the check that a value passes.
Text = Annotated[str, text]
Flag = Annotated[bool, flag]
Count = Annotated[int, _count]
Amount = Annotated[float, _amount]  # seconds, money
Positive = Annotated[float, _positive]
Moment = Annotated[datetime.datetime, moment]
Day = Annotated[datetime.date, day]
Port = Annotated[Listen, Listen.parse]
Mode = Annotated[int, _mode]
Name = Annotated[str, name]
Id = Annotated[
    str,
    _pattern(r"[a-z0-9][a-z0-9._-]*", 'lower-case letters, digits and dashes: "acme"'),
]
ModelId = Annotated[str, _model_id]
Targets = Annotated[tuple[str, ...], _targets]
Region = Annotated[
    str,
    _pattern(r"[a-z0-9]+(?:-[a-z0-9]+)*", 'a lower-case region such as "eu-west"'),
]
_zone = _pattern(
    r"[A-Z]{2}(?:-[A-Z0-9]+)*", 'a grid zone such as "FR" or "US-CAL-CISO"'
)
Zone = Annotated[str, _zone]
Zones = Annotated[Mapping[str, str], _zones]
GridKindName = Annotated[str, _one_of(*KINDS)]
Factor = Annotated[str, _one_of("lifecycle", "direct")]
Signal = Annotated[str, _one_of("average", "marginal")]
BaseUrl = Annotated[str, _base_url]
ChatPath = Annotated[str, _chat_path]
Account = Annotated[
    str,
    _pattern(r"[A-Za-z0-9][A-Za-z0-9.-]*", 'letters, digits and dashes: "my-resource"'),
]
AuthHeader = Annotated[str, _one_of("authorization", "api-key", "x-api-key")]
EnvName = Annotated[
    str,
    _secretive(r"[A-Za-z_][A-Za-z0-9_]*|", "the name of an environment variable"),
]
KeyHash = Annotated[
    str,
    _secretive(
        r"sha256:[0-9a-f]{64}",
        '"sha256:" and 64 hexadecimal digits, as `lowproxy keys new NAME` prints it',
    ),
]
Currency = Annotated[str, _pattern(r"[A-Z]{3}", 'a currency code such as "EUR"')]
Capability = Annotated[str, _one_of(*CAPABILITIES)]
Dialect = Annotated[str, _one_of(*DIALECTS)]
Provenance = Annotated[str, _one_of("contractual", "declared", "inferred", "unknown")]
CallerServer = Annotated[str, _one_of("direct", "public")]
UpstreamClient = Annotated[str, _one_of("fast", "public")]
BudgetMode = Annotated[str, _one_of("soft", "hard")]
OnDisconnect = Annotated[str, _one_of("cancel", "drain", "bounded")]
LogFormat = Annotated[str, _one_of("auto", "json", "console")]
StoreUrl = Annotated[str, _store_url]
SharedUrl = Annotated[str, _shared_url]
OnFailure = Annotated[str, _one_of("open", "closed")]
