"""Try the candidates in order until one answers; after its first event nothing is retried.

All attempts of a request share one deadline, and each is made afresh, header fields and credential included.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import attrs
import structlog

from lowproxy.config import Config
from lowproxy.core.chat import ChatRequest
from lowproxy.core.health import Health
from lowproxy.core.rotation import BUSY, LIMITED, REFUSED, Rest
from lowproxy.core.routing import RouteDecision
from lowproxy.core.secret import Secret
from lowproxy.core.upstreams import Candidate
from lowproxy.core.usage import Usage
from lowproxy.errors import (
    UpstreamCredentialError,
    UpstreamError,
    UpstreamRateLimitedError,
    UpstreamRefusedError,
    UpstreamRestingError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from lowproxy.providers import DIALECTS
from lowproxy.transport.answer import Client
from lowproxy.transport.dial import was_connecting
from lowproxy.transport.run import Cancellable
from lowproxy.transport.verdict import Stream, Whole, at_once, read
from lowproxy.transport.watch import Once, Watch

__all__ = ["Attempt", "Dispatch", "Stream", "Whole", "most_telling"]

log = structlog.get_logger("lowproxy.dispatch")


# The loop's clock has milliseconds: who has less than one left has none.
LEAST_S = 0.001


class Attempt(NamedTuple):
    """One candidate that was tried: what became of it, for the record."""

    candidate: str
    outcome: str  # "ok", an error's code, or "abandoned": the caller left meanwhile
    duration_s: float
    wasted: Usage | None = None  # tokens of an answer that failed, where it told them


_Turn = tuple[Candidate, Secret | None]
_new: Any = tuple.__new__  # a third of what `Attempt(...)` costs


@attrs.frozen
class Dispatch:
    """Sends requests up. `now` is the loop's clock in seconds.

    One request has `attempts_s` for all its attempts (0: no limit), `max_attempts` of them at the most. The
    watches hold the limit of one attempt.
    """

    client: Client
    health: Health
    first_byte: Watch
    unary: Watch
    now: Callable[[], float]
    max_attempts: int = 6
    attempts_s: float = 0.0
    # Credentials that were refused and complained of: provider, name, version.
    refused: set[tuple[str, str, int]] = attrs.field(factory=set)

    @classmethod
    def make(
        cls, client: Client, health: Health, config: Config, now: Callable[[], float]
    ) -> "Dispatch":
        """As configured."""
        times, limit_s = config.timeouts, config.timeouts.attempts_s

        def watch(own_s: float, option: str) -> Watch:
            if limit_s and not 0 < own_s <= limit_s:
                return Watch(limit_s, "attempts_s")
            return Watch(own_s, option)

        return cls(
            client,
            health,
            watch(times.first_byte_s, "first_byte_s"),
            watch(times.unary_s, "unary_s"),
            now,
            config.health.max_attempts,
            limit_s,
        )

    async def open(
        self,
        decision: RouteDecision,
        chat: ChatRequest,
        fields: Mapping[str, str],
        attempts: list[Attempt],
    ) -> Whole | Stream:
        """The first candidate's answer that is one. Adds to `attempts` as it goes, one per request sent.

        Raises the UpstreamError that tells the caller most when no candidate is left.
        """
        failures: list[UpstreamError] = []
        health, candidate = self.health, decision.candidates[0]
        credentials = candidate.endpoint.provider.credentials
        turn: _Turn | None = None
        turns: Iterator[_Turn] | None = None  # made when somebody has failed
        if health.troubled or len(credentials) > 1:
            turns = self._turns(decision.candidates, failures)
            turn = next(turns, None)
        else:  # as for nearly every request
            turn = candidate, credentials[0] if credentials else None
        began = at = self.now()
        watch = self.first_byte if chat.stream else self.unary
        while turn is not None:
            candidate, credential = turn
            if attempts:
                at = self.now()
                left_s = self.attempts_s - (at - began) if self.attempts_s else None
                is_over = left_s is not None and left_s < LEAST_S
                if is_over or len(attempts) >= self.max_attempts:
                    health.abandoned(candidate.id, at, at)
                    break
                if left_s is not None and not 0 < watch.limit_s <= left_s:
                    watch = Once(left_s, "attempts_s")
            dialect = DIALECTS[candidate.endpoint.provider.dialect]
            request = dialect.dress(chat, candidate, credential, fields)
            answer, wait = None, watch.begin()
            try:
                answer = await self.client.send(request)
                opened = at_once(candidate, dialect, answer) or await read(
                    candidate, chat, answer, at
                )
            except BaseException as exc:  # noqa: BLE001 - raised again, if no failure
                told = _told(exc, candidate, watch, wait)
                if answer is not None:
                    answer.close()
                failure = self._failed(turn, told, at, attempts)
                if isinstance(failure, UpstreamCredentialError) and credential:
                    credential.look_again()
                    again = dialect.dress(chat, candidate, credential, fields)
                    failure.renewed = again.fixed != request.fixed
                self._learn(candidate, credential, failure, at, self.now())
                failures.append(failure)
                if turns is None:
                    turns = self._turns(decision.candidates, failures, asked=candidate)
                turn = next(turns, None)
            else:
                if watch.end(wait) and wait is not None:
                    wait.uncancel()
                now = self.now()
                attempts.append(_new(Attempt, (candidate.id, "ok", now - at, None)))
                if isinstance(opened, Stream):
                    health.streaming(candidate.id, credential, at, now)
                else:
                    health.answered(candidate.id, credential, at, now)
                return opened
        raise most_telling(failures)

    def _failed(
        self, turn: _Turn, exc: BaseException, began: float, attempts: list[Attempt]
    ) -> UpstreamError:
        """What an attempt failed with, noted. Raises it where nobody else is to be asked."""
        (candidate, credential), now = turn, self.now()
        if isinstance(exc, asyncio.CancelledError):
            attempts.append(Attempt(candidate.id, "abandoned", now - began))
            self.health.abandoned(candidate.id, began, now)
        if not isinstance(exc, UpstreamError):
            raise exc
        wasted = Usage.read(exc.usage)
        attempts.append(Attempt(candidate.id, exc.code, now - began, wasted))
        if isinstance(exc, UpstreamRefusedError):
            self.health.worked(candidate.id, credential, began, now)
            raise exc
        return exc

    def _turns(
        self,
        candidates: Sequence[Candidate],
        failures: list[UpstreamError],
        asked: Candidate | None = None,
    ) -> Iterator[_Turn]:
        """Whom to ask next, and with what, as long as nobody has answered.

        In the order of the decision; who rests comes last, and may not be asked at all: what to tell of that
        is added to `failures`, to which the caller adds its own. `asked` has had its turn.
        """
        health, later = self.health, []
        for candidate in candidates:
            first = candidate is not asked
            if first and health.troubled and not health.admits(candidate, self.now()):
                later.append(candidate)
                continue
            credentials = candidate.endpoint.provider.credentials
            if len(credentials) < 2:  # no turns to take
                if first:
                    yield candidate, credentials[0] if credentials else None
                if not getattr(failures[-1], "renewed", False):
                    continue
            yield from self._credentials(candidate, failures)
        for candidate in later:
            now = self.now()
            if health.admits_last(candidate, now):
                yield from self._credentials(candidate, failures)
            else:
                failures.append(
                    _resting(candidate, health.rest_of(candidate, now), now)
                )

    def _credentials(
        self, candidate: Candidate, failures: list[UpstreamError]
    ) -> Iterator[_Turn]:
        """One candidate with one credential after the other, as long as these are what is refused."""
        tried: list[Secret | None] = []
        while True:
            try:
                credential = self.health.credential(candidate, self.now(), tried)
            except LookupError:
                return
            yield candidate, credential
            match failures[-1]:
                case UpstreamCredentialError(renewed=True):
                    continue
                case UpstreamCredentialError() | UpstreamRateLimitedError():
                    tried.append(credential)
                case _:
                    return

    def _learn(
        self,
        candidate: Candidate,
        credential: Secret | None,
        failure: UpstreamError,
        began: float,
        now: float,
    ) -> None:
        """What a failure says of the candidate, and of the credential that was used."""
        health, wait_s = self.health, failure.retry_after_s
        if isinstance(failure, UpstreamRateLimitedError):
            health.rest(candidate, credential, began, now, LIMITED, wait_s)
        elif isinstance(failure, UpstreamCredentialError):
            if not failure.renewed:
                health.rest(candidate, credential, began, now, REFUSED, wait_s)
                self._complain(candidate, credential)
        else:
            health.failed(candidate.id, began, now)
            if wait_s is not None:
                health.rest(candidate, credential, began, now, BUSY, wait_s)

    def _complain(self, candidate: Candidate, credential: Secret | None) -> None:
        """Once per credential: it is the operator's to mend. It is named by where it comes from."""
        name = credential.name if credential is not None else ""
        version = credential.version if credential is not None else 0
        provider = candidate.endpoint.provider.id
        if (provider, name, version) not in self.refused:
            self.refused.add((provider, name, version))
            log.warning(
                "upstream.credential_refused",
                provider=provider,
                endpoint=candidate.endpoint.id,
                credential=name or None,
            )


