"""A chat completion request: read once, rewritten cheaply.

Only the fields that decide something here are looked at; the body goes up as it came but for the value of
`model`, the members that are ours (`route`, OpenRouter's `models` and `provider`) and the wish for usage.
"""

import contextlib
from collections.abc import Mapping
from typing import Any, Self

import attrs

from lowproxy.core import splice
from lowproxy.core.parsing import loads
from lowproxy.core.pictures import without_pictures
from lowproxy.core.preferences import Preferences
from lowproxy.errors import BadRequestError

# Parts of a message that are not text, and whose energy nobody has measured.
MEDIA_PARTS = frozenset({"image_url", "input_audio", "video_url", "file"})
OURS = ("route", "models", "provider")
_WISH = b'{"include_usage":true}'
# Below this a copy costs less than another buffer in the system call.
_WORTH_BYTES = 16 * 1024


@attrs.frozen(slots=False)
class ChatRequest:
    """The body and what was read in it.

    `prompt_bytes` is the UTF-8 length of the prompt's text, pictures not counted: enough to expect a
    number of tokens by. `needs` names capabilities: tools, vision, structured_output.
    """

    body: bytes = attrs.field(repr=False)
    models: tuple[str, ...]  # what is asked for, best first
    stream: bool
    wants_usage: bool
    preferences: Preferences
    needs: frozenset[str]
    prompt_bytes: int
    has_media: bool
    max_tokens: int | None
    choices: int  # answers asked for: `n`
    user: str | None = attrs.field(repr=False)
    has_ours: bool
    has_stream_options: bool

    @property
    def model(self) -> str:
        """The model asked for first."""
        return self.models[0]

    @classmethod
    def parse(
        cls,
        body: bytes,
        region_header: str | None = None,
        eco_header: str | None = None,
    ) -> Self:
        """Reads a body; raises BadRequestError naming the member that is wrong."""
        obj = _object(body)
        model = obj.get("model")
        if not isinstance(model, str) or not model:
            raise _wrong("model", "a model id such as 'lowrouter/auto'", model)
        messages = obj.get("messages")
        if not isinstance(messages, list) or not messages:
            raise _wrong("messages", "a non-empty list of messages", messages)
        get = obj.get
        stream = get("stream") is True or _stream(obj)
        wants = "stream_options" in obj and _wants_usage(obj)
        needs, prompt_bytes, has_media = _look_at(messages)
        if get("tools") or get("functions"):
            needs.add("tools")
        form = get("response_format")
        if isinstance(form, dict) and form.get("type") == "json_schema":
            needs.add("structured_output")
        limit = get("max_completion_tokens") or get("max_tokens")
        user = get("user")
        return cls(
            body=body,
            models=(model, *_more_models(obj)) if "models" in obj else (model,),
            stream=stream,
            wants_usage=stream and wants,
            preferences=Preferences.read(obj, region_header, eco_header),
            needs=frozenset(needs) if needs else _NOTHING,
            prompt_bytes=prompt_bytes,
            has_media=has_media,
            max_tokens=limit if type(limit) is int else None,  # true is an int too
            choices=n if type(n := get("n")) is int and n > 0 else 1,
            user=user if isinstance(user, str) else None,
            has_ours="route" in obj or "models" in obj or "provider" in obj,
            has_stream_options="stream_options" in obj,
        )

    def pieces(
        self, upstream_model: str, *, ask_usage: bool
    ) -> tuple[bytes | memoryview, ...]:
        """`rewritten` in pieces that need not be joined: a long prompt is not copied.

        A body that needs more than its model's name and the wish for usage is one piece.
        """
        asks = ask_usage and self.stream and not self.wants_usage
        if len(self.body) < _WORTH_BYTES or self.has_ours or self.has_stream_options:
            return (self.rewritten(upstream_model, ask_usage=ask_usage),)
        span = splice.string_value_span(self.body, b"model")
        if span is None:
            return (self.rewritten(upstream_model, ask_usage=ask_usage),)
        body, brace = self.body, self.body.index(b"{") + 1
        wish = b'"stream_options":%b,' % _WISH if asks else b""
        lead = b"%b%b%b" % (body[:brace], wish, body[brace : span[0]])
        return lead, splice.quoted(upstream_model), memoryview(body)[span[1] :]

    def rewritten(self, upstream_model: str, *, ask_usage: bool) -> bytes:
        """The body for an upstream: its own model name, nothing of ours, usage asked for on a stream."""
        body = splice.replace_string(self.body, "model", splice.quoted(upstream_model))
        gone = OURS if self.has_ours else ()
        if self.has_stream_options and not ask_usage:
            # The provider refuses the field; usage that was asked for is made of what it sends.
            gone = (*gone, "stream_options")
        if gone:
            body = splice.drop_members(body, gone)
        if ask_usage and self.stream and not self.wants_usage:
            body = _asking_for_usage(body, self.has_stream_options)
        return body


