"""An upstream's answer while it is still coming in."""

from collections.abc import Mapping
from typing import Protocol

from lowproxy.config import Timeouts
from lowproxy.providers.provider import UpstreamRequest
from lowproxy.transport.sink import Sink


class Answer(Protocol):
    """Status and header fields are there, the body is not.

    First it is pulled (`more`), until somebody knows what it is; then it may be told to push (`pump`).
    """

    status: int
    fields: Mapping[str, str]  # by lower-case names: those that we look at
    down: str  # those that the caller gets, as lines
    whole: (
        bytes | None
    )  # the body where it came in one piece with the head; `more` gives it as well

    async def more(self) -> bytes:
        """The next bytes of the body, b"" at its clean end. Raises UpstreamError."""

    async def pump(self, sink: Sink) -> None:
        """Writes the rest of the body into `sink`, returns at its clean end. Raises UpstreamError."""

    def close(self) -> None:
        """Nobody wants the rest: the connection is closed unless the body has ended. Idempotent."""


class Client(Protocol):
    """Sends requests to upstreams over pooled connections."""

    async def send(self, request: UpstreamRequest) -> Answer:
        """Connects, sends, and waits for the head of the answer. Raises UpstreamError.

        A kept-alive connection that turns out to be dead before a byte was received is replaced by a
        fresh one, once.
        """


class Pooled(Client, Protocol):
    """A client with its pool of connections."""

    def limited(self, timeouts: Timeouts) -> Client:
        """The same connections under other time limits; answers that have begun keep theirs."""