def _told(
    exc: BaseException, candidate: Candidate, watch: Watch, wait: Cancellable | None
) -> BaseException:
    """What ended an attempt: where that was its limit, the failure that says so."""
    # As asyncio.timeout: a cancellation that came from elsewhere as well stays one.
    late = watch.end(wait) and wait is not None and wait.uncancel() <= 0
    if not isinstance(exc, TimeoutError) and not (
        late and isinstance(exc, asyncio.CancelledError)
    ):
        return exc
    name, limit = candidate.endpoint.id, f"within {watch.option} ({watch.limit_s:g} s)"
    if was_connecting(exc) or was_connecting(exc.__cause__):
        return UpstreamUnreachableError(f"{name}: no connection {limit}")
    return UpstreamTimeoutError(f"{name}: no answer {limit}")


def most_telling(failures: list[UpstreamError]) -> UpstreamError:
    """What the caller is told when every candidate failed.

    429 only where all said so, with the least of their waits; else the last that failed with a request
    under way, else the last that could not be reached.
    """
    limited = [f for f in failures if isinstance(f, UpstreamRateLimitedError)]
    if len(limited) < len(failures):
        others = [f for f in failures if f not in limited]
        sent = [f for f in others if not isinstance(f, UpstreamUnreachableError)]
        return (sent or others)[-1]
    waits = [f.retry_after_s for f in limited if f.retry_after_s is not None]
    return UpstreamRateLimitedError(
        limited[-1].message, retry_after_s=min(waits, default=1.0)
    )


def _resting(candidate: Candidate, rest: Rest | None, now: float) -> UpstreamError:
    """Why it was not asked: the upstream has said when to come back, or somebody is asking already."""
    name = candidate.endpoint.id
    if rest is None:
        text = f"{name}: it has been failing, and is being tried again"
        return UpstreamRestingError(text, retry_after_s=1.0)
    text, wait_s = f"{name}: it asked to be left alone for now", rest.until - now
    kind = UpstreamRateLimitedError if rest.reason == LIMITED else UpstreamRestingError
    return kind(text, retry_after_s=wait_s)
