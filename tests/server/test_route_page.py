"""`POST /route`: the decision and its reasons, without calling anyone."""

from tests.gateway import MODEL, Place, ask

PATHS = ("/api/v1/route", "/v1/route")


async def routed(gateway, body, path=PATHS[0], **headers):
    """Status and JSON of the answer."""
    async with gateway.caller() as caller:
        reply = await caller.post(path, body, headers=headers)
        return reply.status, await reply.json()


async def test_where_a_request_would_go(serve, upstream, other):
    """The same body as a completion's, the same choice, and nobody is asked."""
    gateway = await serve(Place(upstream), Place(other, "eu-north", zone="PL"))
    for path in PATHS:
        status, answer = await routed(gateway, ask(stream=True, max_tokens=32), path)
        assert status == 200
        assert (answer["object"], answer["model"]) == ("route", MODEL)
        about = answer["lowrouter"]
        assert (about["provider"], about["region"]) == ("p1", "eu-west")
        assert about["region_provenance"] == "declared"
        assert about["generation_id"].startswith("gen_")
        assert about["trace"]["expected"]["completion_tokens"] == 32
        assert about["trace"]["attempts"] == []
    assert upstream.requests.count == other.requests.count == 0
    record = await gateway.books.record()
    assert (record.endpoint, record.status) == ("route", "ok")
    assert record.provider is None


async def test_with_a_header(serve, upstream, other):
    """A region by the header, as for a completion."""
    gateway = await serve(Place(upstream), Place(other, "eu-north", zone="PL"))
    _, answer = await routed(gateway, ask(), **{"X-LowRouter-Region": "eu-north"})
    assert answer["lowrouter"]["region"] == "eu-north"
    (rejected,) = answer["lowrouter"]["trace"]["rejected"]
    assert rejected["rule"] == "route.region"


async def test_where_nobody_may_serve(serve, upstream):
    """The error that the completion would get, with the trace."""
    gateway = await serve(upstream)
    status, answer = await routed(gateway, ask(route={"region": "us"}))
    assert (status, answer["error"]["param"]) == (503, "route.region")
    rejected = answer["lowrouter"]["trace"]["rejected"]
    assert [row["rule"] for row in rejected] == ["route.region"]
    status, answer = await routed(gateway, ask("nobody/knows"))
    assert status == 404
    status, answer = await routed(gateway, {"model": MODEL})
    assert (status, answer["error"]["param"]) == (400, "messages")


async def test_it_wants_a_key(serve, upstream):
    """As every other path."""
    gateway = await serve(upstream)
    async with gateway.caller(key=None) as caller:
        assert (await caller.post(PATHS[0], ask())).status == 401
