"""Configuration: TOML and environment in, one frozen `Config` out, or every mistake.

Nothing here opens a port. Merging with the built-in catalogue is `lowproxy.catalogue`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from lowproxy.config.credentials import FileSecret, from_environ
from lowproxy.config.deprecated import RENAMED, renewed
from lowproxy.config.feeds import FeedConfig, read_feeds
from lowproxy.config.money import rate_problems
from lowproxy.config.policy import api_key
from lowproxy.config.reading import did_you_mean, read_tables, read_toml
from lowproxy.config.rows import (
    Auto,
    Billing,
    CarbonBudgetRow,
    CatalogueOptions,
    Eco,
    EndpointRow,
    Grid,
    Health,
    KeyRow,
    Log,
    ModelRow,
    ProviderRow,
    Relay,
    Routing,
    Server,
    Shared,
    Store,
    Timeouts,
    Upstream,
)
from lowproxy.config.state import Places, locate
from lowproxy.config.tls import placed_server, placed_upstream, tls_problems
from lowproxy.config.values import DIALECTS, Listen
from lowproxy.core.access import ApiKey
from lowproxy.core.grid_reading import MARGINAL
from lowproxy.core.keys import MIN_KEY_CHARS, hash_key
from lowproxy.core.secret import Secret
from lowproxy.core.tunnel import Proxy
from lowproxy.errors import ConfigError

__all__ = [
    "DIALECTS",
    "ENV_KEY",
    "Auto",
    "Billing",
    "CarbonBudgetRow",
    "CatalogueOptions",
    "Config",
    "Eco",
    "EndpointRow",
    "FeedConfig",
    "FileSecret",
    "Health",
    "KeyRow",
    "Listen",
    "Log",
    "ModelRow",
    "Places",
    "ProviderRow",
    "Relay",
    "Routing",
    "Server",
    "Shared",
    "Store",
    "Timeouts",
    "Upstream",
    "did_you_mean",
    "find",
    "load",
    "read",
    "read_tables",
    "unheard",
]

ENV_KEY = "LOWROUTER_API_KEY"
# The admin port of instance n is this plus n: instance 1 has the usual one.
BASE_PORT = 8080
SEARCHED = (Path("lowproxy.toml"), Path("/etc/lowproxy/lowproxy.toml"))


@attrs.frozen
class Config:
    """Everything the operator said. `keys` is empty where none is configured."""

    server: Server = attrs.field(factory=Server)
    timeouts: Timeouts = attrs.field(factory=Timeouts)
    upstream: Upstream = attrs.field(factory=Upstream)
    proxy: Proxy | None = None  # the environment's, towards providers
    relay: Relay = attrs.field(factory=Relay)
    health: Health = attrs.field(factory=Health)
    log: Log = attrs.field(factory=Log)
    eco: Eco = attrs.field(factory=Eco)
    feeds: tuple[FeedConfig, ...] = ()
    store: Store = attrs.field(factory=Store)
    shared: Shared = attrs.field(factory=Shared)
    places: Places = attrs.field(factory=Places)  # of the two above
    carbon_budget: CarbonBudgetRow = attrs.field(factory=CarbonBudgetRow)
    billing: Billing = attrs.field(factory=Billing)
    auto: Auto = attrs.field(factory=Auto)
    routing: Routing = attrs.field(factory=Routing)
    aliases: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    catalogue: CatalogueOptions = attrs.field(factory=CatalogueOptions)
    keys: tuple[ApiKey, ...] = ()
    providers: tuple[ProviderRow, ...] = ()
    models: tuple[ModelRow, ...] = ()
    admin_key: Secret | None = None  # of the admin port's `/keys`
    path: Path | None = None  # the file it was read from
    deprecated: tuple[str, ...] = ()  # old names that were used, and their successors
    lost: bool = False  # rows could not be read: what refers to them cannot be judged


def find(path: Path | None, searched: tuple[Path, ...] = SEARCHED) -> Path | None:
    """The file to read: the one given, else the first of `searched` that exists."""
    return path or next((each for each in searched if each.exists()), None)


def load(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    listen: str | None = None,
    admin_listen: str | None = None,
    instance: int | None = None,
    searched: tuple[Path, ...] = SEARCHED,
) -> Config:
    """As `read`, but raises ConfigError where anything is wrong."""
    config, problems = read(
        path,
        environ,
        listen=listen,
        admin_listen=admin_listen,
        instance=instance,
        searched=searched,
    )
    if problems:
        raise ConfigError(problems)
    return config


def read(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    listen: str | None = None,
    admin_listen: str | None = None,
    instance: int | None = None,
    searched: tuple[Path, ...] = SEARCHED,
) -> tuple[Config, list[str]]:
    """Reads the file that `find` gives: what could be understood, and what is wrong.

    `listen` and `admin_listen` are the command line's and win over the file's. `instance` n is one of
    several on one machine: they share the API's port, and the admin port is BASE_PORT + n. Raises
    ConfigError where the file cannot be read or is not TOML.
    """
    path = find(path, searched)
    folder = path.parent if path else Path()
    tables, deprecated, problems = renewed(read_toml(path) if path else {}, RENAMED)
    rows, misread = read_tables(tables)
    lost = any(name in tables and name not in rows for name in ("providers", "models"))
    server: Server = rows.pop("server", Server())
    try:
        if listen is not None:
            server = attrs.evolve(server, listen=Listen.parse(listen))
    except ValueError as exc:
        problems.append(f"--listen: {exc}")
    try:
        if admin_listen is not None:
            server = attrs.evolve(server, admin_listen=Listen.parse(admin_listen))
    except ValueError as exc:
        problems.append(f"--admin-listen: {exc}")
    if instance is not None:
        server = _instance(server, instance, problems)
    server = placed_server(server, folder)
    upstream = placed_upstream(rows.pop("upstream", Upstream()), folder)
    problems += tls_problems(server, upstream)
    proxy = None
    try:
        proxy = Proxy.read(environ)
    except ValueError as exc:
        problems.append(str(exc))
    key_rows: tuple[KeyRow, ...] = rows.pop("keys", ())
    keys = _keys(key_rows, environ, problems)
    if not any(problem.startswith(("keys", "server", ENV_KEY)) for problem in problems):
        problems += _exposed(
            server, key_rows, keys, environ, rows.get("store", Store())
        )
    grid: Grid = rows.pop("grid", Grid())
    feeds, wrong = read_feeds(grid.sources, environ, folder)
    problems += wrong
    places, wrong = locate(
        rows.get("store", Store()), rows.get("shared", Shared()), environ
    )
    problems += wrong
    problems += rate_problems(rows.get("billing", Billing()))
    admin_key, wrong = _admin_key(server, environ, path.parent if path else Path())
    problems += wrong
    problems += _ports(server)
    problems += _routing(rows.get("routing", Routing()), grid)
    problems += _duplicates(rows.get("providers", ()), rows.get("models", ()))
    problems = misread + unheard(problems, misread)
    config = Config(
        server=server,
        upstream=upstream,
        proxy=proxy,
        keys=keys,
        feeds=feeds,
        places=places,
        admin_key=admin_key,
        path=path,
        lost=lost,
        deprecated=tuple(deprecated),
        **rows,
    )
    return config, problems


def _routing(routing: Routing, grid: Grid) -> list[str]:
    """Weights that weigh nothing, a pin that nothing could satisfy, a signal that nobody sends."""
    problems = [
        f"routing.{name}: all weights are 0, needs one that is more"
        for name in ("low_carbon", "standard", "cheap")
        if not any(attrs.astuple(getattr(routing, name)))
    ]
    if not routing.accept_provenance:
        problems.append(
            'routing.accept_provenance: empty, needs "contractual" at least'
        )
    if routing.carbon_signal == MARGINAL and not any(
        row.signal == MARGINAL for row in grid.sources
    ):
        problems.append(
            'routing.carbon_signal: found "marginal", needs a [[grid.sources]] row with signal = "marginal"'
        )
    return problems


def unheard(problems: list[str], told: list[str]) -> list[str]:
    """Those of `problems` that do not come of what was told already.

    Of the same option, of one within it, or endpoints that are missing where the provider's row has a
    mistake: they may stand under the wrong name.
    """
    paths = [each.partition(": ")[0] for each in told]

    def follows(own: str) -> bool:
        row = own.removesuffix("endpoints") if own.endswith(".endpoints") else f"{own}."
        return any(path == own or path.startswith((row, f"{own}[")) for path in paths)

    return [each for each in problems if not follows(each.partition(": ")[0])]


def _keys(
    rows: tuple[KeyRow, ...], environ: Mapping[str, str], problems: list[str]
) -> tuple[ApiKey, ...]:
    """The callers' keys, the environment's own last; adds what is wrong with them."""
    keys: list[ApiKey] = []
    for i, row in enumerate(rows):
        try:
            digest = _digest(row, environ)
        except ValueError as exc:
            problems.append(f"keys[{i}]{exc}")
            continue
        if any(key.name == row.name for key in keys):
            problems.append(f"keys[{i}].name: found {row.name!r} twice, needs another")
        if any(key.hash == digest for key in keys):
            problems.append(f"keys[{i}]: the same key as an earlier row")
        keys.append(api_key(row, digest))
    if environ.get(ENV_KEY, "").strip() and all(r.key_env != ENV_KEY for r in rows):
        try:
            digest = hash_key(from_environ(ENV_KEY, environ))
        except ValueError as exc:
            problems.append(f"{ENV_KEY}: {exc}")
        else:
            if all(key.hash != digest for key in keys):
                keys.append(ApiKey(name=ENV_KEY, hash=digest))
    return tuple(keys)


def _digest(row: KeyRow, environ: Mapping[str, str]) -> str:
    if bool(row.hash) == bool(row.key_env):
        found = "both" if row.hash else "neither"
        raise ValueError(f": found {found} of hash and key_env, needs one of them")
    if row.hash:
        return row.hash
    try:
        return hash_key(from_environ(row.key_env or "", environ))
    except ValueError as exc:
        raise ValueError(f".key_env: {exc}") from None


def _exposed(
    server: Server,
    rows: tuple[KeyRow, ...],
    keys: tuple[ApiKey, ...],
    environ: Mapping[str, str],
    store: Store,
) -> list[str]:
    """What forbids listening where other machines can reach us."""
    if server.listen.loopback:
        return []
    reach = f"other machines can reach {server.listen}"
    if not keys and not store.named:  # a store has keys, or lets nobody in
        right = f"a [[keys]] row (`lowproxy keys new NAME`), {ENV_KEY} to be set, or store.url"
        return [f"server.listen: {reach}, and there is no key; needs {right}"]
    named = {f"keys[{i}].key_env": r.key_env for i, r in enumerate(rows) if r.key_env}
    if ENV_KEY in {key.name for key in keys}:
        named[ENV_KEY] = ENV_KEY
    lengths = {p: len(from_environ(n, environ)) for p, n in named.items()}
    return [
        f"{place}: {reach}, and this key has {length} characters; "
        f"needs {MIN_KEY_CHARS} or more (`lowproxy keys new NAME` prints one)"
        for place, length in lengths.items()
        if length < MIN_KEY_CHARS
    ]


def _admin_key(
    server: Server, environ: Mapping[str, str], folder: Path
) -> tuple[Secret | None, list[str]]:
    """The credential of the admin port's `/keys`: None where there is none; and what is wrong with it."""
    option = "admin_key_env" if server.admin_key_env else "admin_key_file"
    path = f"server.{option}"
    try:
        if server.admin_key_env and server.admin_key_file:
            problem = "found both admin_key_env and admin_key_file, needs one of them"
            return None, [f"server: {problem}"]
        if server.admin_key_env:
            secret = Secret(from_environ(server.admin_key_env, environ))
        elif server.admin_key_file:
            secret = FileSecret(folder / server.admin_key_file)
        else:
            return None, []
    except ValueError as exc:
        return None, [f"{path}: {exc}"]
    if (length := len(secret.reveal())) < MIN_KEY_CHARS:
        right = f"{MIN_KEY_CHARS} or more: it makes keys"
        return None, [f"{path}: this credential has {length} characters; needs {right}"]
    return secret, []


