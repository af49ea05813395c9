"""Upstreams that die, hang, crawl or refuse under load, over real sockets."""

import asyncio
from collections import Counter

import pytest

from tests.fakes import LIMIT_S, Answer, FakeUpstream, deaf_port, refusing_port
from tests.gateway import CHAT, MODEL, Place, ask, settled

MANY = 1000
# Short enough to be seen to end; no test depends on how short.
TIMES = "[timeouts]\nfirst_byte_s = 0.3\nunary_s = 0.3\nattempts_s = 0.6\n"


def answering(status, **fields):
    """Every request gets this status."""

    async def answer(seen, wire):
        await Answer.of({"error": {"message": "no"}}, status, **fields).play(wire)

    return answer


async def hang(seen, wire):
    """The connection stays open, and nothing comes."""
    await wire.hold(asyncio.Event())


async def slow(seen, wire):
    """An answer, later than those of others."""
    gate = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, gate.set)
    await wire.hold(gate)
    await Answer.of({"choices": [], "usage": {}}).play(wire)


async def reset(seen, wire):
    """The connection ends without an answer."""
    await wire.cut()


async def first_event_fails(seen, wire):
    """A stream that begins with an error."""
    await Answer.stream(b'data: {"error":{"message":"no","code":500}}\n\n').play(wire)


async def kill(upstream):
    """Nobody listens any more, and whoever was connected is reset."""
    upstream._server.close()
    for line in list(upstream._serving.values()):
        line.shut()


async def revive(upstream):
    """It listens again, at the same place."""
    upstream.on_request = None
    if not upstream._server.is_serving():
        upstream._server = await asyncio.start_server(
            upstream._accept, "127.0.0.1", upstream.port
        )


# --- a pinned region ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("down", "statuses"),
    [("refused", {503}), ("hung", {503, 504}), ("500", {502, 503})],
    ids=["refused", "hung", "500"],
)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "unary"])
async def test_a_pinned_region_that_is_down(
    serve, upstream, other, down, statuses, stream
):
    """A thousand callers at once are all answered, within `attempts_s`, and nothing is sent elsewhere."""
    upstream.on_request = hang if down == "hung" else answering(500)
    with refusing_port() as port:
        home = f"http://127.0.0.1:{port}/v1" if down == "refused" else upstream
        gateway = await serve(
            Place(home), Place(home), Place(other, region="us-east"), extra=TIMES
        )

        async def caller(number):
            pin = {"region": "eu-west", "fallback": number % 2 == 0}
            return await gateway.chat(stream=stream, route=pin)

        told = await asyncio.gather(*[caller(i) for i in range(MANY)])
    assert len(told) == MANY
    assert {each.status for each in told} <= statuses
    assert all(each.error["message"] for each in told)
    assert other.requests.count == 0
    for number in range(1, MANY + 1):
        record = await gateway.books.record(number)
        assert all("us-east" not in name for name, _ in record.attempts)
    assert (await gateway.chat(route={"region": "us"})).status == 200


@pytest.mark.parametrize("limit", ["unary_s", "attempts_s"])
async def test_a_pinned_region_that_cannot_be_reached(serve, other, limit):
    """Whichever limit ends the wait for a connection: nothing was sent, so it is a 503 and no 504."""
    with deaf_port() as port:
        gateway = await serve(
            *[Place(f"http://127.0.0.1:{port}/v1") for _ in range(2)],
            Place(other, region="us-east"),
            extra=f"[timeouts]\n{limit} = 0.1\n",
        )
        told = await gateway.chat(route={"region": "eu-west"})
    assert told.status == 503
    assert told.error["code"] == "upstream_unreachable"
    assert limit in told.error["message"]
    assert other.requests.count == 0


async def test_a_pinned_region_hangs_no_longer_than_the_deadline(serve, upstream):
    """However many of its endpoints hang: the last attempt ends with the request's own time."""
    upstream.on_request = hang
    extra = "[timeouts]\nunary_s = 0.2\nattempts_s = 0.3"
    gateway = await serve(*[Place(upstream) for _ in range(5)], extra=extra)
    told = await gateway.chat(route={"region": "eu-west"})
    assert told.status == 504
    assert "attempts_s" in told.error["message"]
    attempts = (await gateway.books.record()).attempts
    assert attempts[0][1] == attempts[1][1] == "upstream_timeout"
    assert len(attempts) < 5  # a third may begin with the last microseconds


