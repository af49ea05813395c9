"""Pass a stream of chat completion chunks on, and put `lowrouter` into its final chunk.

A pure machine: bytes in, bytes out. Every event leaves as it came but for the value of `model`. Three kinds
of event get more attention, because nobody can say what the final chunk is before the next one is seen:

- a chunk with a finish reason is held until what follows it decides who carries `lowrouter`. Usage follows:
  the held chunk is annotated (the caller did not ask for usage) or the usage chunk is (it did). `[DONE]` or
  the end follows: the held chunk is annotated. Anything else follows: it was not the final one, and leaves.
- a chunk with empty `choices` reaches only a caller who asked for usage;
- of an upstream that tells its energy in a comment behind the usage a held chunk waits for that, too;
- `[DONE]`: what is missing before it (usage that was asked for, `lowrouter`) is made.

A stream that cannot be read passes as it is.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from lowproxy.core import splice
from lowproxy.core.chunks import (
    ended,
    finishes,
    is_plain,
    is_whole,
    pieces_and_bytes,
)
from lowproxy.core.eco import Reading
from lowproxy.core.eco_measured import told_beside, told_in
from lowproxy.core.parsing import loads
from lowproxy.core.shape import Shape
from lowproxy.core.sse import LATE_LF, Cutter, payload
from lowproxy.core.template import Template, learn
from lowproxy.core.usage import Usage

# An event that may be the final one is held whole; no provider is known to send a larger one.
MAX_EVENT_BYTES = 8 * 1024 * 1024
# A comment is never final: there is no reason to hold a long one, or many behind a held chunk.
MAX_COMMENT_BYTES = 64 * 1024
# A longer opening holds more than ids and names: it will not be seen again.
MAX_PREFIX_BYTES = 1024

# A stream whose chunks differ in more than their text is not learned over and over.
MAX_LEARNED = 8
# Chunks unlike the learned one before another is learned: the first has a role, the others have not.
MISSES = 2

Annotate = Callable[[Usage | None], bytes]


class TailRewriter:
    """One stream's way through.

    `model` is the resolved catalogue id; `annotate` gives the JSON of the `lowrouter` object for a usage;
    `prompt_tokens` is our own count, used where the upstream sends no usage. `hear` is told what the upstream
    says of its energy, before the final chunk is annotated where that is possible; `reading_is_late` says
    that it will be told after the usage.
    """

    __slots__ = (
        "_annotate",
        "_annotated",
        "_cutter",
        "_dropped",
        "_due",
        "_hear",
        "_held",
        "_known",
        "_learned",
        "_misses",
        "_model",
        "_new_prefix",
        "_overhead",
        "_prefix",
        "_prompt_tokens",
        "_queue",
        "_queued",
        "_raw",
        "_reading_is_late",
        "_shape",
        "_span",
        "_text",
        "_wants_usage",
        "done",
        "error",
        "holds",
        "pieces",
        "template",
        "truncated",
        "unreadable",
        "usage",
    )

    def __init__(
        self,
        *,
        model: str,
        wants_usage: bool,
        annotate: Annotate,
        prompt_tokens: int = 0,
        hear: Callable[[Reading], None] | None = None,
        reading_is_late: bool = False,
    ) -> None:
        self._model = splice.quoted(model)
        self._wants_usage = wants_usage
        self._annotate = annotate
        self._prompt_tokens = prompt_tokens
        self._hear = hear
        self._reading_is_late = reading_is_late
        self._cutter = Cutter()
        # An event's bytes up to the end of its model value as last seen, what they become, and the
        # same while an event that begins with them may go the short way: else empty.
        self._prefix = self._new_prefix = self._known = b""
        self.template: Template | None = None  # while the short way is open
        self._learned = 0  # templates so far
        self._misses = 0  # chunks that went by searches since the last one
        self._span: tuple[int, int] | None = (
            None  # of the model's value in the last event
        )
        self._held = b""
        self._queue: list[bytes] = []  # comments that came behind the held chunk
        self._queued = 0  # their bytes
        self._due = False  # it is the final one: only its reading is awaited
        self._shape = Shape()
        self._annotated = False  # and no chunk with choices has followed
        self._dropped = False  # the last event was withheld
        self._raw = False  # no longer looking
        self._text = 0  # bytes of text so far, about
        self._overhead = 0  # bytes of a chunk besides its text
        self.holds = 0  # chunks held so far
        self.pieces = 0  # chunks that carried something so far
        self.usage: Usage | None = None
        self.done = False  # [DONE] has passed, or was added
        self.error: object = None  # what the upstream said went wrong, in band
        self.truncated = False  # the stream ended within an event
        self.unreadable = 0  # events that are not JSON objects, or past the bound

    # --- what the relay calls ------------------------------------------------------------------

    def feed(self, data: bytes) -> bytes:
        """What may leave now that `data` has come."""
        if self._raw:
            self._text += len(data)
            return data
        template = self.template
        if template is not None and template.pieces:
            self._count(template)
        if template is not None and not self._cutter.carry:
            passed = template.apply(data)  # mostly a read is one event
            if passed is not None:
                self.pieces += 1
                self._text += len(data) - self._overhead
                return passed
        known = self._known
        out = []
        for event in self._cutter.feed(data):
            if template is not None and (passed := template.apply(event)) is not None:
                self.pieces += 1
                self._text += len(event) - self._overhead
                out.append(passed)
            elif (
                known
                and self._misses < MISSES
                and event.startswith(known)
                and is_plain(event, len(known))
            ):
                self.pieces += 1
                self._misses += self._learned < MAX_LEARNED
                self._text += len(event) - self._overhead
                out.append(self._new_prefix + event[len(known) :])
            else:
                out.append(self._look_at(event))
                known, template = self._known, self.template
        if self._cutter.pending > MAX_COMMENT_BYTES:
            out.append(self._bound())
        return out[0] if len(out) == 1 else b"".join(out)

    @property
    def between_events(self) -> bool:
        """Whether nothing of an unfinished event is kept here."""
        return not self._cutter.carry

    @property
    def holding(self) -> bool:
        """Whether a chunk waits for what follows it."""
        return bool(self._held)

    def release(self) -> bytes:
        """The held chunk has waited long enough: it leaves annotated with what is known."""
        return self._let_go(annotated=True)

    def close(self) -> bytes:
        """What leaves at the clean end of the upstream's stream.

        Where `truncated` is set afterwards the end was not clean after all: `fail` is to follow.
        """
        rest = self._cutter.rest()
        if self.template is not None:
            self._count(self.template)
        if self._raw or self.error is not None:
            return b""
        if self.done:
            return rest
        out = b""
        if rest and is_whole(rest):
            out = self._look_at(ended(rest, self._shape.end))
        elif rest and self._shape.known:
            self.truncated = True
            return b""
        elif rest:
            out = rest
        if self.done or not self._shape.known or self.error is not None:
            return out
        self.done = True
        return out + self._finale() + self._shape.event(b"[DONE]")

    def fail(self, error: Mapping[str, Any]) -> bytes:
        """What leaves when the stream breaks: `error` is `{"error": {...}}`. Nothing once it is complete."""
        if self.template is not None:
            self._count(self.template)
        if self.done or self.error is not None:
            return b""
        due = self._let_go(annotated=True) if self._due else b""
        if self._annotated and not self._held and not self._raw:
            # The final chunk has left: nothing is missing but the mark.
            self.done = True
            return due + self._shape.event(b"[DONE]")
        # An event that was half sent when looking stopped is ended by a blank line.
        begin = b"\n\n" if self._raw else self._let_go(annotated=False)
        self.error, self._known, self.template = error["error"], b"", None
        self._cutter.rest()
        value = orjson.Fragment(self._annotate(self.known_usage()))
        return begin + self._shape.event(orjson.dumps({**error, "lowrouter": value}))

    def known_usage(self) -> Usage:
        """The upstream's usage, or our own count of what has come so far."""
        if self.usage is not None:
            return self.usage
        if self.template is not None:
            self._count(self.template)
        # One piece is one token with most upstreams, of four or five bytes; those that send
        # several in a piece are measured by their bytes, at four to a token.
        several = self._text > 8 * self.pieces
        completion = self._text // 4 if several else self.pieces
        return Usage(self._prompt_tokens, completion, counted=True)

    def _count(self, template: Template) -> None:
        """Takes over what the template has passed by itself."""
        self.pieces += template.pieces
        self._text += template.size - template.pieces * self._overhead
        template.pieces = template.size = 0

    # --- one event -----------------------------------------------------------------------------

    def _look_at(self, event: bytes) -> bytes:
        pieces, self._span = self.pieces, None
        out = self._late_lf() if event == LATE_LF else self._any(event)
        # The short way asks nothing of these, and has to know what a chunk is besides its text.
        closed = self._held or self._dropped or self._annotated or self.done
        closed = closed or not self._overhead or self.error is not None
        self._known = b"" if closed else self._prefix
        if closed:
            self.template = None
        elif self.pieces == pieces + 1 and self._learned < MAX_LEARNED:
            self._learned += 1
            self._misses = 0
            self.template = learn(event, self._span, self._model)
        return out

    def _any(self, event: bytes) -> bytes:
        self._dropped = self.error is not None
        if self.done or self._dropped:
            self._listen(told_beside(event))
            return b"" if self._dropped else event
        body = payload(event)
        text = b"" if body is None else body.strip()
        if body is None or not text:
            return self._without_data(event)
        if text == b"[DONE]":
            self._listen(told_beside(event))
            out = self._finale() + event
            self.done = True
            return out
        try:
            chunk = loads(body)
        except ValueError:
            chunk = None
        if not isinstance(chunk, dict):
            self.unreadable += 1
            return self._let_go(annotated=False) + event
        out = self._with_model(event, body, chunk)
        return self._chunk(out, chunk, len(event))

    def _without_data(self, event: bytes) -> bytes:
        heard = self._listen(told_beside(event))
        if not self._held:
            return event
        self._queue.append(event)
        self._queued += len(event)
        over = self._queued > MAX_COMMENT_BYTES or (heard and self._due)
        return self.release() if over else b""

    def _listen(self, reading: Reading | None) -> bool:
        if reading is not None and self._hear is not None:
            self._hear(reading)
        return reading is not None

    def _chunk(self, event: bytes, chunk: dict[str, Any], came: int) -> bytes:
        """What becomes of a chunk that `came` with so many bytes."""
        usage = Usage.read(chunk.get("usage"))
        if usage is not None:
            self.usage = usage
        if chunk.get("error"):
            out = self._let_go(annotated=False) + self._annotate_event(event)
            self.error = chunk["error"]
            return out
        if "choices" not in chunk and usage is None:
            self._listen(told_in(chunk))
            return self._let_go(annotated=False) + event
        choices = chunk.get("choices")
        self._shape.learn(event, chunk, self._model)
        if not choices:
            self._listen(told_in(chunk))
            return self._without_choices(event, usage)
        pieces, size = pieces_and_bytes(choices)
        if pieces:
            self.pieces += pieces
            self._text += size
            self._overhead = came - size
        out = self._let_go(annotated=False)
        self._annotated = False
        if finishes(choices):
            self._listen(told_in(chunk))
            return out + self._finish(event, usage)
        return out + event

    def _without_choices(self, event: bytes, usage: Usage | None) -> bytes:
        if self._wants_usage:
            # It waits for nothing: a reading that comes behind it reaches the record.
            out = self._let_go(annotated=False)
            return out + (event if usage is None else self._annotate_event(event))
        self._dropped = True
        if self._held and self._reading_is_late and usage is not None:
            self._due = True
            return b""
        return b"" if usage is None else self._let_go(annotated=True)

    def _finish(self, event: bytes, usage: Usage | None) -> bytes:
        if self._wants_usage and usage is None:
            # Usage, theirs or ours, is still to come and will be the final chunk.
            return event
        self._held = event
        self.holds += 1
        return b""

    def _finale(self) -> bytes:
        """What is still owed before [DONE]."""
        if self._held:
            return self._let_go(annotated=True)
        if self._annotated or not self._shape.known:
            return b""
        usage = self.known_usage() if self._wants_usage else None
        return self._annotate_event(self._shape.final_chunk(usage))

    # --- helpers -------------------------------------------------------------------------------

    def _let_go(self, *, annotated: bool) -> bytes:
        held, self._held = self._held, b""
        if not held:
            return b""
        if annotated or self._due:
            self._due = False
            held = self._annotate_event(held)
        queue, self._queue, self._queued = self._queue, [], 0
        return b"".join([held, *queue])

    def _annotate_event(self, event: bytes) -> bytes:
        self._annotated = True
        body = payload(event)
        assert body is not None, "only events with data are annotated"
        value = self._annotate(self.known_usage())
        return splice.put_member(body, loads(body), "lowrouter", value, within=event)

    def _with_model(self, event: bytes, body: bytes, chunk: dict[str, Any]) -> bytes:
        if not isinstance(chunk.get("model"), str):
            return event
        span = splice.string_value_span(body, b"model")
        if span is None:
            rows = [m for m in splice.members(body) if m.key == "model"]
            if len(rows) > 1:
                self._learned = MAX_LEARNED
                return splice.changed(
                    event, [(m.value_start, m.value_end, self._model) for m in rows]
                )
            span = rows[0].value_start, rows[0].value_end
        start, end = span
        self._span = span
        new_prefix = event[:start] + self._model
        if end <= MAX_PREFIX_BYTES:
            self._prefix, self._new_prefix = event[:end], new_prefix
        return new_prefix + event[end:]

    def _late_lf(self) -> bytes:
        if self._dropped:
            return b""
        if self._held:
            if self._queue:
                self._queue.append(LATE_LF)
            else:
                self._held += LATE_LF
            return b""
        return LATE_LF

    def _bound(self) -> bytes:
        if (
            self._cutter.pending <= MAX_EVENT_BYTES
            and not self._cutter.pending_is_comment
        ):
            return b""
        self.unreadable += 1
        self._raw, self._known, self.template = True, b"", None
        self._text += self._cutter.pending
        return self._let_go(annotated=False) + self._cutter.rest()