def _asking_for_usage(body: bytes, has_options: bool) -> bytes:
    if not has_options:
        brace = body.index(b"{") + 1
        return b'%b"stream_options":%b,%b' % (body[:brace], _WISH, body[brace:])
    wishes = []
    for member in splice.members(body):
        if member.key == "stream_options":
            options = body[member.value_start : member.value_end]
            wishes.append((member.value_start, member.value_end, _wishing(options)))
    return splice.changed(body, wishes)


def _wishing(options: bytes) -> bytes:
    said = loads(options)
    if not isinstance(said, dict):  # null, or a repeated member that does not count
        return _WISH
    return splice.put_member(options, said, "include_usage", b"true")


_NOTHING: frozenset[str] = frozenset()


def _stream(obj: Mapping[str, Any]) -> bool:
    return _optional(obj, "stream", bool, "true or false") or False


def _wants_usage(obj: Mapping[str, Any]) -> bool:
    options = _optional(obj, "stream_options", dict, "an object") or {}
    right, path = "true or false", "stream_options."
    return _optional(options, "include_usage", bool, right, path) or False


def _object(body: bytes) -> dict[str, Any]:
    try:
        obj = _parsed(body)
    except ValueError as exc:
        raise BadRequestError(f"the body is not valid JSON ({exc})") from None
    if not isinstance(obj, dict):
        raise BadRequestError(f"the body must be a JSON object, not {_kind(obj)}")
    return obj


def _parsed(body: bytes) -> Any:
    less = without_pictures(body)
    if less is not body:
        with contextlib.suppress(ValueError):
            return loads(less)
    return loads(body)  # an error is to name its place


def _look_at(messages: list[Any]) -> tuple[set[str], int, bool]:
    needs: set[str] = set()
    size, has_media = 0, False
    for i, message in enumerate(messages):
        if not isinstance(message, dict):
            raise _wrong(f"messages[{i}]", "an object with role and content", message)
        content = message.get("content")
        if isinstance(content, str):
            size += _utf8_length(content)
        elif isinstance(content, list):
            for part in content:
                if isinstance(part, dict):
                    text = part.get("text")
                    if isinstance(text, str):
                        size += _utf8_length(text)
                    kind = part.get("type")
                    if isinstance(kind, str) and kind in MEDIA_PARTS:
                        has_media = True
                        if kind == "image_url":
                            needs.add("vision")
    return needs, size, has_media


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _more_models(obj: Mapping[str, Any]) -> list[str]:
    models = _optional(obj, "models", list, "a list of model ids") or []
    for i, model in enumerate(models):
        if not isinstance(model, str) or not model:
            raise _wrong(f"models[{i}]", "a model id", model)
    return [model for model in models if model != obj["model"]]


def _optional(
    obj: Mapping[str, Any], key: str, kind: type, right: str, path: str = ""
) -> Any:
    value = obj.get(key)
    if value is not None and not isinstance(value, kind):
        raise _wrong(path + key, right, value)
    return value


def _wrong(path: str, right: str, found: object) -> BadRequestError:
    return BadRequestError(f"{path} must be {right}, not {_kind(found)}", param=path)


def _kind(value: object) -> str:
    if value is None:
        return "missing or null"
    if value in ("", [], {}):
        return "empty"
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return names.get(type(value), "a number")
