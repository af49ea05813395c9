"""What can be asked for and who serves it, as a key sees it."""

import json

import pytest

from lowproxy.core.keys import hash_key
from tests.fakes import Answer
from tests.gateway import CHAT, MODEL, Place, ask

ROWS = """
[[models]]
id = "openai/gpt-4o-mini"
provider = "p1"
context_length = 128000
capabilities = ["tools", "vision"]
price_prompt = 0.15
price_completion = 0.60
[[models]]
id = "p1/a%2Fb"
provider = "p1"
[auto]
models = ["acme/small"]
"""


def keyed(name, policy):
    """A key of its own: the name forty times over."""
    return f'[[keys]]\nname = "{name}"\nhash = "{hash_key(name * 40)}"\n{policy}\n'


async def got(gateway, path, key=None):
    """Status and JSON of a GET."""
    async with gateway.caller() as caller:
        reply = await caller.get(path, key=key)
        assert reply.headers["content-type"] == "application/json"
        return reply.status, await reply.json()


async def test_models(serve, upstream):
    """OpenAI's list with OpenRouter's fields and ours; the pseudo-models first."""
    gateway = await serve(upstream, extra=ROWS)
    status, answer = await got(gateway, "/api/v1/models")
    assert status == 200
    assert answer["object"] == "list"
    rows = {row["id"]: row for row in answer["data"]}
    assert list(rows) == [
        "lowrouter/auto",
        "lowrouter/auto-cheap",
        MODEL,
        "openai/gpt-4o-mini",
        "p1/a%2Fb",
    ]
    mini = rows["openai/gpt-4o-mini"]
    eco = mini.pop("eco")
    assert 0 < eco["carbon_per_1k_tokens_g"]["low"]
    assert mini == {
        "id": "openai/gpt-4o-mini",
        "object": "model",
        "created": 0,
        "owned_by": "openai",
        "context_length": 128000,
        "architecture": {
            "input_modalities": ["text", "image"],
            "output_modalities": ["text"],
        },
        "supported_parameters": [
            "max_tokens",
            "stop",
            "temperature",
            "tool_choice",
            "tools",
            "top_p",
        ],
        "regions": ["eu-west"],
        "providers": ["p1"],
        "pricing": {
            "prompt": "0.00000015",
            "completion": "0.0000006",
            "currency": "USD",
        },
    }
    assert "pricing" not in rows["p1/a%2Fb"]
    assert "eco" not in rows["p1/a%2Fb"]
    auto = rows["lowrouter/auto"]
    assert (auto["object"], auto["owned_by"]) == ("model", "lowrouter")
    assert auto["providers"] == ["p1"]


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("openai/gpt-4o-mini", "openai/gpt-4o-mini"),
        ("openai%2Fgpt-4o-mini", "openai/gpt-4o-mini"),
        ("openai%2fgpt%2D4o-mini?x=1", "openai/gpt-4o-mini"),
        ("p1/a%252Fb", "p1/a%2Fb"),
        ("lowrouter/auto", "lowrouter/auto"),
        ("lowrouter%2Fauto-cheap", "lowrouter/auto-cheap"),
    ],
)
async def test_one_model(serve, upstream, path, model):
    """The id with its slash plain or escaped, as the SDK sends it; escaped once."""
    gateway = await serve(upstream, extra=ROWS)
    _, everything = await got(gateway, "/v1/models")
    status, row = await got(gateway, f"/v1/models/{path}")
    assert (status, row["id"]) == (200, model)
    assert row in everything["data"]


@pytest.mark.parametrize("path", ["canary", "openai", "", "openai%2Fgpt%FF", "a/b/c"])
async def test_no_such_model(serve, upstream, path):
    """404 says where the list is, and repeats nothing."""
    gateway = await serve(upstream, extra=ROWS)
    status, answer = await got(gateway, f"/v1/models/{path}")
    assert (status, answer["error"]["code"]) == (404, "model_not_found")
    assert "canary" not in json.dumps(answer)


async def test_a_key_sees_what_it_may_use(serve, upstream, other):
    """Models, regions and providers that it does not allow are not there for it."""
    extra = ROWS.replace("[auto]", keyed("m", 'models = ["acme/*"]') + "[auto]")
    extra += keyed("r", 'region = "us-east"') + keyed("p", 'providers = ["p1"]')
    gateway = await serve(Place(upstream), Place(other, region="us-east"), extra=extra)

    async def seen(name):
        _, answer = await got(gateway, "/v1/models", name * 40)
        return {row["id"]: row for row in answer["data"]}

    assert set(await seen("m")) == {"lowrouter/auto", "lowrouter/auto-cheap", MODEL}
    assert (await seen("r"))[MODEL]["regions"] == ["us-east"]
    assert "openai/gpt-4o-mini" not in await seen("r")
    assert (await seen("r"))["lowrouter/auto"]["regions"] == ["us-east"]
    assert (await seen("p"))[MODEL]["providers"] == ["p1"]
    assert (await got(gateway, "/v1/models/openai/gpt-4o-mini", "m" * 40))[0] == 404
    _, answer = await got(gateway, "/v1/providers", "r" * 40)
    assert [row["id"] for row in answer["data"]] == ["p2"]


