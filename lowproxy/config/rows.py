"""The parts of the configuration file, one frozen class per table.

In rows that merge with the built-in catalogue (providers, endpoints, models) None means
"not said here"; the defaults are applied after the merge.
"""

import attrs

from lowproxy.config.values import (
    Account,
    Amount,
    AuthHeader,
    BaseUrl,
    BudgetMode,
    CallerServer,
    Capability,
    ChatPath,
    Count,
    Currency,
    Day,
    Dialect,
    EnvName,
    Factor,
    Flag,
    GridKindName,
    Id,
    KeyHash,
    Listen,
    LogFormat,
    Mode,
    ModelId,
    Moment,
    Name,
    OnDisconnect,
    OnFailure,
    Port,
    Positive,
    Provenance,
    Region,
    SharedUrl,
    Signal,
    StoreUrl,
    Targets,
    Text,
    UpstreamClient,
    Zone,
    Zones,
)
from lowproxy.core.breaker import Limits
from lowproxy.core.carbon_budget import MOST_PRICE

_API = Listen("127.0.0.1", 8080)
_ADMIN = Listen("127.0.0.1", 8081)
_LIMITS = Limits()


@attrs.frozen
class Server:
    """`[server]`: the two ports and the largest request body, as sent and as decoded."""

    listen: Port = _API
    admin_listen: Port = _ADMIN
    # Room for a few images as data URLs; the first limit people run into elsewhere.
    max_body_bytes: Count = 32 * 1024 * 1024
    # The credential of the admin port's `/keys`; without one nobody is let in there.
    admin_key_env: EnvName | None = None
    admin_key_file: Text | None = None
    # Beyond it a 503 with Retry-After: what is open costs memory, about 20 kB for a stream.
    max_requests: Count = 10_000
    # Several processes on one port, between which the kernel spreads connections.
    reuse_port: Flag = False
    # Of a Unix socket: whoever is in its group may call, as with a database on the same machine.
    socket_mode: Mode = 0o660
    socket_group: Text | None = None
    # TLS of our own, where there is no front; the admin port has none.
    tls_cert_file: Text | None = None
    tls_key_file: Text | None = None
    # Not ready and serving on, until load balancers have noticed: none is known to be there.
    stop_delay_s: Amount = 0.0
    # How long a kept-alive connection that is idle is still served when stopping. The usual SDK's pool
    # (httpx) uses none that has been idle for 5 s, so that none is closed as a request comes.
    linger_s: Amount = 5.0
    # Whether a change of the file is a reload, as SIGHUP is: not for a file that is being edited.
    watch_config: Flag = False


@attrs.frozen
class Timeouts:
    """`[timeouts]`, in seconds; 0 is none."""

    connect_s: Amount = 5.0
    first_byte_s: Amount = 120.0  # of a stream
    unary_s: Amount = 600.0  # a whole unary answer: models think for minutes
    # All attempts of one request together: openai-python gives up after as long.
    attempts_s: Amount = 600.0
    idle_s: Amount = 60.0  # between two reads of a stream
    total_s: Amount = 0.0
    drain_s: Amount = 30.0
    body_s: Amount = 60.0  # to receive a request body


@attrs.frozen
class Upstream:
    """`[upstream]`: on TLS to providers. A private CA is trusted beside the system's; who we are."""

    ca_file: Text | None = None
    client_cert_file: Text | None = None
    client_key_file: Text | None = None  # default: in client_cert_file


@attrs.frozen
class Relay:
    """`[relay]`: what happens upstream when the caller goes away, and while it waits.

    `drain_limit_s` is how long `bounded` reads on. `comment_every_s`: a stream that has sent nothing for
    so long gets a comment, for the sake of load balancers in between; 0 is never, since the first one
    commits the status 200. `upstream_client`: our own connections, or aiohttp's public client, which
    costs a request several times as much and stands on documented interfaces only. `caller_server`:
    likewise, answers written by ourselves or through aiohttp's server.
    """

    upstream_client: UpstreamClient = "fast"
    caller_server: CallerServer = "direct"
    on_disconnect: OnDisconnect = "cancel"
    drain_limit_s: Positive = 30.0
    comment_every_s: Amount = 0.0


@attrs.frozen
class Health:
    """`[health]`: when an upstream's model is taken to be in trouble, and what follows.

    `failures` in a row, or `error_rate` of at least `min_requests` recent ones (each counts half after
    `half_life_s`), let it rest: for `rest_s` others are asked first, then one request tries it. A credential
    that was refused rests for `credential_rest_s`. A Retry-After is kept for `retry_after_max_s` at the most.
    `max_attempts` is how often one request may be sent.
    """

    failures: Count = _LIMITS.failures
    error_rate: Positive = _LIMITS.error_rate
    min_requests: Count = _LIMITS.min_requests
    half_life_s: Positive = _LIMITS.half_life_s
    rest_s: Positive = _LIMITS.rest_s
    credential_rest_s: Positive = _LIMITS.credential_rest_s
    retry_after_max_s: Amount = _LIMITS.retry_after_max_s
    # Enough to get past one bad region; each may take a connect time-out.
    max_attempts: Count = 6

    @property
    def limits(self) -> Limits:
        """What the breakers go by."""
        own = attrs.asdict(self)
        del own["max_attempts"]
        return Limits(**own)


