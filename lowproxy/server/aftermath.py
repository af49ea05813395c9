"""What goes on after a caller has left: an upstream's answer that is still read, for its usage.

`[relay] on_disconnect` says which way: `cancel` closes the upstream at once (nobody pays for tokens that
nobody reads), `drain` reads the answer to its end (the provider bills it anyway, and the books are whole),
`bounded` reads for at most `drain_limit_s`.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any


class Aftermath:
    """Owns the tasks that outlive their request; ended with the server."""

    def __init__(self, policy: str, limit_s: float) -> None:
        self.tasks: set[asyncio.Task[None]] = set()  # answers that are read on
        self.use(policy, limit_s)

    def use(self, policy: str, limit_s: float) -> None:
        """Another policy, for what begins from now on."""
        self.keeps = policy != "cancel"
        self._limit_s = limit_s if policy == "bounded" else None

    def __len__(self) -> int:
        """How many answers are being read on."""
        return len(self.tasks)

    def adopt(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Runs `work` to its end, or to the limit, which it sees as a cancellation."""
        task = asyncio.create_task(self._within_limit(work), name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def close(self) -> None:
        """Cancels what is still going on, and waits for its books to be written."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _within_limit(self, work: Coroutine[Any, Any, None]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limit_s):
                await work