# --- one of several -------------------------------------------------------------------

TROUBLES = {
    "kill": kill,
    "hang": hang,
    "slow": slow,
    "429": answering(429, Retry_After="1"),
    "500": answering(500),
    "401": answering(401),
    "reset": reset,
    "first event": first_event_fails,
}
# By the price alone: a machine that is busy elsewhere makes nobody the slower one, and stands still for
# less than a second.
QUICK = (
    "[timeouts]\nfirst_byte_s = 1\nunary_s = 1\nattempts_s = 2\n"
    '[health]\nrest_s = 0.3\ncredential_rest_s = 0.3\n[log]\nformat = "json"\n'
    "[routing]\nlow_carbon = { price = 1 }\nstandard = { price = 1 }"
)


@pytest.mark.parametrize("name", TROUBLES)
async def test_one_of_several_is_in_trouble(serve, upstream, other, name):
    """Nobody is refused whom another can serve, callers of others feel nothing, and it comes back."""
    async with FakeUpstream() as third:
        gateway = await serve(upstream, other, third, extra=QUICK)
        statuses: Counter[tuple[str, int]] = Counter()
        halfway = asyncio.Event()

        async def callers(wish, number):
            for i in range(number):
                route = {"provider": wish} if wish else {}
                told = await gateway.chat(stream=i % 2 == 0, route=route)
                statuses[wish, told.status] += 1
                if wish:
                    assert told.headers["x-lowrouter-provider"] == wish
                if upstream.requests.count > 20:
                    halfway.set()
            halfway.set()

        async def trouble():
            await halfway.wait()
            if name == "kill":
                await kill(upstream)
            else:
                upstream.on_request = TROUBLES[name]

        await asyncio.gather(
            trouble(),
            *[callers("", 20) for _ in range(10)],
            *[callers("p3", 10) for _ in range(5)],
        )
        assert statuses == {("", 200): 200, ("p3", 200): 50}
        await gateway.books.record(250)
        # Who wanted the third was served at the first attempt, whoever else came to it.
        at_once = [
            len(r.attempts) == 1 for r in gateway.books.records if r.provider == "p3"
        ]
        assert sum(at_once) >= 50
        records = gateway.books.records
        assert all(r.status == "ok" for r in records)

        await revive(upstream)
        async with asyncio.timeout(LIMIT_S):
            while (await gateway.chat()).headers["x-lowrouter-provider"] != "p1":
                await asyncio.sleep(0.02)
        served = [
            (await gateway.chat()).headers["x-lowrouter-provider"] for _ in range(5)
        ]
        assert served == ["p1"] * 5


async def test_one_request_finds_out(serve, upstream, other):
    """When the rest is over a hundred callers come at once: one tries it, the others go elsewhere."""
    upstream.on_request = answering(500)
    gateway = await serve(
        upstream, other, extra="[health]\nfailures = 2\nrest_s = 3600"
    )
    for _ in range(2):
        await gateway.chat()
    gate = asyncio.Event()

    async def tried(seen, wire):
        await wire.hold(gate)
        await Answer.of({"choices": []}).play(wire)

    upstream.on_request = tried
    health = gateway.parts.health
    health.troubled["p1-eu-west/acme/small"].breaker.rests_until = 0.0
    health._resting_ends = 0.0
    calls = [asyncio.create_task(gateway.chat()) for _ in range(100)]
    await other.requests.wait(2 + 99)
    await upstream.requests.wait(3)
    await settled(lambda: upstream.requests.count)
    assert upstream.requests.count == 3
    gate.set()
    told = await asyncio.gather(*calls)
    assert Counter(each.headers["x-lowrouter-provider"] for each in told) == {
        "p1": 1,
        "p2": 99,
    }
    assert (await gateway.chat()).headers["x-lowrouter-provider"] == "p1"


