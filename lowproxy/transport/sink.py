"""Where an upstream's answer goes: it pushes, and the sink can make it stop."""

from asyncio import WriteTransport
from collections.abc import Callable
from typing import Protocol

# What becomes of a read of the upstream's socket, framing and all, and where that is written. The first
# gives None for a read that has to be looked at.
Short = tuple[Callable[[bytes], bytes | None], WriteTransport]


class Flow(Protocol):
    """The pushing side, as the sink sees it."""

    def pause(self) -> None:
        """Read no more from the upstream until `resume`. Idempotent."""

    def resume(self) -> None:
        """Read on. Idempotent."""


class Sink(Protocol):
    """The receiving side, as the upstream's answer sees it."""

    def attach(self, flow: Flow) -> None:
        """Names who is to be paused while the caller cannot take more."""

    def write(self, data: bytes) -> None:
        """Takes bytes as they came; never blocks."""

    def short(self) -> Short | None:
        """The short way of the next read, if there is one: without unframing it, without another call."""
