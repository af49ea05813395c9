"""Where an upstream's answer goes: it pushes, and the sink can make it stop."""

from typing import Protocol


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
