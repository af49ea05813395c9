"""Names of the OpenTelemetry conventions for generative AI, for what we call otherwise.

Semantic conventions 1.37 and later, status "development". Metrics use them with dots as
underscores and the unit appended, as OpenTelemetry's own Prometheus exporter writes them.
"""

# `gen_ai.provider.name` has well-known values, which must be used where they apply.
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
# `gen_ai.operation.name`, by our endpoint's name.
_OPERATIONS = {
    "anthropic": "chat",
    "chat": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "messages": "chat",
    "responses": "chat",
}

# Bounds that the conventions ask for; seconds, and tokens.
DURATION_S = (
    0.01,
    0.02,
    0.04,
    0.08,
    0.16,
    0.32,
    0.64,
    1.28,
    2.56,
    5.12,
    10.24,
    20.48,
    40.96,
    81.92,
)
FIRST_TOKEN_S = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
)
OUTPUT_TOKEN_S = (
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.75,
    1.0,
    2.5,
)
TOKENS = (
    1,
    4,
    16,
    64,
    256,
    1024,
    4096,
    16384,
    65536,
    262144,
    1048576,
    4194304,
    16777216,
    67108864,
)


def operation(endpoint: str) -> str | None:
    """The operation's name; None where an endpoint asks no model."""
    return _OPERATIONS.get(endpoint)


def provider(provider_id: str) -> str:
    """The provider's well-known name, else our own id for it."""
    return _PROVIDERS.get(provider_id, provider_id)
