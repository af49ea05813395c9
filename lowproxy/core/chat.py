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
from lowproxy.core.pictures import LONG, without_pictures
from lowproxy.core.preferences import NO_WISHES, Preferences
from lowproxy.errors import BadRequestError

# Parts of a message that are not text, and whose energy nobody has measured.
MEDIA_PARTS = frozenset({"image_url", "input_audio", "video_url", "file"})
OURS = ("route", "models", "provider")
# What is said in few requests and decides something.
_SELDOM = frozenset(
    {
        *OURS,
        "stream_options",
        "tools",
        "functions",
        "response_format",
        "max_completion_tokens",
        "n",
    }
)
_WISH = b'{"include_usage":true}'
# Below this a copy costs less than another buffer in the system call.
_WORTH_BYTES = 16 * 1024


# Not frozen, though nobody changes it: that would triple what it costs to make and to read.
@attrs.define
class ChatRequest:
    """The body and what was read in it.

    `prompt_bytes` is the UTF-8 length of the prompt's text, pictures not counted: enough to expect a
    number of tokens by. `needs` names capabilities: tools, vision, structured_output.
    """

    body: bytes = attrs.field(repr=False)
    models: tuple[str, ...]  # what is asked for, best first
    stream: bool
    max_tokens: int | None
    user: str | None = attrs.field(repr=False)
    prompt_bytes: int
    longest: int  # at least one string of a long body takes as many bytes
    has_media: bool
    needs: frozenset[str]
    preferences: Preferences
    wants_usage: bool = False
    choices: int = 1  # answers asked for: `n`
    has_ours: bool = False
    has_stream_options: bool = False

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
        obj, picture = _object(body)
        try:
            model, messages = obj["model"], obj["messages"]
        except KeyError:
            model, messages = obj.get("model"), obj.get("messages")
        if not isinstance(model, str) or not model:
            raise _wrong("model", "a model id such as 'lowrouter/auto'", model)
        if not isinstance(messages, list) or not messages:
            raise _wrong("messages", "a non-empty list of messages", messages)
        stream = "stream" in obj and _stream(obj)
        needs, sizes, has_media = _look_at(messages)
        limit, user = obj.get("max_tokens"), obj.get("user")
        # By position: names would cost as much as all the rest.
        chat = cls(
            body,
            (model,),
            stream,
            limit if type(limit) is int else None,  # true is an int too
            user if isinstance(user, str) else None,
            sum(sizes),
            max(0, picture, *sizes) if len(body) >= _WORTH_BYTES else 0,
            has_media,
            needs,
            NO_WISHES,
        )
        if region_header or eco_header or not _SELDOM.isdisjoint(obj):
            chat.preferences = Preferences.read(obj, region_header, eco_header)
            chat._read_the_rest(obj)
        return chat

    def _read_the_rest(self, obj: Mapping[str, Any]) -> None:
        """What most requests leave out."""
        get = obj.get
        if "models" in obj:
            self.models = (self.models[0], *_more_models(obj))
        if "stream_options" in obj:
            self.has_stream_options = True
            wants_usage = _wants_usage(obj)
            self.wants_usage = self.stream and wants_usage
        if get("tools") or get("functions"):
            self.needs |= {"tools"}
        form = get("response_format")
        if isinstance(form, dict) and form.get("type") == "json_schema":
            self.needs |= {"structured_output"}
        if limit := get("max_completion_tokens"):
            self.max_tokens = limit if type(limit) is int else None
        n = get("n")
        if type(n) is int and n > 0:
            self.choices = n
        self.has_ours = "route" in obj or "models" in obj or "provider" in obj

    def pieces(
        self, upstream_model: str, *, ask_usage: bool
    ) -> tuple[bytes | memoryview, ...]:
        """`rewritten` in pieces that need not be joined: a long prompt is not copied.

        A body that needs more than its model's name and the wish for usage is one piece.
        """
        body = self.body
        if len(body) < _WORTH_BYTES or self.has_ours or self.has_stream_options:
            return (self.rewritten(upstream_model, ask_usage=ask_usage),)
        span = splice.string_value_span(body, b"model", self.longest)
        if span is None:
            return (self.rewritten(upstream_model, ask_usage=ask_usage),)
        start, end = span
        lead = body[:start]
        if ask_usage and self.stream and not self.wants_usage:
            lead = _asking_for_usage(lead, has_options=False)
        return lead + splice.quoted(upstream_model), memoryview(body)[end:]

    def rewritten(self, upstream_model: str, *, ask_usage: bool) -> bytes:
        """The body for an upstream: its own model name, nothing of ours, usage asked for on a stream."""
        body = splice.renamed(self.body, "model", self.models[0], upstream_model)
        if self.has_ours:
            body = splice.drop_members(body, OURS)
        if self.has_stream_options and not ask_usage:
            # The provider refuses the field; usage that was asked for is made of what it sends.
            body = splice.drop_members(body, ("stream_options",))
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
_VISION = frozenset({"vision"})


