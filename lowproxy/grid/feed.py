"""Live sources, asked in the background: last good readings, and what is in use now.

Requests never wait for any of this: they read what was published last.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
import structlog

from lowproxy.config import FeedConfig
from lowproxy.core.eco import CarbonIntensity
from lowproxy.core.grid_reading import (
    GridReading,
    RejectedReadingError,
    believable,
    garbage,
)
from lowproxy.grid import make_source
from lowproxy.grid.asking import RefusedError, ask, running_session
from lowproxy.grid.board import Board
from lowproxy.grid.source import GridSource, Question
from lowproxy.metrics import Metrics

log = structlog.get_logger("lowproxy.grid")

Clock = Callable[[], float]  # seconds since the epoch
Publish = Callable[[Mapping[str, CarbonIntensity]], None]

# Questions at a time, of one source.
_AT_ONCE = 4
# However long a source wants us to stay away, so often it is asked again.
MAX_REST_S = 6 * 3600.0


@asynccontextmanager
async def running_feeds(
    configs: tuple[FeedConfig, ...],
    publish: Publish,
    metrics: Metrics,
    clock: Clock = time.time,
) -> AsyncIterator[None]:
    """Asks all sources until left. `publish` gets all fresh readings whenever they change."""
    if not configs:
        yield
        return
    board = Board(configs)
    metrics.hooks.grid = lambda: board.held(clock())
    async with running_session() as session:
        notice = Notice(board, publish, clock)
        tasks = [
            asyncio.create_task(
                Feed(place, config, session, board, metrics, clock).run(notice.renew),
                name=f"grid-{place}-{config.kind}",
            )
            for place, config in enumerate(configs)
        ]
        try:
            yield
        finally:
            notice.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class Notice:
    """Publishes what is fresh when that changes: after a round, and when a reading gets too old."""

    def __init__(self, board: Board, publish: Publish, clock: Clock) -> None:
        self._board, self._publish, self._clock = board, publish, clock
        self._published: Mapping[str, CarbonIntensity] = {}
        self._timer: asyncio.TimerHandle | None = None

    def renew(self) -> None:
        """Publishes where something changed, and comes back when something will."""
        self.close()
        now = self._clock()
        expiry = self._board.next_expiry(now)
        if expiry is not None:
            # A little later, so that it has expired by then.
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(expiry - now + 0.1, self.renew)
        current = self._board.current(now)
        if current != self._published:
            self._published = current
            self._publish(current)

    def close(self) -> None:
        """Does not come back."""
        if self._timer is not None:
            self._timer.cancel()


class Feed:
    """One source, asked in rounds; what it gives and is believable goes to the board."""

    def __init__(
        self,
        place: int,
        config: FeedConfig,
        session: aiohttp.ClientSession,
        board: Board,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._place, self._config, self._session = place, config, session
        self._board, self._metrics, self._clock = board, metrics, clock
        self._source: GridSource = make_source(config)
        self._refusals = 0  # rounds in a row in which we were told to stay away
        self._failing: dict[str | None, str] = {}  # zone to the reason that was logged

    async def run(self, after_round: Callable[[], None]) -> None:
        """Rounds and rests, for ever."""
        while True:
            rest_s = await self.round()
            after_round()
            await asyncio.sleep(rest_s)

    async def round(self) -> float:
        """Asks everything once; the seconds to rest before the next round."""
        turns = asyncio.Semaphore(_AT_ONCE)
        refused: list[RefusedError] = []

        async def one(question: Question) -> None:
            async with turns:
                if refused:  # meant for us, not for the zone: no more of this round
                    return
                try:
                    await self._ask(question)
                except RefusedError as exc:
                    refused.append(exc)
                    self._failed(question.zone, exc.reason)
                except RejectedReadingError as exc:
                    self._failed(question.zone, exc.reason)

        questions = self._source.questions(self._clock())
        await asyncio.gather(*(one(question) for question in questions))
        self._refusals = self._refusals + 1 if refused else 0
        after = max((exc.retry_after_s or 0.0 for exc in refused), default=0.0)
        return rest_s(self._config.refresh_s, self._refusals, after)

    async def _ask(self, question: Question) -> None:
        now = self._clock()
        reply = await ask(self._session, question, self._config.timeout_s, now)
        for reading in self._read(question, reply.body, reply.at):
            try:
                believable(reading, self._clock(), self._config.max_age_s)
            except RejectedReadingError as exc:
                self._failed(reading.zone, exc.reason)
            else:
                self._board.put(self._place, reading)
                self._worked(reading.zone)
        if question.zone is None:
            self._worked(None)

    def _read(self, question: Question, body: bytes, at: float) -> list[GridReading]:
        try:
            return self._source.read(question, body, at)
        except RejectedReadingError:
            raise
        except Exception:  # noqa: BLE001 - whatever they send, the rounds go on
            garbage()

    def _failed(self, zone: str | None, reason: str) -> None:
        self._metrics.grid_failures.add((self._config.label, reason))
        if self._failing.get(zone) != reason:
            self._failing[zone] = reason
            log.warning(
                "grid.failed", source=self._config.label, zone=zone, reason=reason
            )

    def _worked(self, zone: str | None) -> None:
        if self._failing.pop(zone, None) is not None:
            log.info("grid.recovered", source=self._config.label, zone=zone)


def rest_s(refresh_s: float, refusals: int, retry_after_s: float) -> float:
    """Seconds between rounds: longer after each refusal in a row, or as long as was asked for."""
    if not refusals:
        return refresh_s
    wanted = retry_after_s or refresh_s * 2 ** min(refusals, 10)
    return max(refresh_s, min(wanted, MAX_REST_S))