def _instance(server: Server, number: int, problems: list[str]) -> Server:
    """One of several: the API's port shared, the admin port its own."""
    port = BASE_PORT + number
    if number < 1 or port > 65535:
        problems.append(f"--instance: found {number}, needs 1 or more")
        return server
    if server.admin_listen.path:
        problems.append("--instance: needs server.admin_listen to be HOST:PORT")
        return server
    admin = attrs.evolve(server.admin_listen, port=port)
    return attrs.evolve(server, admin_listen=admin, reuse_port=True)


def _ports(server: Server) -> list[str]:
    if server.reuse_port and server.listen.path:
        return ["server.reuse_port: a Unix socket has one owner; needs HOST:PORT"]
    if server.listen.path and server.listen.path == server.admin_listen.path:
        return [f"server.admin_listen: found {server.listen}, as server.listen"]
    if server.listen.port and server.listen == server.admin_listen:
        return [
            f"server.admin_listen: found {server.listen}, the same as server.listen"
        ]
    return []


def _duplicates(
    providers: tuple[ProviderRow, ...], models: tuple[ModelRow, ...]
) -> list[str]:
    """Rows of the file that say the same id twice."""
    named: list[tuple[str, Any]] = []
    for i, row in enumerate(providers):
        named.append((f"providers[{i}].id", row.id))
        named += [
            (f"providers[{i}].endpoints[{j}].id", ("endpoint", endpoint.id))
            for j, endpoint in enumerate(row.endpoints)
            if endpoint.id
        ]
    named += [
        (f"models[{i}].id", (row.id, row.served_by)) for i, row in enumerate(models)
    ]
    seen: dict[Any, str] = {}
    problems = []
    for path, key in named:
        if key in seen:
            name = key if isinstance(key, str) else key[key[0] == "endpoint"]
            problems.append(f"{path}: found {name!r} again, first at {seen[key]}")
        seen.setdefault(key, path)
    return problems
