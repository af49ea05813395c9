"""Who can serve what, and where: the values that routing chooses among."""

from collections.abc import Mapping
from urllib.parse import quote

import attrs

from lowproxy.core.cost import Prices
from lowproxy.core.eco import ModelFacts
from lowproxy.core.secret import Secret

PSEUDO_MODELS = ("lowrouter/auto", "lowrouter/auto-cheap")


@attrs.frozen
class Provider:
    """A company or a server that speaks one dialect under one account."""

    id: str
    dialect: str = "openai"
    credentials: tuple[Secret, ...] = ()  # none: the upstream wants no key
    currency: str = "USD"
    stream_options: bool = True  # accepts `stream_options.include_usage`
    pue: float | None = None  # facility energy / IT energy, where published
    auth_header: str = "authorization"  # or a header that holds the key alone
    # Members of a request's body under the provider's own names; "": it refuses the member.
    respells: tuple[tuple[str, str], ...] = ()


@attrs.frozen
class Endpoint:
    """One place where a provider serves: its URL, its region, its grid zone."""

    id: str
    provider: Provider
    region: str  # LowRouter's region name, such as "eu-west"
    base_url: str  # without a trailing slash; `chat_path` is appended
    zone: str | None = None  # grid zone, such as "FR"; None: the region's blend
    provenance: str = "declared"  # how sure the region is: contractual | declared | inferred | unknown
    chat_path: str = "/chat/completions"  # {model}: the upstream's name of the model


@attrs.frozen
class Model:
    """One model as one provider serves it. Prices are per million tokens, in the provider's currency."""

    id: str  # what callers ask for
    provider: str
    upstream_model: str  # what the provider calls it
    context_length: int | None = None
    capabilities: frozenset[str] = frozenset()
    price_prompt: float | None = None
    price_completion: float | None = None
    price_cached: float | None = None  # None: as price_prompt
    price_reasoning: float | None = None  # None: as price_completion
    max_output_tokens: int | None = None
    prices: Prices | None = None  # per token, in the billing currency; None: unknown
    facts: ModelFacts | None = None  # None: size unknown, so no eco figures


@attrs.frozen
class Candidate:
    """A model at an endpoint: one way to serve a request.

    `carbon_g_per_1k` (per 1000 tokens, typical request) and `price_per_1k` (US dollars or the provider's
    currency as it stands) are worked out once per snapshot; None is unknown and sorts last.
    """

    model: Model
    endpoint: Endpoint
    carbon_g_per_1k: float | None = None
    price_per_1k: float | None = None
    id: str = attrs.field(init=False)  # in traces and in health: `endpoint/model`
    chat_url: str = attrs.field(init=False, repr=False)
    by_carbon: tuple[float, float] = attrs.field(init=False, repr=False)
    by_price: tuple[float, float] = attrs.field(init=False, repr=False)

    @id.default
    def _id(self) -> str:
        return f"{self.endpoint.id}/{self.model.id}"

    @chat_url.default
    def _chat_url(self) -> str:
        path = self.endpoint.chat_path
        if "{model}" in path:
            path = path.replace("{model}", quote(self.model.upstream_model, safe=""))
        return self.endpoint.base_url + path

    @by_carbon.default
    def _by_carbon(self) -> tuple[float, float]:
        return _known(self.carbon_g_per_1k), _known(self.price_per_1k)

    @by_price.default
    def _by_price(self) -> tuple[float, float]:
        return _known(self.price_per_1k), _known(self.carbon_g_per_1k)


@attrs.frozen
class Pool:
    """Everything that can be routed to at one moment; swapped whole, never edited."""

    by_model: Mapping[str, tuple[Candidate, ...]]
    auto: tuple[str, ...] = ()  # model ids that the pseudo-models may pick from
    # Other names: the operator's, and ids without their namespace (`core.aliases`).
    aliases: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    bare: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)

    @property
    def regions(self) -> list[str]:
        """Known region names, sorted, for messages."""
        return sorted({c.endpoint.region for cs in self.by_model.values() for c in cs})

    @property
    def providers(self) -> list[str]:
        """Known provider ids, sorted, for messages."""
        return sorted(
            {c.endpoint.provider.id for cs in self.by_model.values() for c in cs}
        )


def region_matches(region: str, pin: str) -> bool:
    """Whether a place in `region` satisfies a pin: the same name, or `eu` for any `eu-...`."""
    return region == pin or region.startswith(pin + "-")


def _known(value: float | None) -> float:
    return float("inf") if value is None else value
