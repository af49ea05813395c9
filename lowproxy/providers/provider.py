"""What a wire dialect has to offer: how to dress a request, and how to read what came back."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import attrs

from lowproxy.core.chat import ChatRequest
from lowproxy.core.secret import Secret
from lowproxy.core.upstreams import Candidate
from lowproxy.errors import UpstreamError


@attrs.define(eq=False)
class Destination:
    """Where requests go, and the header fields that all of them share there.

    `fixed` holds a credential, so it is never shown. `lead` is the client's own: what it has made of the rest.
    """

    endpoint_id: str
    url: str
    fixed: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    lead: Any = attrs.field(default=None, repr=False)


class UpstreamRequest(NamedTuple):
    """One attempt, ready to be sent: `extra` are the caller's own header fields."""

    to: Destination
    extra: Sequence[tuple[str, str]]
    pieces: tuple[bytes | memoryview, ...]  # of the body

    @property
    def fixed(self) -> tuple[tuple[str, str], ...]:
        """The header fields that are ours."""
        return self.to.fixed

    @property
    def body(self) -> bytes:
        """The body as a whole: a copy, unless it is in one piece."""
        return b"".join(self.pieces)

    def __repr__(self) -> str:
        """Without what is the caller's."""
        return f"UpstreamRequest({self.to!r})"


class Dialect(Protocol):
    """A way to speak to upstreams. Pure: values in, values out."""

    def dress(
        self,
        chat: ChatRequest,
        candidate: Candidate,
        credential: Secret | None,
        fields: Mapping[str, str],
    ) -> UpstreamRequest:
        """The request for one candidate; `fields` are the caller's header fields.

        `credential` is one of the provider's, None where it wants none.
        """

    def failure(
        self,
        candidate: Candidate,
        status: int,
        fields: Mapping[str, str],
        body: bytes,
        now: datetime,
    ) -> UpstreamError:
        """What an answer that is not a success means, and whose fault it is."""

    def failure_within(
        self, candidate: Candidate, answer: Mapping[str, Any]
    ) -> UpstreamError | None:
        """The failure that a parsed answer or event of a successful status reports, if it does."""