async def test_what_is_listed_can_be_asked(serve, upstream):
    """Every id of the list is served to the key that read it."""
    gateway = await serve(upstream, extra=ROWS)
    _, answer = await got(gateway, "/v1/models")
    for row in answer["data"]:
        assert (await gateway.chat(model=row["id"])).status == 200


async def test_providers(serve, upstream, other):
    """Each with its places: region, grid zone with its reading, and who is resting."""
    gateway = await serve(
        upstream,
        Place(other, region="us-east", zone="US-MIDA-PJM"),
        extra=ROWS + "[health]\nfailures = 3",
    )
    status, answer = await got(gateway, "/v1/providers")
    assert status == 200
    first, second = answer["data"]
    assert (first["id"], first["regions"]) == ("p1", ["eu-west"])
    (place,) = first["endpoints"]
    assert place["id"] == "p1-eu-west"
    assert place["region_provenance"] == "declared"
    assert (place["models"], place["resting_models"]) == (3, 0)
    assert place["grid"]["zone"] == "FR"
    grids = [row["endpoints"][0]["grid"] for row in (first, second)]
    assert grids[0]["intensity_g_per_kwh"] < grids[1]["intensity_g_per_kwh"]
    assert upstream.base_url not in json.dumps(answer)

    upstream.script = [Answer.of({}, 500)] * 3
    for _ in range(3):
        async with gateway.caller() as caller:
            await (await caller.post(CHAT, ask())).rest()
    _, answer = await got(gateway, "/v1/providers")
    place = answer["data"][0]["endpoints"][0]
    assert place["resting_models"] == 1
    (health,) = place["health"]
    assert (health["model"], health["state"]) == (MODEL, "open")
    assert (health["failures"], health["error_rate"]) == (3, 1)
    assert 0 < health["rests_for_s"] <= 10
    (health,) = answer["data"][1]["endpoints"][0]["health"]
    assert (health["state"], health["failures"]) == ("closed", 0)
    assert health["duration_s"] > 0


async def test_lists_are_in_the_books(serve, upstream):
    """They are requests like any other."""
    gateway = await serve(upstream)
    await got(gateway, "/v1/models")
    record = await gateway.books.record()
    assert (record.endpoint, record.http_status, record.status) == ("models", 200, "ok")


ALIASES = """
[aliases]
fast = "openai/gpt-4o-mini"
both = ["acme/small", "openai/gpt-4o-mini"]
any = "lowrouter/auto"
"""


async def test_an_alias_is_listed_and_found(serve, upstream):
    """As the model that it stands for, and with the ids of all of them; bare names are found alone."""
    gateway = await serve(upstream, extra=ROWS + ALIASES)
    _, answer = await got(gateway, "/api/v1/models")
    rows = {row["id"]: row for row in answer["data"]}

    assert list(rows)[-3:] == ["any", "both", "fast"]
    assert rows["both"]["resolves_to"] == ["acme/small", "openai/gpt-4o-mini"]
    assert rows["any"]["resolves_to"] == ["lowrouter/auto"]
    assert rows["fast"]["context_length"] == 128000
    for name in ("any", "both", "fast"):
        assert await got(gateway, f"/api/v1/models/{name}") == (200, rows[name])
    bare = await got(gateway, "/api/v1/models/gpt-4o-mini")
    assert bare == (200, rows["openai/gpt-4o-mini"])


async def test_an_alias_shows_a_key_only_what_it_may_use(serve, upstream):
    """One that leads nowhere for the key is not there."""
    policy = 'models = ["acme/*"]'
    gateway = await serve(upstream, extra=ROWS + ALIASES + keyed("a", policy))
    _, answer = await got(gateway, "/api/v1/models", key="a" * 40)
    rows = {row["id"]: row for row in answer["data"]}

    assert "fast" not in rows
    assert rows["both"]["resolves_to"] == ["acme/small"]
    assert (await got(gateway, "/api/v1/models/fast", key="a" * 40))[0] == 404


async def test_an_alias_is_answered_by_what_it_stands_for(serve, upstream):
    """The answer names the id; the key's own list is asked about the id."""
    extra = ROWS + ALIASES + keyed("a", 'models = ["acme/*"]')
    gateway = await serve(upstream, extra=extra)

    told = await gateway.chat(model="fast")
    assert told.status == 200
    assert told.json()["model"] == "openai/gpt-4o-mini"
    assert (await gateway.books.record()).requested_model == "fast"
    assert (await gateway.chat(model="small")).json()["model"] == "acme/small"
    assert (await gateway.chat(model="nobodys")).status == 404
