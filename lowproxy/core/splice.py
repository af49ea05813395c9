"""Change top-level members of a JSON object in its bytes, and nothing else.

Parse-and-dump would reorder keys, round integers beyond 64 bits and undo escapes, so what is not ours is
never serialised again: the place of a member is found and the bytes around it stay. Every function here
expects `data` to be JSON that a parser has accepted, with an object at the top.
"""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from lowproxy.core.parsing import dumps, loads

# A whole string, or one bracket. The possessive quantifiers keep long strings linear.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.DOTALL)
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,\]}]+")
_SPACE = re.compile(rb"[ \t\r\n]*")
_COLON = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*")


# From here on a search for several bytes is felt by other requests: half a millisecond for each megabyte.
_MUCH = 1 << 20
_STRIDE = 1 << 16
# Up to here the fewest steps are the quickest, beyond it the fewest looks at a byte.
_SMALL = 16 * 1024
# A longer name of a model is nobody's: what is made of it is not kept for the next time.
_LONGEST_NAME = 256
# Less than this is searched sooner than it is cut out.
_WORTH_CUTTING = 4096

# (start, end, new): `new` in place of `data[start:end]`
Change = tuple[int, int, bytes]


class Member(NamedTuple):
    """Where one top-level member stands: `data[key_start:value_end]`."""

    key: str
    key_start: int
    value_start: int
    value_end: int


def members(data: bytes, start: int = 0) -> list[Member]:
    """The members of the object at or after `start`, in order, duplicates included."""
    found = []
    i = _after_space(data, data.index(b"{", start) + 1)
    while data[i : i + 1] == b'"':
        key_end = _string_end(data, i)
        raw = data[i:key_end]
        key = loads(raw) if b"\\" in raw else raw[1:-1].decode()
        colon = _COLON.match(data, key_end)
        assert colon is not None, "a key is followed by a colon in accepted JSON"
        value_end = _value_end(data, colon.end())
        found.append(Member(key, i, colon.end(), value_end))
        i = _after_space(data, value_end)
        if data[i : i + 1] == b",":
            i = _after_space(data, i + 1)
    return found


def string_value_span(
    data: bytes, key: bytes, longest: int = 0
) -> tuple[int, int] | None:
    """Where the string value of the top-level member `key` stands, when that can be told without a scan.

    The caller knows from its parser that the member is there, and that a value of `longest` bytes is. If the
    key's text occurs once and no key can be spelled with escapes, the one occurrence is the member. None: scan
    with `members`.
    """
    cut = 2 * longest - len(data)
    if cut > _WORTH_CUTTING:
        # A string that long covers the middle wherever it begins, and nothing within a string is a member.
        edge = len(data) - longest
        span = string_value_span(data[:edge] + data[longest:], key)
        if span is None or span[0] < edge:
            return span
        return span[0] + cut, span[1] + cut
    quoted = b'"%b"' % key
    i = _only(data, quoted)
    if i < 1 or data[i - 1] == 0x5C or _escapes_keys(data):
        return None
    start = i + len(quoted) + 1
    if data[start - 1 : start + 1] != b':"':  # as nearly all write it
        colon = _COLON.match(data, start - 1)
        if colon is None or data[colon.end() : colon.end() + 1] != b'"':
            return None
        start = colon.end()
    end = data.find(b'"', start + 1) + 1
    return None if data.find(b"\\", start, end) >= 0 else (start, end)


def _only(data: bytes, quoted: bytes) -> int:
    """Where `quoted` occurs, if it does once; -1 if not.

    Searched from the end, which takes CPython a third of the time.
    """
    if len(data) >= _MUCH:
        first = _find(data, quoted, 0)
        return first if first >= 0 and _find(data, quoted, first + 1) < 0 else -1
    last = data.rfind(quoted)
    return last if data.rfind(quoted, 0, last + len(quoted) - 1) < 0 else -1


def _escapes_keys(data: bytes) -> bool:
    """Whether a lower-case letter may be spelled as an escape (`\\u006d` for m), as in no key that is wanted.

    The quickest search first: a picture has no backslash; then, a long body has accents, or nothing of the kind.
    """
    return (
        data.find(b"\\") >= 0
        and data.rfind(b"\\u00") >= 0
        and (data.rfind(b"\\u006") >= 0 or data.rfind(b"\\u007") >= 0)
    )


def _find(data: bytes, quoted: bytes, start: int) -> int:
    """`data.find(quoted, start)`, which looks for one byte, a quote: of much data most is a picture and has none."""
    for at in range(start, len(data), _STRIDE):
        end = at + _STRIDE
        first = data.find(b'"', at, end)
        if first >= 0:
            found = data.find(quoted, first, end + len(quoted) - 1)
            if found >= 0:
                return found
    return -1


def renamed(data: bytes, key: str, old: str, new: str) -> bytes:
    """`replace_string` by names, the shorter way: of the member `key` the parser has said that it is `old`."""
    if len(data) < _SMALL and len(old) <= _LONGEST_NAME:
        name, was, becomes = _spelled(key, old, new)
        # The parser has seen the member, so the one occurrence of its name is it. Here and below a byte is
        # looked for by its number: to find that `b"\\"` is no number costs more than the search.
        if data.count(name) == 1 and (0x5C not in data or not _escapes_keys(data)):
            result = data.replace(was, becomes, 1)
            if result is not data:
                return result
    return replace_string(data, key, quoted(new))


