"""What a provider does otherwise than OpenAI, from the configuration to the wire."""

from tests.gateway import provider_key


async def test_a_provider_like_azure(serve, upstream):
    """The deployment in the path, the version in the query, the key in a header of its own."""
    extra = """
[[providers]]
id = "own"
api_key_env = "P1_KEY"
auth_header = "api-key"
drops = ["store"]
renames = { max_completion_tokens = "max_tokens" }
  [[providers.endpoints]]
  region = "eu-north"
  zone = "SE"
  account = "resource"
  base_url = "%s/{account}"
  chat_path = "/deployments/{model}/chat/completions?api-version=2024-10-21"
[[models]]
id = "own/model"
upstream_model = "my-deployment"
"""
    gateway = await serve(upstream, extra=extra % upstream.base_url)
    told = await gateway.chat(model="own/model", store=True, max_completion_tokens=7)
    assert told.status == 200
    (seen,) = upstream.seen
    path = "/resource/deployments/my-deployment/chat/completions"

    assert seen.path.removeprefix("/v1") == f"{path}?api-version=2024-10-21"
    assert seen.header("api-key") == provider_key("p1")
    assert seen.header("authorization") is None
    body = seen.json()
    assert body["max_tokens"] == 7
    assert {"store", "max_completion_tokens"}.isdisjoint(body)
