"""A Valkey or Redis that several gateways share: scripts called, many to a round trip, and its absence.

What is asked for at the same time goes in one pipeline; nobody waits longer than
`timeout_s`. One failure opens the breaker: then nothing is asked, and nobody waits,
until a question of our own, every `rest_s`, has been answered. What need not be
answered (`post`) is kept until it can be sent. Needs the extra `redis`.
"""

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import attrs
import structlog

from lowproxy.store.shared_scripts import SCRIPTS

log = structlog.get_logger("lowproxy.shared")

# Of calls that wait for no answer; the oldest are kept, for they are idempotent and exact.
MOST_POSTS = 100_000
PIPELINED = 256
# How often the others are told that we live, and asked what has changed.
TURN_S = 0.5
# So long what nobody waits for may wait for a question to travel with.
POST_S = 0.02
# A process that has said nothing for so long is gone, with what it had reserved.
LIFE_S = 15.0


class SharedAwayError(Exception):
    """It does not answer, or did not lately; `sent` where the question may have arrived."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__()
        self.sent = sent


class Call(NamedTuple):
    """One script with its keys and arguments; `answer` is None where nobody waits."""

    script: str
    keys: Sequence[str]
    args: Sequence[Any]
    answer: "asyncio.Future[Any] | None"


@attrs.define
class SharedCounts:
    """For the metrics."""

    up: bool = False
    failures: dict[tuple[str, ...], float] = attrs.field(factory=dict)  # by reason
    lost: int = 0


class Shared:
    """The connection, with its breaker. `running_shared` starts and stops it."""

    def __init__(
        self,
        client: Any,
        errors: tuple[type[BaseException], ...],
        prefix: str,
        timeout_s: float,
        rest_s: float,
    ) -> None:
        self.counts = SharedCounts()
        # Called when it is back, before anybody is sent there.
        self.on_up: Callable[[], Any] | None = None
        self.owner = secrets.token_hex(8)
        self._client = client
        self._errors: tuple[type[BaseException], ...]
        self._errors = (TimeoutError, OSError, *errors)
        self._prefix, self._timeout_s, self._rest_s = prefix, timeout_s, rest_s
        self._calls: deque[Call] = deque()
        self._posts: deque[Call] = deque()
        self._wake = asyncio.Event()
        self._posting: asyncio.TimerHandle | None = None
        self._hashes: dict[str, str] = {}
        self._turns: list[Callable[[], Any]] = []
        self._told = False
        self._stopping = False

    @property
    def up(self) -> bool:
        """Whether it may be asked."""
        return self.counts.up

    def name(self, *parts: str) -> str:
        """A name there; all of ours are in one slot of a cluster."""
        return ":".join((f"{{{self._prefix}}}", *parts))

    async def call(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """What a script answers. Raises SharedAwayError, within `timeout_s`."""
        if not self.counts.up:
            raise SharedAwayError(sent=False)
        answer = asyncio.get_running_loop().create_future()
        self._calls.append(Call(script, keys, args, answer))
        self._wake.set()
        return await answer

    def post(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> None:
        """Runs a script some time; it has to bear being run twice."""
        if len(self._posts) >= MOST_POSTS:
            self.counts.lost += 1
            return
        self._posts.append(Call(script, keys, args, None))
        if self._posting is None:
            loop = asyncio.get_running_loop()
            self._posting = loop.call_later(POST_S, self._post)

    def _post(self) -> None:
        self._posting = None
        self._wake.set()

    def each_turn(self, do: Callable[[], Any]) -> None:
        """Calls the coroutine function `do` twice a second while it is up."""
        self._turns.append(do)

    @property
    def client(self) -> Any:
        """For what is done each turn; its errors are caught there."""
        return self._client

    # --- its own task --------------------------------------------------------------------

    async def work(self) -> None:
        """Sends what there is, as long as it runs."""
        while not self._stopping:
            if not self.counts.up and not await self._try():
                await asyncio.sleep(self._rest_s)
                continue
            await self._wake.wait()
            self._wake.clear()
            while self.counts.up and (self._calls or self._posts):
                await self._send()

    async def take_turns(self) -> None:
        """Says twice a second that we live, and does what is to be done each turn."""
        while not self._stopping:
            await asyncio.sleep(TURN_S)
            if self.counts.up:
                await self._turn()

    def stop(self) -> None:
        """Its tasks are about to be cancelled: a client has been seen to swallow that."""
        self._stopping = True
        if self._posting is not None:
            self._posting.cancel()
        self._wake.set()

    async def drain(self) -> None:
        """Sends what waits, as far as it is answered."""
        while self.counts.up and (self._calls or self._posts):
            await self._send()

    async def _try(self) -> bool:
        """Whether it answers again; the scripts are there then."""
        try:
            async with asyncio.timeout(max(self._timeout_s * 10, 1.0)):
                for script in SCRIPTS:
                    self._hashes[script] = await self._client.script_load(script)
                await self._live()
        except self._errors as exc:
            self._failed(exc)
            return False
        if self.on_up is not None and self._told:
            await self.on_up()
        self.counts.up = True
        if self._told:
            log.info("shared.back")
        self._told = False
        return True

    async def _live(self) -> None:
        alive = self.name("alive")
        await self._client.hset(alive, self.owner, f"{time.time() + LIFE_S:.3f}")

    async def _turn(self) -> None:
        try:
            async with asyncio.timeout(max(self._timeout_s, 0.5)):
                await self._live()
                for do in self._turns:
                    await do()
        except self._errors as exc:
            await self._down(exc)

    async def _send(self) -> None:
        calls = [self._calls.popleft() for _ in range(min(PIPELINED, len(self._calls)))]
        room = PIPELINED - len(calls)
        posts = [self._posts.popleft() for _ in range(min(room, len(self._posts)))]
        # What was settled before is asked after it. Whoever left before it was asked for anything has
        # posted that it takes nothing: asked now, it would never be settled.
        calls = [each for each in calls if each.answer and not each.answer.done()]
        batch = posts + calls
        pipeline = self._client.pipeline(transaction=False)
        for each in batch:
            hash_ = self._hashes[each.script]
            pipeline.evalsha(hash_, len(each.keys), *each.keys, *each.args)
        try:
            async with asyncio.timeout(self._timeout_s):
                answers = await pipeline.execute(raise_on_error=False)
        except self._errors as exc:
            self._posts.extendleft(reversed(posts))
            self._refuse(calls, sent=True)
            await self._down(exc)
            return
        except asyncio.CancelledError:
            self._posts.extendleft(reversed(posts))
            self._refuse(calls, sent=True)
            raise
        wrong = None
        for each, answer in zip(batch, answers, strict=True):
            if isinstance(answer, BaseException):
                # A server that was started anew does not know the scripts.
                wrong = answer
                if each.answer is None:
                    self._posts.append(each)
            if each.answer is not None and not each.answer.done():
                if isinstance(answer, BaseException):
                    each.answer.set_exception(SharedAwayError(sent=False))
                else:
                    each.answer.set_result(answer)
        if wrong is not None:
            await self._down(wrong)

    def _refuse(self, calls: Sequence[Call], *, sent: bool) -> None:
        for each in calls:
            if each.answer is not None and not each.answer.done():
                each.answer.set_exception(SharedAwayError(sent=sent))

    async def _down(self, exc: BaseException) -> None:
        self._failed(exc)
        waiting, self._calls = list(self._calls), deque()
        self._refuse(waiting, sent=False)
        with contextlib.suppress(Exception):
            await self._client.connection_pool.disconnect(inuse_connections=True)
        self._wake.set()  # to try again

    def _failed(self, exc: BaseException) -> None:
        self.counts.up = False
        reason = "timeout" if isinstance(exc, TimeoutError) else "error"
        failures = self.counts.failures
        failures[(reason,)] = failures.get((reason,), 0) + 1
        if not self._told:  # one line for an outage
            self._told = True
            log.warning("shared.away", reason=f"{type(exc).__name__}: {exc}"[:200])


@asynccontextmanager
async def running_shared(
    url: str, prefix: str, timeout_s: float, rest_s: float
) -> AsyncIterator[Shared]:
    """Connects, and keeps trying where nobody answers. Raises ImportError without the extra."""
    import redis.asyncio
    import redis.exceptions

    scheme, mark, rest = url.partition("://")
    scheme = {"valkey": "redis", "valkeys": "rediss"}.get(scheme, scheme)
    client = redis.asyncio.Redis.from_url(
        f"{scheme}{mark}{rest}", decode_responses=True, retry_on_timeout=False
    )
    errors = (redis.exceptions.RedisError,)
    shared = Shared(client, errors, prefix, timeout_s, rest_s)
    await shared._try()
    tasks = [
        asyncio.create_task(shared.work(), name="shared"),
        asyncio.create_task(shared.take_turns(), name="shared-turns"),
    ]
    try:
        yield shared
    finally:
        shared.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await shared.drain()
        with contextlib.suppress(Exception):
            await client.hdel(shared.name("alive"), shared.owner)
        await client.aclose()
