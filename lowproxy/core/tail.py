"""Pass a stream of chat completion chunks on, and put `lowrouter` into its final chunk.

A pure machine: bytes in, bytes out. Every event leaves as it came but for the value of `model`. Three kinds
of event get more attention, because nobody can say what the final chunk is before the next one is seen:

- a chunk with a finish reason is held until what follows it decides who carries `lowrouter`. Usage follows:
  the held chunk is annotated (the caller did not ask for usage) or the usage chunk is (it did). `[DONE]` or
  the end follows: the held chunk is annotated. Anything else follows: it was not the final one, and leaves.
- a chunk with empty `choices` reaches only a caller who asked for usage;
- `[DONE]`: what is missing before it (usage that was asked for, `lowrouter`) is made.

A stream that cannot be read passes as it is.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from lowproxy.core import splice
from lowproxy.core.parsing import loads
from lowproxy.core.sse import LATE_LF, Cutter, payload
from lowproxy.core.usage import Usage

# An event that may be the final one is held whole; no provider is known to send a larger one.
MAX_EVENT_BYTES = 8 * 1024 * 1024
# A comment is never final: there is no reason to hold a long one.
MAX_COMMENT_BYTES = 64 * 1024

DONE = b"data: [DONE]\n\n"

Annotate = Callable[[Usage | None], bytes]


class TailRewriter:
    """One stream's way through.

    `model` is the resolved catalogue id; `annotate` gives the JSON of the `lowrouter` object for a usage;
    `prompt_tokens` is our own count, used where the upstream sends no usage.
    """

    __slots__ = (
        "_annotate",
        "_annotated",
        "_cutter",
        "_dropped",
        "_held",
        "_like",
        "_model",
        "_new_prefix",
        "_overhead",
        "_prefix",
        "_prompt_tokens",
        "_queue",
        "_raw",
        "_size",
        "_wants_usage",
        "done",
        "error",
        "pieces",
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
    ) -> None:
        self._model = orjson.dumps(model)
        self._wants_usage = wants_usage
        self._annotate = annotate
        self._prompt_tokens = prompt_tokens
        self._cutter = Cutter()
        self._prefix = (
            b""  # an event's bytes up to the end of its model value, as last seen
        )
        self._new_prefix = b""
        self._held = b""
        self._queue: list[bytes] = []  # comments that came behind the held chunk
        self._like: dict[str, Any] | None = (
            None  # id, created, ... of a chunk of this stream
        )
        self._annotated = False
        self._dropped = False  # the last event was withheld
        self._raw = False  # no longer looking
        self._size = 0
        self._overhead = 0
        self.pieces = 0  # chunks with choices so far
        self.usage: Usage | None = None
        self.done = False  # [DONE] has passed, or was added
        self.error: object = None  # what the upstream said went wrong, in band
        self.truncated = False  # the stream ended within an event
        self.unreadable = 0  # events that are not JSON objects, or past the bound

    # --- what the relay calls ------------------------------------------------------------------

    def feed(self, data: bytes) -> bytes:
        """What may leave now that `data` has come."""
        if self._raw:
            return data
        self._size += len(data)
        prefix = self._prefix
        out = []
        for event in self._cutter.feed(data):
            if (
                prefix
                and not self._held
                and event.startswith(prefix)
                and _is_plain(event)
            ):
                self.pieces += 1
                self._dropped = False
                out.append(self._new_prefix + event[len(prefix) :])
            else:
                out.append(self._look_at(event))
                prefix = self._prefix
        if self._cutter.pending > MAX_COMMENT_BYTES:
            out.append(self._bound())
        return out[0] if len(out) == 1 else b"".join(out)

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
        if self._raw or self.error is not None:
            return rest if self._raw else b""
        out = b""
        if rest:
            whole = rest + (b"\n" if rest.endswith((b"\n", b"\r")) else b"\n\n")
            if _is_whole(whole):
                out = self._look_at(whole)
            elif self._like is None:
                out = rest
            else:
                self.truncated = True
                return b""
        if self.done or self._like is None or self.error is not None:
            return out
        self.done = True
        return out + self._finale() + DONE

    def fail(self, error: Mapping[str, Any]) -> bytes:
        """What leaves when the stream breaks: `error` is `{"error": {...}}`. Nothing once it is complete."""
        if self.done or self.error is not None:
            return b""
        if self._annotated and not self._held and not self._raw:
            self.done = (
                True  # the final chunk has left: nothing is missing but the mark
            )
            return DONE
        # An event that was half sent when looking stopped is ended by a blank line.
        begin = b"\n\n" if self._raw else self._let_go(annotated=False)
        self.error = error["error"]
        self._cutter.rest()
        event = orjson.dumps(
            {**error, "lowrouter": orjson.Fragment(self._annotate(self.known_usage()))}
        )
        return begin + b"data: " + event + b"\n\n"

    def known_usage(self) -> Usage:
        """The upstream's usage, or our own count of what has come so far."""
        if self.usage is not None:
            return self.usage
        # One piece is one token with most upstreams; those that send several in a piece are
        # measured by their bytes, at four to a token.
        text = self._size - self.pieces * self._overhead
        return Usage(self._prompt_tokens, max(self.pieces, text // 4), counted=True)

    # --- one event -----------------------------------------------------------------------------

    def _look_at(self, event: bytes) -> bytes:
        if event == LATE_LF:
            return self._late_lf()
        self._dropped = False
        body = payload(event)
        if body is None:
            if self._held:
                self._queue.append(event)
                return b""
            return event
        if self.done or self.error is not None:
            return event if self.done else b""
        if body.strip() == b"[DONE]":
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
        return self._chunk(self._with_model(event, body, chunk), chunk)

    def _chunk(self, event: bytes, chunk: dict[str, Any]) -> bytes:
        usage = Usage.read(chunk.get("usage"))
        if usage is not None:
            self.usage = usage
        if chunk.get("error"):
            out = self._let_go(annotated=False) + self._annotate_event(event)
            self.error = chunk["error"]
            return out
        if "choices" not in chunk:
            return self._let_go(annotated=False) + event
        self._remember(event, chunk)
        choices = chunk["choices"]
        if not choices:
            return self._without_choices(event, usage)
        self.pieces += 1
        if _finishes(choices):
            return self._finish(event, usage)
        return self._let_go(annotated=False) + event

    def _without_choices(self, event: bytes, usage: Usage | None) -> bytes:
        if self._wants_usage:
            out = self._let_go(annotated=False)
            return out + (event if usage is None else self._annotate_event(event))
        self._dropped = True
        return b"" if usage is None else self._let_go(annotated=True)

    def _finish(self, event: bytes, usage: Usage | None) -> bytes:
        out = self._let_go(annotated=False)
        if self._wants_usage and usage is None:
            return (
                out + event
            )  # usage, theirs or ours, is still to come and will be the final chunk
        self._held = event
        return out

    def _finale(self) -> bytes:
        """What is still owed before [DONE]."""
        if self._held:
            return self._let_go(annotated=True)
        if self._annotated or self._like is None:
            return b""
        if self._wants_usage:
            last: dict[str, Any] = {
                "choices": [],
                "usage": self.known_usage().as_openai(),
            }
        else:
            last = {"choices": [{"index": 0, "delta": {}, "finish_reason": None}]}
        return self._annotate_event(
            b"data: " + orjson.dumps({**self._like, **last}) + b"\n\n"
        )

    # --- helpers -------------------------------------------------------------------------------

    def _let_go(self, *, annotated: bool) -> bytes:
        held, self._held = self._held, b""
        if not held:
            return b""
        if annotated:
            held = self._annotate_event(held)
        queue, self._queue = self._queue, []
        return b"".join([held, *queue])

    def _annotate_event(self, event: bytes) -> bytes:
        self._annotated = True
        body = payload(event)
        assert body is not None, "only events with data are annotated"
        value = self._annotate(self.known_usage())
        # The payload has the event's offsets: what is in front of and behind its JSON stays.
        end = body.rindex(b"}") + 1
        start = body.index(b"{")
        parsed = loads(body)
        if "lowrouter" in parsed and body[start:end] != event[start:end]:
            event = (
                b"data: "
                + body.replace(b"\n", b" ").replace(b"\r", b" ").strip()
                + b"\n\n"
            )
            return self._annotate_event(event)
        return (
            event[:start]
            + splice.put_member(event[start:end], parsed, "lowrouter", value)
            + event[end:]
        )

    def _with_model(self, event: bytes, body: bytes, chunk: dict[str, Any]) -> bytes:
        if not isinstance(chunk.get("model"), str):
            return event
        start, end = splice.string_value_span(body, b"model") or _scan_model(body)
        self._prefix = event[:end]
        self._new_prefix = event[:start] + self._model
        return self._new_prefix + event[end:]

    def _remember(self, event: bytes, chunk: dict[str, Any]) -> None:
        if self._like is None:
            self._like = {
                k: v for k, v in chunk.items() if k in ("id", "object", "created")
            }
            if "model" in chunk:
                self._like["model"] = orjson.Fragment(self._model)
            self._overhead = len(event)

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
        self._raw = True
        return self._let_go(annotated=False) + self._cutter.rest()


def _is_plain(event: bytes) -> bool:
    """Whether byte searches alone show that a chunk has choices, no finish reason and no usage.

    A quote inside a JSON string is escaped, so none of these needles occurs in the text of an answer. An
    upstream that spaces its JSON otherwise fails the test and is parsed: slower, never wrong.
    """
    return (
        b'"choices":[{' in event
        and b'"finish_reason":"' not in event
        and (b'"finish_reason":null' in event or b'"finish_reason"' not in event)
        and (b'"usage"' not in event or b'"usage":null' in event)
        and b'"error"' not in event
    )


def _finishes(choices: object) -> bool:
    return isinstance(choices, list) and any(
        isinstance(choice, dict) and choice.get("finish_reason") is not None
        for choice in choices
    )


def _is_whole(event: bytes) -> bool:
    body = payload(event)
    if body is None or body.strip() == b"[DONE]":
        return True
    try:
        loads(body)
    except ValueError:
        return False
    return True


def _scan_model(body: bytes) -> tuple[int, int]:
    member = next(m for m in splice.members(body) if m.key == "model")
    return member.value_start, member.value_end