def finished(data: bytes, parsed: dict[str, Any], model: str, value: bytes) -> bytes:
    """An answer: `data` with its `model` set, where it names one, and the member `lowrouter` set to `value`.

    `renamed` and `put_member` in one go, since all of it is copied.
    """
    said = parsed.get("model")
    if isinstance(said, str):
        if (
            len(data) < _SMALL
            and len(said) <= _LONGEST_NAME
            and "lowrouter" not in parsed
        ):
            name, was, becomes = _spelled("model", said, model)
            # Cut in two where others would search: of what bytes can do, that is called the quickest.
            before, found, after = data.partition(was)
            if (
                found
                and after[-1] == 0x7D  # "}"
                and not before.partition(name)[1]
                and not after.partition(name)[1]
                and (0x5C not in data or not _escapes_keys(data))
            ):
                own = b',"lowrouter":'
                return b"".join((before, becomes, after[:-1], own, value, b"}"))
        data = renamed(data, "model", said, model)
    return put_member(data, parsed, "lowrouter", value)


@lru_cache(4096)
def _spelled(key: str, old: str, new: str) -> tuple[bytes, bytes, bytes]:
    """The key, and the member before and after, as nearly everybody writes them."""
    name = quoted(key)
    return name, b"%b:%b" % (name, quoted(old)), b"%b:%b" % (name, quoted(new))


def replace_string(data: bytes, key: str, value: bytes) -> bytes:
    """`data` with the string value of the top-level member `key` (every one, if repeated) set to `value`."""
    span = string_value_span(data, key.encode())
    if span is not None:
        return data[: span[0]] + value + data[span[1] :]
    rows = members(data)
    return changed(
        data, [(r.value_start, r.value_end, value) for r in rows if r.key == key]
    )


@lru_cache(4096)
def quoted(text: str) -> bytes:
    """A JSON string, for names that come again and again.

    Copied: what is dumped keeps the four kilobytes that it was written into.
    """
    return b"%b" % dumps(text)


def put_member(
    data: bytes,
    parsed: dict[str, Any],
    key: str,
    value: bytes,
    *,
    within: bytes | None = None,
) -> bytes:
    """`data` with the top-level member `key` set to `value`: replaced where it exists, else added last.

    `within` has the offsets of `data` and is what is changed in its stead: an event, `data` its payload.
    """
    within = data if within is None else within
    if key in parsed:
        cuts = _cuts(members(data), (key,))
        data, within = changed(data, cuts), changed(within, cuts)
        parsed = {name: None for name in parsed if name != key}
    end = data.rindex(b"}")
    comma = b"," if parsed else b""
    return b"".join((within[:end], comma, quoted(key), b":", value, within[end:]))


def drop_members(data: bytes, keys: Collection[str]) -> bytes:
    """`data` without the top-level members named in `keys`, and with its commas right."""
    return changed(data, _cuts(members(data), keys))


def respell_members(data: bytes, names: Mapping[str, str]) -> bytes:
    """`data` with its top-level members under the names of `names`; "" leaves a member out.

    One whose new name is there already is left out too: what was said under that name stands.
    """
    rows = members(data)
    there = {row.key for row in rows}
    gone = {old for old, new in names.items() if not new or new in there}
    changes = _cuts(rows, gone)
    changes += [
        (row.key_start, row.value_start, quoted(names[row.key]) + b":")
        for row in rows
        if row.key in names and row.key not in gone
    ]
    return changed(data, sorted(changes))


def changed(data: bytes, changes: list[Change]) -> bytes:
    """`data` with each `(start, end, new)` in place of `data[start:end]`; in order, none overlapping."""
    if not changes:
        return data
    out: list[bytes] = []
    at = 0
    for start, end, new in changes:
        out += data[at:start], new
        at = end
    out.append(data[at:])
    return b"".join(out)


def _cuts(rows: list[Member], keys: Collection[str]) -> list[Change]:
    """What has to go: a member with the comma behind it, those at the end with the comma in front."""
    kept = [i for i, row in enumerate(rows) if row.key not in keys]
    if len(kept) == len(rows):
        return []
    if not kept:
        return [(rows[0].key_start, rows[-1].value_end, b"")]
    last = kept[-1]
    cuts = [
        (row.key_start, rows[i + 1].key_start, b"")
        for i, row in enumerate(rows[:last])
        if row.key in keys
    ]
    return [*cuts, (rows[last].value_end, rows[-1].value_end, b"")]


def _after_space(data: bytes, i: int) -> int:
    match = _SPACE.match(data, i)
    return match.end() if match else i


def _string_end(data: bytes, i: int) -> int:
    match = _STRING.match(data, i)
    assert match is not None, "a string ends in accepted JSON"
    return match.end()


def _value_end(data: bytes, i: int) -> int:
    first = data[i : i + 1]
    if first == b'"':
        return _string_end(data, i)
    if first not in (b"{", b"["):
        scalar = _SCALAR.match(data, i)
        assert scalar is not None, "a value is not empty in accepted JSON"
        return scalar.end()
    depth = 0
    for token in _TOKEN.finditer(data, i):
        byte = data[token.start()]
        if byte in b"{[":
            depth += 1
        elif byte in b"}]":
            depth -= 1
            if not depth:
                return token.end()
    raise AssertionError("brackets are balanced in accepted JSON")