# --- streams and callers --------------------------------------------------------------

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        (Answer.stream(EVENT, cut=True), True),
        (Answer.stream(EVENT, EVENT[:20]), True),
        (Answer.stream(EVENT, b'data: {"error":{"message":"no"}}\n\n'), True),
        (Answer.stream(b"<html>no</html>\n\n"), True),
        (Answer.stream(EVENT), False),
        (Answer.stream(EVENT, b"data: ping\n\n", b"data: [DONE]\n\n"), False),
        (Answer.of({"error": {"message": "no"}}, 400), False),
        (Answer.of({"error": {"message": "no"}}, 422), False),
    ],
    ids=["cut", "half", "error", "page", "whole", "odd event", "400", "422"],
)
async def test_how_a_stream_ends_counts(serve, upstream, answer, counts):
    """Broken off or nothing that can be read: a failure; odd bytes in a whole stream are none."""
    upstream.script = [answer]
    gateway = await serve(upstream)
    await gateway.chat(stream=True)
    await gateway.books.record()
    view = gateway.parts.health.view(0.0).candidates["p1-eu-west/acme/small"]
    assert view.failures == counts


@pytest.mark.parametrize("policy", ["cancel", "drain"])
async def test_a_caller_that_leaves_says_nothing(serve, upstream, policy):
    """Neither before the answer nor within it; what is read on to its end counts as what it is."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(EVENT, gate, cut=True)]
    extra = f'[relay]\non_disconnect = "{policy}"'
    gateway = await serve(upstream, extra=extra)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, ask(stream=True))
        await reply.event()
    if policy == "cancel":
        await upstream.aborted.wait()
    gate.set()
    await gateway.books.record()
    view = gateway.parts.health.view(0.0).candidates["p1-eu-west/acme/small"]
    assert view.failures == (policy == "drain")

    upstream.on_request = hang
    async with gateway.caller() as caller:
        await caller.ask(CHAT, ask(stream=True))
        await upstream.requests.wait(2)
    await gateway.books.record(2)
    assert gateway.parts.health.view(0.0).candidates[
        "p1-eu-west/acme/small"
    ].failures == (policy == "drain")


async def test_answers_that_are_read_on_take_their_place(serve, upstream):
    """A caller that leaves an open answer behind does not make room for another."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(EVENT, gate, b"data: [DONE]\n\n")]
    gateway = await serve(
        upstream, server="max_requests = 1", extra='[relay]\non_disconnect = "drain"'
    )
    async with gateway.caller() as caller:
        await (await caller.post(CHAT, ask(stream=True))).event()
    await settled(lambda: len(gateway.parts.aftermath))
    assert len(gateway.parts.aftermath) == 1
    assert (await gateway.chat()).status == 503
    gate.set()
    await gateway.books.record(2)
    await settled(lambda: len(gateway.parts.aftermath))
    assert (await gateway.chat()).json()["model"] == MODEL


# --- several keys ---------------------------------------------------------------------


async def test_keys_of_one_provider(serve, upstream, other):
    """They take turns; one that is limited or refused rests alone, and the next is tried at once."""
    env = {f"ZED_{i}": f"sk-canary-{i}-0a9b8c7d" for i in range(3)}
    rows = f"""[[providers]]
id = "zed"
api_key_envs = ["ZED_0", "ZED_1", "ZED_2"]
[[providers.endpoints]]
region = "eu-west"
base_url = "{other.base_url}"
[[models]]
id = "zed/one"
[[models]]
id = "zed/two"
"""
    refused = {"0": (429, {"Retry_After": "60"}), "1": (401, {})}

    async def some(seen, wire):
        number = seen.header("authorization").split("-")[2]
        if number in refused and seen.json()["model"] == "one":
            status, fields = refused[number]
            await Answer.of({}, status, **fields).play(wire)
        else:
            await Answer.of({"choices": []}).play(wire)

    other.on_request = some
    gateway = await serve(upstream, extra=rows, environ=env)
    for _ in range(6):
        assert (await gateway.chat(model="zed/one")).status == 200
    used = [seen.header("authorization").split("-")[2] for seen in other.seen]
    assert Counter(used) == {"0": 1, "1": 1, "2": 6}
    for _ in range(3):
        assert (await gateway.chat(model="zed/two")).status == 200
    used = [seen.header("authorization").split("-")[2] for seen in other.seen[-3:]]
    assert sorted(used) == ["0", "1", "2"]
    named = {
        each.credential: each.reason
        for each in gateway.parts.health.view(0.0).credentials
    }
    assert named == {"ZED_0": "limited", "ZED_1": "refused"}
    told = (await gateway.admin("/metrics")).body.decode()
    assert 'credential="ZED_1",reason="refused"}' in told
    assert "canary" not in told
