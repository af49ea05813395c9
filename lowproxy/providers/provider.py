"""What a wire dialect has to offer: how to dress a request, and how to read what came back."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

import attrs

from lowproxy.core.chat import ChatRequest
from lowproxy.core.secret import Secret
from lowproxy.core.upstreams import Candidate
from lowproxy.errors import UpstreamError


# Not slotted: attrs builds such a frozen value three times as quickly.
@attrs.frozen(slots=False)
class UpstreamRequest:
    """One attempt, ready to be sent.

    `fixed` are the header fields that requests to the same place share (a client may keep them in their
    sent form), `extra` the caller's own. `fixed` holds a credential, so it is never shown.
    """

    endpoint_id: str
    url: str
    fixed: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    extra: list[tuple[str, str]] = attrs.field(repr=False)
    pieces: tuple[bytes | memoryview, ...] = attrs.field(repr=False)  # of the body

    @property
    def body(self) -> bytes:
        """The body as a whole: a copy, unless it is in one piece."""
        return b"".join(self.pieces)


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
