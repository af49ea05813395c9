"""Attempts and failover up to the first event, over a client that does as it is told."""

import asyncio
from typing import Any

import attrs
import pytest
import structlog

from lowproxy.config import Config, Timeouts
from lowproxy.config import Health as HealthOptions
from lowproxy.config.credentials import FileSecret
from lowproxy.core.breaker import Limits
from lowproxy.core.chat import ChatRequest
from lowproxy.core.health import Health
from lowproxy.core.secret import Secret
from lowproxy.core.upstreams import Provider
from lowproxy.errors import (
    UpstreamCredentialError,
    UpstreamCutError,
    UpstreamError,
    UpstreamRateLimitedError,
    UpstreamRefusedError,
    UpstreamRestingError,
    UpstreamStatusError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from lowproxy.transport import dispatch
from lowproxy.transport.dispatch import Attempt, Dispatch, Stream, Whole, most_telling
from lowproxy.transport.watch import Watch
from tests.fakes import Clock
from tests.gateway import settled
from tests.scripted import BODY, JSON, SSE, Client, Scripted, decision, opened


async def test_the_first_that_answers():
    """Attempts are noted in order, also the good one."""
    good = Scripted([b'{"choices":', b"[]}"])
    client = Client(UpstreamCutError("x"), Scripted([b"no"], status=500), good)
    told, attempts = await opened(client)
    assert isinstance(told, Whole)
    assert (told.body, told.parsed) == (b'{"choices":[]}', {"choices": []})
    assert told.candidate.endpoint.id == "e2"
    assert attempts == [
        ("e0/m", "upstream_cut"),
        ("e1/m", "upstream_status"),
        ("e2/m", "ok"),
    ]


async def test_what_failed_is_closed():
    """An answer that is none does not keep its connection."""
    answers = [
        Scripted([b"{"], status=500),
        Scripted([b"<html>"]),
        Scripted([b'data: {"error":{"code":1}}\n\n'], fields=SSE),
    ]
    told, _ = await opened(Client(*answers), stream=True)
    assert isinstance(told, UpstreamError)
    assert all(answer.closed for answer in answers)


async def test_a_refusal_is_final():
    """400 and its like are the caller's: nobody else is asked, nobody's health suffers."""
    health = Health()
    client = Client(Scripted([b'{"error":{"message":"no"}}'], status=422))
    told, attempts = await opened(client, health=health)
    assert isinstance(told, UpstreamRefusedError)
    assert told.refused_status == 422
    assert len(attempts) == 1
    seen = health.view(5.0).candidates["e0/m"]
    assert (seen.state, seen.failures, seen.error_rate) == ("closed", 0, 0.0)
    assert seen.duration_s is None  # it says nothing of how long an answer takes


async def test_health_learns():
    """Failures are counted per candidate; what answers says how long it took."""
    health = Health()
    for _ in range(Limits().failures):
        client = Client(UpstreamCutError("x"), Scripted([b"{}"]))
        await opened(client, health=health)
    assert health.resting(5.0) == {"e0/m"}
    seen = health.view(5.0).candidates
    assert seen["e0/m"].state == "open"
    assert seen["e1/m"].duration_s == 0.0


async def test_who_rests_comes_last():
    """Also where the decision was made before it rested."""
    health = Health(Limits(failures=1))
    health.failed("e0/m", 0.0, 1.0)
    told, attempts = await opened(Client(Scripted([b"{}"])), health=health)
    assert attempts == [("e1/m", "ok")]

    client = Client(*[UpstreamCutError("x")] * 2, Scripted([b"{}"]))
    told, attempts = await opened(client, health=health)
    assert [each for each, _ in attempts] == ["e1/m", "e2/m", "e0/m"]
    assert isinstance(told, Whole)
    assert "e0/m" not in health.resting(5.0)


async def test_one_request_at_a_time_tries_whoever_rests():
    """Also when there is nobody else: the others are told to come back soon."""
    health, gate = Health(Limits(failures=1)), asyncio.Event()
    health.failed("e0/m", 0.0, 1.0)
    first = asyncio.create_task(
        opened(Client(Scripted([gate, b"{}"])), candidates=1, health=health)
    )
    await settled(lambda: health.troubled["e0/m"].trial)
    told, attempts = await opened(Client(), candidates=1, health=health)
    assert isinstance(told, UpstreamRestingError)
    assert (told.status, told.retry_after_s, attempts) == (503, 1.0, [])
    gate.set()
    assert isinstance((await first)[0], Whole)
    assert isinstance(
        (await opened(Client(Scripted([b"{}"])), candidates=1, health=health))[0], Whole
    )


async def test_who_leaves_gives_the_trial_back():
    """Its caller learns nothing, so somebody else has to."""
    health = Health(Limits(failures=1))
    health.failed("e0/m", 0.0, 1.0)
    task = asyncio.create_task(
        opened(Client(asyncio.Event()), candidates=1, health=health)
    )
    await settled(lambda: health.troubled["e0/m"].trial)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    client = Client(Scripted([b"{}"]))
    told, _ = await opened(client, candidates=1, health=health)
    assert isinstance(told, Whole)


async def test_nobody_asks_before_a_retry_after_is_over():
    """Where all have said when to come back the caller is told so, and nothing is sent."""
    health = Health()
    limited = [Scripted([], 429, {**JSON, "retry-after": wait}) for wait in "93"]
    told, _ = await opened(Client(*limited), candidates=2, health=health)
    assert (told.status, told.retry_after_s) == (429, 3)
    told, attempts = await opened(Client(), candidates=2, health=health)
    assert (told.status, told.retry_after_s, attempts) == (429, 3, [])

    busy = Scripted([], 503, {**JSON, "retry-after": "7"})
    told, _ = await opened(Client(busy), candidates=1, health=(health := Health()))
    assert (told.status, told.retry_after_s) == (502, 7)
    told, attempts = await opened(Client(), candidates=1, health=health)
    assert (told.status, told.retry_after_s, attempts) == (503, 7, [])


async def test_no_more_than_a_few():
    """A long list of candidates does not become a long wait."""
    client = Client(*[UpstreamCutError("x")] * 20)
    told, attempts = await opened(client, candidates=20)
    assert isinstance(told, UpstreamCutError)
    assert len(attempts) == 6


async def test_all_attempts_share_one_deadline():
    """However many candidates hang; the last is told by the option that ended it."""
    loop = asyncio.get_running_loop()
    made = Dispatch(
        Client(*[asyncio.Event()] * 6),
        Health(),
        Watch(0.05, "first_byte_s"),
        Watch(0.05, "unary_s"),
        loop.time,
        attempts_s=0.12,
    )
    attempts: list[Attempt] = []
    chat = ChatRequest.parse(BODY % b"false")
    began = loop.time()
    with pytest.raises(UpstreamTimeoutError) as caught:
        await made.open(decision(6), chat, {}, attempts)
    assert loop.time() - began < 0.2
    assert len(attempts) == 3
    assert "attempts_s (0.0" in caught.value.message


async def test_as_configured():
    """The tighter of two limits is the one that is named."""
    times = Timeouts(first_byte_s=5, unary_s=0, attempts_s=30)
    options = HealthOptions(max_attempts=2)
    config = Config(timeouts=times, health=options)
    made = Dispatch.make(Client(), Health(), config, Clock())
    assert (made.first_byte.limit_s, made.first_byte.option) == (5, "first_byte_s")
    assert (made.unary.limit_s, made.unary.option) == (30, "attempts_s")
    assert (made.max_attempts, made.attempts_s) == (2, 30)


async def test_each_attempt_has_its_own_time():
    """A candidate that hangs costs its limit, not the next one's."""
    client = Client(asyncio.Event(), Scripted([b"{}"]))
    told, attempts = await opened(client, limit_s=0.05)
    assert isinstance(told, Whole)
    assert attempts[0] == ("e0/m", "upstream_timeout")


@pytest.mark.parametrize(
    ("stream", "option"), [(True, "first_byte_s"), (False, "unary_s")]
)
async def test_a_time_out_is_named(stream, option):
    """And its limit told."""
    client = Client(Scripted([asyncio.Event()], fields=SSE if stream else JSON))
    told, _ = await opened(client, stream=stream, candidates=1, limit_s=0.05)
    assert isinstance(told, UpstreamTimeoutError)
    assert f"{option} (0.05 s)" in told.message


async def test_who_is_cancelled_is_noted():
    """The attempt that was under way is in the list; its answer is closed."""
    answer = Scripted([asyncio.Event()])
    attempts: list[Attempt] = []
    health = Health()
    made = Dispatch(Client(answer), health, Watch(0), Watch(0), Clock())
    chat = ChatRequest.parse(BODY % b"false")
    task = asyncio.create_task(made.open(decision(3), chat, {}, attempts))
    await settled(lambda: answer.reads)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [a.outcome for a in attempts] == ["abandoned"]
    assert answer.closed
    assert health.view(0.0) == Health().view(0.0)


# --- credentials ----------------------------------------------------------------------


class Keyed(Client):
    """Notes with which credential it was asked."""

    async def send(self, request):
        answer = await super().send(request)
        self.asked[-1] = dict(request.fixed).get("Authorization", "").split("-")[-1]
        return answer


def keyed(count, candidates=1):
    """Candidates of one provider each, with that many credentials: sk-0, sk-1, ..."""
    keys = tuple(Secret(f"sk-{i}", f"KEY_{i}") for i in range(count))
    return attrs.evolve(
        decision(0),
        candidates=tuple(
            attrs.evolve(
                c,
                endpoint=attrs.evolve(
                    c.endpoint, provider=Provider("p", credentials=keys)
                ),
            )
            for c in decision(candidates).candidates
        ),
    )


async def asked_with(client, chosen, health, clock=None):
    """What `open` gives or raises."""
    made = Dispatch(client, health, Watch(0), Watch(0), clock or Clock(5.0))
    chat = ChatRequest.parse(BODY % b"false")
    try:
        return await made.open(chosen, chat, {}, [])
    except UpstreamError as failure:
        return failure


def limited(wait="30"):
    """A 429, with its Retry-After."""
    return Scripted([], 429, {**JSON, "retry-after": wait} if wait else JSON)


def good():
    """An answer."""
    return Scripted([b"{}"])


async def test_credentials_take_turns():
    """Every request is made with the next one."""
    client, health, chosen = Keyed(*[good() for _ in range(6)]), Health(), keyed(3)
    for _ in range(6):
        await asked_with(client, chosen, health)
    assert sorted(client.asked[:3]) == ["0", "1", "2"]
    assert client.asked[3:] == client.asked[:3]


async def test_the_next_credential_before_the_next_candidate():
    """A 429 or a 401 is of one credential: the others of the same place are asked first."""
    for refused in (limited(), limited(""), Scripted([], 401), Scripted([], 403)):
        client = Keyed(refused, Scripted([], 402), good())
        health = Health()
        told = await asked_with(client, keyed(3, candidates=2), health)
        assert told.candidate.endpoint.id == "e0"
        assert len(set(client.asked)) == 3
        assert health.resting(5.0) == frozenset()
        assert len(health.view(5.0).credentials) == 2


async def test_another_failure_is_not_of_the_credential():
    """It would fail with any other: the next candidate's turn."""
    client = Keyed(Scripted([], 500), good())
    told = await asked_with(client, keyed(3, candidates=2), Health())
    assert told.candidate.endpoint.id == "e1"


async def test_a_credential_rests_alone():
    """For as long as the upstream said; the others go on taking turns."""
    clock, health, chosen = Clock(5.0), Health(), keyed(2)
    client = Keyed(limited(), *[good() for _ in range(9)])
    for _ in range(4):
        await asked_with(client, chosen, health, clock)
    tired, *others = client.asked
    assert set(others) == {"01".replace(tired, "")}
    clock.advance(30)
    for _ in range(2):
        await asked_with(client, chosen, health, clock)
    assert tired in client.asked[-2:]


async def test_when_all_credentials_rest():
    """The candidate comes last, and with Retry-After is not asked at all."""
    health = Health()
    client = Keyed(limited("30"), limited("9"), good(), good())
    told = await asked_with(client, keyed(2, candidates=2), health)
    assert told.candidate.endpoint.id == "e1"
    assert health.resting(5.0) == {"e0/m"}
    told = await asked_with(client, keyed(2, candidates=2), health)
    assert told.candidate.endpoint.id == "e1"


async def test_a_refused_credential_is_complained_of_once(monkeypatch):
    """By the name of where it comes from, never by its value."""
    clock, chosen = Clock(5.0), keyed(1)
    health = Health()
    client = Client(Scripted([], 401), Scripted([], 401))
    made = Dispatch(client, health, Watch(0), Watch(0), clock)
    chat = ChatRequest.parse(BODY % b"false")
    lines = structlog.testing.CapturingLogger()
    monkeypatch.setattr(dispatch, "log", lines)
    for _ in range(2):
        with pytest.raises(UpstreamCredentialError):
            await made.open(chosen, chat, {}, [])
        clock.advance(61)
    (line,) = lines.calls
    assert line.args == ("upstream.credential_refused",)
    assert line.kwargs["credential"] == "KEY_0"
    assert "sk-0" not in str(line)


async def test_a_credential_that_was_replaced_is_tried_again(tmp_path):
    """A file that changed is read at the refusal, whenever it was last looked at."""
    path = tmp_path / "key"
    path.write_text("sk-old")
    secret = FileSecret(path, Clock())
    path.write_text("sk-newer")
    candidate = keyed(1).chosen
    provider = attrs.evolve(candidate.endpoint.provider, credentials=(secret,))
    endpoint = attrs.evolve(candidate.endpoint, provider=provider)
    chosen = attrs.evolve(
        keyed(1), candidates=(attrs.evolve(candidate, endpoint=endpoint),)
    )
    client, health = Keyed(Scripted([], 401), good()), Health()
    assert isinstance(await asked_with(client, chosen, health), Whole)
    assert client.asked == ["old", "newer"]
    assert not health.troubled


# --- what the caller is told ----------------------------------------------------------


def test_the_failure_that_says_most():
    """429 only where all said so; a request that failed before one that was never sent."""
    limited = UpstreamRateLimitedError("l", retry_after_s=9)
    sooner = UpstreamRateLimitedError("s", retry_after_s=4)
    status, away = UpstreamStatusError("s"), UpstreamUnreachableError("a")
    slow = UpstreamTimeoutError("t")
    told = most_telling([limited, sooner])
    assert (told.status, told.retry_after_s) == (429, 4)
    assert most_telling([UpstreamRateLimitedError("x")]).retry_after_s == 1.0
    assert most_telling([status, away]) is status
    assert most_telling([away, status, limited]) is status
    assert most_telling([status, slow]) is slow
    assert most_telling([limited, away]) is away


def test_nothing_of_a_prompt_is_in_a_repr():
    """What is held while an answer streams can be printed."""
    answer: Any = Scripted([])
    whole = Whole(decision(1).chosen, answer, b"canary", {"x": "canary"})
    stream = Stream(decision(1).chosen, answer, b"canary", 0.0)
    assert "canary" not in repr(whole) + repr(stream)