def _stream(obj: Mapping[str, Any]) -> bool:
    if obj["stream"] is True:
        return True
    return _optional(obj, "stream", bool, "true or false") or False


def _wants_usage(obj: Mapping[str, Any]) -> bool:
    options = _optional(obj, "stream_options", dict, "an object") or {}
    right, path = "true or false", "stream_options."
    return _optional(options, "include_usage", bool, right, path) or False


def _object(body: bytes) -> tuple[dict[str, Any], int]:
    """The body's value, and the bytes of the longest picture in it, if some were left out."""
    picture = 0
    try:
        if len(body) < LONG:
            obj = loads(body)
        else:
            obj, picture = _without_pictures(body)
    except ValueError as exc:
        raise BadRequestError(f"the body is not valid JSON ({exc})") from None
    if not isinstance(obj, dict):
        raise BadRequestError(f"the body must be a JSON object, not {_kind(obj)}")
    return obj, picture


def _without_pictures(body: bytes) -> tuple[Any, int]:
    less, picture = without_pictures(body)
    if picture:
        with contextlib.suppress(ValueError):
            return loads(less), picture
    return loads(body), 0  # an error is to name its place


def _look_at(messages: list[Any]) -> tuple[frozenset[str], list[int], bool]:
    """What the messages need, the bytes of each of their texts, and whether there is media."""
    sizes: list[int] = []
    parts: list[Any] = []
    for message in messages:
        if not isinstance(message, dict):
            i = messages.index(message)
            raise _wrong(f"messages[{i}]", "an object with role and content", message)
        content = message.get("content")
        if isinstance(content, str):
            sizes.append(len(content) if content.isascii() else _utf8_length(content))
        elif isinstance(content, list):
            parts += content
    if not parts:
        return _NOTHING, sizes, False
    kinds = _look_at_parts(parts, sizes)
    needs = _VISION if "image_url" in kinds else _NOTHING
    return needs, sizes, not MEDIA_PARTS.isdisjoint(kinds)


def _look_at_parts(parts: list[Any], sizes: list[int]) -> set[str]:
    """The kinds of the parts of messages. Adds to `sizes`."""
    kinds = set()
    for part in parts:
        if isinstance(part, dict):
            text, kind = part.get("text"), part.get("type")
            if isinstance(text, str):
                sizes.append(_utf8_length(text))
            if isinstance(kind, str):
                kinds.add(kind)
    return kinds


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _more_models(obj: Mapping[str, Any]) -> list[str]:
    models = _optional(obj, "models", list, "a list of model ids") or []
    for i, model in enumerate(models):
        if not isinstance(model, str) or not model:
            raise _wrong(f"models[{i}]", "a model id", model)
    # Each once: what a decision was made from is kept with it.
    return [model for model in dict.fromkeys(models) if model != obj["model"]]


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
