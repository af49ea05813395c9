"""Who can serve what, and where: the values that routing chooses among."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import attrs

from lowproxy.core.cost import NANO, Prices
from lowproxy.core.eco import ModelFacts
from lowproxy.core.expected import ANSWER_TOKENS, Grams, Line, TokenPrices, line
from lowproxy.core.headers import lines
from lowproxy.core.policy import Policy
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
    # Tells a stream's energy in a comment behind the usage: a held final chunk waits for it.
    energy_late: bool = False
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
    # The lines in the head of each answer from here.
    told: str = attrs.field(init=False, repr=False, eq=False)

    @told.default
    def _told(self) -> str:
        here = (self.provider.id, self.region)
        names = ("X-LowRouter-Provider", "X-LowRouter-Region")
        return lines(zip(names, here, strict=True))


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
    quality: float | None = None  # the operator's own index; any scale
    answer_tokens: int = ANSWER_TOKENS  # of a usual answer


# What is not known of a candidate, as bits of `Candidate.gaps`.
NO_GRAMS, NO_PRICE = 1, 2


@attrs.frozen
class Candidate:
    """A model at an endpoint: one way to serve a request.

    `carbon_g_per_1k` (per 1000 tokens, typical request) and `price_per_1k` (in the provider's currency as
    it stands) are for tables; `grams` and `prices` are what a request is weighed with. All are worked out
    once per snapshot; None is unknown. `tokens_per_s` is published, not measured here. `ranked` is what the
    grams of its score are made from: `grams`, unless the operator ranks by another signal.
    """

    model: Model
    endpoint: Endpoint
    carbon_g_per_1k: float | None = None
    price_per_1k: float | None = None
    grams: Grams | None = attrs.field(repr=False)
    zone: str | None = attrs.field()  # the one grid zone it draws from
    tokens_per_s: float | None = None
    ranked: Grams | None = attrs.field(repr=False)
    id: str = attrs.field(init=False)  # in traces and in health: `endpoint/model`
    chat_url: str = attrs.field(init=False, repr=False)
    region: str = attrs.field(init=False, repr=False)
    prices: TokenPrices | None = attrs.field(init=False, repr=False)
    gaps: int = attrs.field(init=False, repr=False)
    usual: Line = attrs.field(init=False, repr=False)
    # As `usual`, by the length of an answer that was asked for: worked out at the first such request.
    lines: dict[float, Line] = attrs.field(
        init=False, repr=False, eq=False, factory=dict
    )
    # The members of the `lowrouter` object that name it; the second form says how sure its place is.
    named: tuple[str, str] = attrs.field(init=False, eq=False, repr=False)
    # Provider, model, region, and the currency of the model's prices, as the books name them.
    booked: tuple[str, str, str, str | None] = attrs.field(
        init=False, eq=False, repr=False
    )
    # What a dialect has made for it, by credential: never shown, for it holds that.
    dressed: dict[Any, Any] = attrs.field(
        init=False, repr=False, eq=False, factory=dict
    )

    @grams.default
    def _grams(self) -> Grams | None:
        if self.carbon_g_per_1k is None:
            return None
        each = self.carbon_g_per_1k / 1000
        return Grams(0.0, each, each, 0.0)

    @zone.default
    def _zone(self) -> str | None:
        return self.endpoint.zone

    @ranked.default
    def _ranked(self) -> Grams | None:
        return self.grams

    @id.default
    def _id(self) -> str:
        return f"{self.endpoint.id}/{self.model.id}"

    @chat_url.default
    def _chat_url(self) -> str:
        path = self.endpoint.chat_path
        if "{model}" in path:
            path = path.replace("{model}", quote(self.model.upstream_model, safe=""))
        return self.endpoint.base_url + path

    @region.default
    def _region(self) -> str:
        return self.endpoint.region

    @booked.default
    def _booked(self) -> tuple[str, str, str, str | None]:
        endpoint, prices = self.endpoint, self.model.prices
        currency = None if prices is None else prices.currency
        return endpoint.provider.id, self.model.id, endpoint.region, currency

    @named.default
    def _named(self) -> tuple[str, str]:
        place = self.endpoint
        text = f'"provider":"{place.provider.id}","region":"{place.region}"'
        return text, f'{text},"region_provenance":"{place.provenance}"'

    @prices.default
    def _prices(self) -> TokenPrices | None:
        known = self.model.prices
        if (
            known is not None
        ):  # in the billing currency, so one is comparable with another
            per = known.per * NANO
            return TokenPrices(
                known.prompt / per, known.completion / per, known.cached / per
            )
        prompt, completion = self.model.price_prompt, self.model.price_completion
        if prompt is not None and completion is not None:
            each = prompt / 1_000_000
            return TokenPrices(each, completion / 1_000_000, each)
        if self.price_per_1k is None:
            return None
        each = self.price_per_1k / 1000
        return TokenPrices(each, each, each)

    @property
    def currency(self) -> str:
        """What the prices are in."""
        known = self.model.prices
        return self.endpoint.provider.currency if known is None else known.currency

    @gaps.default
    def _gaps(self) -> int:
        no_grams = NO_GRAMS if self.ranked is None else 0
        return no_grams | (NO_PRICE if self.prices is None else 0)

    @usual.default
    def _usual(self) -> Line:
        return line(self.ranked, self.prices, self.model.answer_tokens)


@attrs.frozen
class Pool:
    """Everything that can be routed to at one moment; swapped whole, never edited."""

    by_model: Mapping[str, tuple[Candidate, ...]]
    auto: tuple[str, ...] = ()  # model ids that the pseudo-models may pick from
    # Other names: the operator's, and ids without their namespace (`core.aliases`).
    aliases: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    bare: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    policy: Policy = attrs.field(factory=Policy)
    # What the pseudo-models are offered, and the least context length known of it.
    auto_offers: tuple[Candidate, ...] = attrs.field(init=False, repr=False)
    least_context: int | None = attrs.field(init=False, repr=False)

    places: frozenset[str] = attrs.field(init=False, repr=False)  # regions
    provenances: frozenset[str] = attrs.field(init=False, repr=False)
    gaps: int = attrs.field(init=False, repr=False)  # of any candidate

    @places.default
    def _places(self) -> frozenset[str]:
        return frozenset(c.region for cs in self.by_model.values() for c in cs)

    @provenances.default
    def _provenances(self) -> frozenset[str]:
        endpoints = [c.endpoint for cs in self.by_model.values() for c in cs]
        return frozenset(each.provenance for each in endpoints)

    @gaps.default
    def _gaps(self) -> int:
        known = [c.gaps for cs in self.by_model.values() for c in cs]
        return (NO_GRAMS if any(g & NO_GRAMS for g in known) else 0) | (
            NO_PRICE if any(g & NO_PRICE for g in known) else 0
        )

    @auto_offers.default
    def _auto_offers(self) -> tuple[Candidate, ...]:
        return tuple(c for model in self.auto for c in self.by_model.get(model, ()))

    @least_context.default
    def _least_context(self) -> int | None:
        lengths = [c.model.context_length for c in self.auto_offers]
        return min((each for each in lengths if each is not None), default=None)

    @property
    def regions(self) -> list[str]:
        """Known region names, sorted, for messages."""
        return sorted(self.places)

    @property
    def providers(self) -> list[str]:
        """Known provider ids, sorted, for messages."""
        return sorted(
            {c.endpoint.provider.id for cs in self.by_model.values() for c in cs}
        )

    @property
    def zones(self) -> list[str]:
        """Known grid zones, sorted, for messages."""
        return sorted({c.zone for cs in self.by_model.values() for c in cs if c.zone})


def region_matches(region: str, pin: str) -> bool:
    """Whether a place in `region` satisfies a pin: the same name, or `eu` for any `eu-...`."""
    return region == pin or region.startswith(pin + "-")