@attrs.frozen
class Log:
    """`[log]`: the form of the log (auto: by whether it is a terminal), access lines."""

    format: LogFormat = "auto"
    access: Flag = True


@attrs.frozen
class Eco:
    """`[eco]`: the version of the method (None: the newest) and how much is told."""

    methodology: Name | None = None
    full: Flag = False


@attrs.frozen
class GridRow:
    """`[[grid.sources]]`: a live source of carbon intensity; earlier rows go before later ones.

    `zones`: all that it is asked for, as a list, or as a table to the source's own names. None means the
    kind's own (`lowproxy.core.grid_kinds`). A `marginal` figure is for ranking alone: `Routing.carbon_signal`.
    """

    kind: GridKindName
    signal: Signal = "average"
    zones: Zones | None = None
    factor: Factor = "lifecycle"
    token_env: EnvName | None = None
    token_file: Text | None = None
    url: BaseUrl | None = None
    path: Text | None = None  # of kind "file"
    refresh_s: Positive | None = None
    max_age_s: Positive | None = None
    timeout_s: Positive = 10.0  # of one question, from the first byte to the last


@attrs.frozen
class Grid:
    """`[grid]`: where live readings come from; none: the annual table alone."""

    sources: tuple[GridRow, ...] = ()


@attrs.frozen
class Store:
    """`[store]`: where the records of requests, and keys made by `lowproxy keys`, are kept.

    Without `url` and `url_env` it is an SQLite file in the state directory
    (`lowproxy.config.state`).
    """

    enabled: Flag = True
    url: StoreUrl | None = None
    url_env: EnvName | None = None  # for a URL with a password
    # What a killed process loses at most; each flush is one transaction.
    flush_interval_s: Positive = 1.0
    # A database that takes longer is as good as gone: records go to the spill file.
    timeout_s: Positive = 5.0
    retention_days: Count = 396  # 13 months: a year can be compared with the last
    spill_dir: Text | None = None  # default: the state directory
    # About 200 000 records; what comes when it is full is lost, and counted.
    spill_max_bytes: Count = 256 * 1024 * 1024

    @property
    def named(self) -> bool:
        """Whether the configuration says which: the default one depends on who asks."""
        return self.enabled and bool(self.url or self.url_env)


@attrs.frozen
class Shared:
    """`[shared]`: a Valkey or Redis through which several gateways share their limits.

    `timeout_s` is what a request waits for it at most; `on_failure` what follows then:
    `open` goes by this process's own counts, `closed` refuses keys that have limits.
    """

    url: SharedUrl | None = None
    url_env: EnvName | None = None
    # Twenty times what it takes within a data centre, and nothing a caller feels.
    timeout_s: Positive = 0.05
    on_failure: OnFailure = "open"
    # One that failed is asked again after this long.
    rest_s: Positive = 1.0
    prefix: Name = "lowrouter"  # of every name there, so that one server can have two


@attrs.frozen
class CarbonBudgetRow:
    """`[carbon_budget]`: grams of CO2 equivalent that all answers together may take in any 24 hours.

    `soft` steers towards cleaner candidates as it runs short, `hard` answers 402 once it is spent.
    `most_price`: what a gram costs at most in the comparison, in the currency of the prices.
    """

    g_per_day: Positive | None = None
    mode: BudgetMode = "soft"
    most_price: Positive = MOST_PRICE


@attrs.frozen
class Auto:
    """`[auto]`: the models that the pseudo-models may pick from; empty: all.

    `min_quality` is on the scale of the models' own `quality`; who has none is then not picked.
    """

    models: tuple[ModelId, ...] = ()
    min_quality: Amount | None = None


@attrs.frozen
class WeightsRow:
    """What the terms of a score weigh, in proportion; a term that is not named weighs nothing."""

    carbon: Amount = 0.0
    latency: Amount = 0.0
    price: Amount = 0.0


@attrs.frozen
class Routing:
    """`[routing]`: whose word on a region a pin takes, and what a score weighs.

    `low_carbon` is for requests that prefer it, as they do unless the key or the request says no;
    `standard` for the others, `cheap` for lowrouter/auto-cheap. `affinity`: a conversation stays where its
    prefix is cached unless leaving pays, for `affinity_ttl_s` after each answer.
    """

    accept_provenance: tuple[Provenance, ...] = ("contractual", "declared")
    # What the grams of a score are made with. "marginal" needs sources of that signal; it weighs no answer.
    carbon_signal: Signal = "average"
    low_carbon: WeightsRow = WeightsRow(0.7, 0.15, 0.15)
    standard: WeightsRow = WeightsRow(0.1, 0.3, 0.6)
    cheap: WeightsRow = WeightsRow(0.1, 0.1, 0.8)
    # On, since a lost prefix costs more than a cleaner grid saves, and short prompts do not pay for it.
    affinity: Flag = True
    affinity_ttl_s: Positive = 300.0  # what most providers promise of their caches


