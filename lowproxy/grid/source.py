"""What an adapter of a live source is: what to ask, and how to read the answer. No I/O."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import attrs

from lowproxy.core.grid_reading import GridReading


@attrs.frozen
class Question:
    """One HTTP GET, or one look at a file. Neither fields nor parameters are printed: they may hold a token."""

    where: str | Path = attrs.field(repr=False)
    zone: str | None = None  # None: about all that the source holds
    params: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    fields: Mapping[str, str] = attrs.field(factory=dict, repr=False)


class GridSource(Protocol):
    """One live source, made from its `FeedConfig`."""

    def questions(self, now: float) -> Sequence[Question]:
        """All that is to be asked in one round; `now` in seconds since the epoch."""

    def read(self, question: Question, body: bytes, at: float) -> list[GridReading]:
        """The readings in an answer of status 200, not yet checked for sense.

        `at` is when the file was written or the answer asked for, in seconds since
        the epoch, for sources that do not say. Raises RejectedReadingError.
        """
