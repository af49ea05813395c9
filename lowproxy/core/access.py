"""A caller's key and what it may do."""

from fnmatch import fnmatchcase

import attrs

from lowproxy.core.limits import Limits
from lowproxy.core.upstreams import PSEUDO_MODELS, region_matches
from lowproxy.errors import AuthenticationError, PermissionDeniedError


@attrs.frozen(cache_hash=True)
class ApiKey:
    """One key: its name and its policy, never the secret itself.

    `hash` is `sha256:` and the hex digest of the whole key. An empty `models` or `providers` allows all.
    """

    name: str
    hash: str
    models: tuple[str, ...] = ()  # wildcards as in a shell: "openai/*"
    providers: tuple[str, ...] = ()
    region: str | None = None
    prefer_low_carbon: bool = True
    expires_at: float | None = None  # seconds since the epoch
    enabled: bool = True
    limits: Limits | None = None  # None: nothing is counted

    def usable(self, now: float) -> None:
        """Raises AuthenticationError where the key is disabled or has expired: it is a key no longer."""
        if not self.enabled:
            raise AuthenticationError(f"the key {self.name!r} is disabled")
        if self.expires_at is not None and now >= self.expires_at:
            raise AuthenticationError(f"the key {self.name!r} has expired")

    def allows_model(self, model: str) -> bool:
        """Whether the key may use this model id."""
        return not self.models or any(
            fnmatchcase(model, pattern) for pattern in self.models
        )

    def allows_provider(self, provider: str) -> bool:
        """Whether the key may use this provider."""
        return not self.providers or provider in self.providers

    def permit(self, model: str, region: str | None, provider: str | None) -> None:
        """Raises PermissionDeniedError where the request asks for what the key may not have.

        Pseudo-models pass: what they may pick from is narrowed by the rules.
        """
        if model not in PSEUDO_MODELS and not self.allows_model(model):
            raise PermissionDeniedError(
                f"the key {self.name!r} may not use the model {model!r}; it allows {', '.join(self.models)}",
                param="model",
            )
        if (
            region
            and self.region
            and not (
                region_matches(region, self.region)
                or region_matches(self.region, region)
            )
        ):
            raise PermissionDeniedError(
                f"the key {self.name!r} is pinned to the region {self.region!r}, the request to {region!r}",
                param="route.region",
            )
        if provider and not self.allows_provider(provider):
            raise PermissionDeniedError(
                f"the key {self.name!r} may not use the provider {provider!r}; it allows {', '.join(self.providers)}",
                param="route.provider",
            )