# `[aliases]`: names of the operator's own, each for one model or for several, best first.
Aliases = dict[ModelId, Targets]


@attrs.frozen
class RateRow:
    """`[[billing.rates]]`: what one unit of a currency is worth in the billing currency, and since when."""

    currency: Currency
    value: Positive
    date: Day
    source: Text | None = None  # such as the European Central Bank's reference rates


@attrs.frozen
class Billing:
    """`[billing]`: the one currency of costs and budgets, and the rates of others."""

    currency: Currency = "USD"  # what most providers are paid in
    rates: tuple[RateRow, ...] = ()


@attrs.frozen
class CatalogueOptions:
    """`[catalogue]`: whether the built-in one is used."""

    enabled: Flag = True


@attrs.frozen
class KeyRow:
    """`[[keys]]`: a caller's key, as a hash or by the environment variable it is in."""

    name: Name
    hash: KeyHash | None = None
    key_env: EnvName | None = None
    models: tuple[Name, ...] = ()
    providers: tuple[Id, ...] = ()
    region: Region | None = None
    prefer_low_carbon: Flag = True
    expires_at: Moment | None = None
    enabled: Flag = True
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    max_streams: Count | None = None  # at a time
    daily_limit: Amount | None = None  # money, in billing.currency; days are UTC's
    monthly_limit: Amount | None = None
    daily_carbon_g: Amount | None = None


@attrs.frozen
class EndpointRow:
    """`[[providers.endpoints]]`: one place that serves a provider's models."""

    id: Id | None = None  # default: provider, region and a number
    region: Region | None = None
    zone: Zone | None = None
    base_url: BaseUrl | None = None  # may hold {account}
    account: Account | None = None  # a resource or product of the operator's
    chat_path: ChatPath | None = None  # may hold {model}, and end in a query
    api_key_env: EnvName | None = None  # where this place wants a key of its own
    provenance: Provenance | None = None
    source: Text | None = None
    source_date: Day | None = None
    enabled: Flag | None = None


@attrs.frozen
class ProviderRow:
    """`[[providers]]`: an account that speaks one dialect, with its endpoints."""

    id: Id
    dialect: Dialect | None = None
    api_key_env: EnvName | None = None  # "": none is needed
    api_key_envs: tuple[EnvName, ...] | None = None
    api_key_file: Text | None = None
    currency: Currency | None = None
    auth_header: AuthHeader | None = None  # default: Authorization, as a Bearer
    stream_options: Flag | None = None
    reports_energy_late: Flag | None = None  # in a comment behind a stream's usage
    drops: tuple[Name, ...] | None = None  # members of a request that it refuses
    renames: dict[Name, Name] | None = None  # members that have another name there
    pue: Positive | None = None
    endpoints: tuple[EndpointRow, ...] = ()
    source: Text | None = None
    source_date: Day | None = None
    enabled: Flag | None = None


@attrs.frozen
class ModelRow:
    """`[[models]]`: one model as one provider serves it; prices per million tokens."""

    id: ModelId
    provider: Id | None = None  # default: the part of the id before the slash
    upstream_model: ModelId | None = None
    context_length: Count | None = None
    capabilities: tuple[Capability, ...] | None = None
    price_prompt: Amount | None = None
    price_completion: Amount | None = None
    price_cached: Amount | None = None  # of the prompt; default: price_prompt
    price_reasoning: Amount | None = None  # default: price_completion
    max_output_tokens: Count | None = None
    quality: Amount | None = None  # an index of the operator's own, on any scale
    answer_tokens: Count | None = None  # of a usual answer
    total_params_b: Positive | None = None
    active_params_b: Positive | None = None
    weight_bits: Positive | None = None
    params_source: Text | None = None
    source: Text | None = None
    source_date: Day | None = None
    enabled: Flag | None = None

    @property
    def served_by(self) -> str | None:
        """The provider, said or taken from the id; None where neither names one."""
        namespace, slash, _ = self.id.partition("/")
        return self.provider or (namespace if slash else None)


# Every table of the file and what it holds.
TABLES: dict[str, object] = {
    "server": Server,
    "timeouts": Timeouts,
    "upstream": Upstream,
    "relay": Relay,
    "health": Health,
    "log": Log,
    "eco": Eco,
    "grid": Grid,
    "store": Store,
    "shared": Shared,
    "carbon_budget": CarbonBudgetRow,
    "billing": Billing,
    "auto": Auto,
    "routing": Routing,
    "aliases": Aliases,
    "catalogue": CatalogueOptions,
    "keys": tuple[KeyRow, ...],
    "providers": tuple[ProviderRow, ...],
    "models": tuple[ModelRow, ...],
}
