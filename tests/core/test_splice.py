"""Members are changed in their bytes, and every other byte stays."""

import json
import string

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lowproxy.core import splice

# --- JSON objects as somebody else might write them --------------------------------------------


@attrs.frozen
class Obj:
    """A JSON object and the raw members it was made of."""

    lead: bytes
    members: list[tuple[str, bytes, bytes]]  # key, key with its colon, value; raw
    gaps: list[bytes]  # in front of each member, then the one before the brace
    tails: list[bytes]  # behind each member, before its comma
    trail: bytes

    @property
    def text(self):
        """The object's bytes."""
        return self.written(self.members)

    def written(self, members):
        """The same layout around other members, as many of them."""
        parts = [
            gap + head + value + tail
            for gap, (_, head, value), tail in zip(
                self.gaps, members, self.tails, strict=False
            )
        ]
        inner = b",".join(parts) + (b"" if parts else self.gaps[-1])
        return self.lead + b"{" + inner + b"}" + self.trail


SPACE = st.sampled_from([b"", b"", b"", b" ", b"\n", b"\t", b"\r\n  "])
NAMES = ["model", "route", "models", "provider", "lowrouter", "stream_options"]
TEXT = st.text(alphabet=string.printable + 'é漢😀"\\\u2028', max_size=8)
KEYS = st.sampled_from([*NAMES, "messages", "x", ""]) | TEXT
TRAPS = st.sampled_from(
    ['"model":', 'say "model"', '{"model":"x"}', "model", "}", "]", ",", "\\", '\\"']
)


@st.composite
def strings(draw, texts):
    """A JSON string: as is, in ASCII, or with every character escaped."""
    text = draw(texts)
    how = draw(st.integers(0, 3))
    if how == 0:
        return text, b'"' + b"".join(map(_escaped, text)) + b'"'
    return text, json.dumps(text, ensure_ascii=how == 1).encode()


def _escaped(char):
    units = char.encode("utf-16-be")
    return b"".join(
        b"\\u%04x" % int.from_bytes(units[i : i + 2], "big")
        for i in range(0, len(units), 2)
    )


NUMBERS = [b"0", b"-1", b"9007199254740993", b"1" * 30, b"1e400", b"-0.10e+05"]
SCALARS = (
    st.sampled_from([b"true", b"false", b"null", *NUMBERS])
    | strings(TEXT | TRAPS).map(lambda pair: pair[1])
)  # fmt: skip


def _nested(inner):
    def array(values):
        return b"[" + b" ,".join(values) + b"]"

    def obj(pairs):
        return b"{" + b",\n".join(k + b": " + v for (_, k), v in pairs) + b"}"

    return st.lists(inner, max_size=3).map(array) | st.lists(
        st.tuples(strings(KEYS), inner), max_size=3
    ).map(obj)


VALUES = st.recursive(SCALARS, _nested, max_leaves=6)


@st.composite
def objects(draw, values=VALUES, min_size=0):
    """A JSON object with repeated keys, escapes, nested keys and odd spacing."""
    members = []
    for (key, raw), value in draw(
        st.lists(st.tuples(strings(KEYS), values), min_size=min_size, max_size=6)
    ):
        members.append((key, raw + draw(SPACE) + b":" + draw(SPACE), value))
    gaps = [draw(SPACE) for _ in range(len(members) + 1)]
    tails = [draw(SPACE) for _ in members]
    return Obj(draw(SPACE), members, gaps, tails, draw(SPACE))


def parsed(data):
    """What the object says, by a parser that rounds nothing."""
    return json.loads(data)


def raw_members(data):
    """Each member of the object in `data` as its key and its bytes."""
    return [(m.key, data[m.key_start : m.value_end]) for m in splice.members(data)]


# --- laws --------------------------------------------------------------------------------------


@given(objects())
def test_members_are_found_where_they_stand(obj):
    """Keys are read through their escapes, values are cut to the byte, duplicates are listed."""
    found = splice.members(obj.text)

    assert [m.key for m in found] == [key for key, _, _ in obj.members]
    for member, (_, head, value) in zip(found, obj.members, strict=True):
        assert obj.text[member.key_start : member.value_start] == head
        assert obj.text[member.value_start : member.value_end] == value


@given(objects(), strings(TEXT | TRAPS), st.integers(0, 6))
def test_replace_string_changes_that_value_and_no_other_byte(obj, old, at):
    """Every top-level spelling of the key gets the value; the rest is equal to the byte."""
    at = min(at, len(obj.members))
    members = [*obj.members[:at], ("model", b'"model":', old[1]), *obj.members[at:]]
    obj = attrs.evolve(
        obj, members=members, gaps=[*obj.gaps, b""], tails=[*obj.tails, b" "]
    )

    result = splice.replace_string(obj.text, "model", b'"new"')

    swapped = [
        (key, head, b'"new"' if key == "model" else value)
        for key, head, value in members
    ]
    assert result == obj.written(swapped)
    assert parsed(result) == {**parsed(obj.text), "model": "new"}


@given(objects(), st.sets(st.sampled_from([*NAMES, "x", ""])))
def test_drop_members_keeps_the_others_to_the_byte(obj, keys):
    """What is named is gone, what is not stands in its order and its own bytes."""
    text = obj.text

    result = splice.drop_members(text, keys)

    assert parsed(result) == {k: v for k, v in parsed(text).items() if k not in keys}
    assert raw_members(result) == [m for m in raw_members(text) if m[0] not in keys]
    assert result.startswith(obj.lead + b"{")
    assert result.endswith(b"}" + obj.trail)
    if not keys & {key for key, _, _ in obj.members}:
        assert result == text


@given(objects(), st.sampled_from(["lowrouter", "route", "é"]))
def test_put_member_leaves_one_such_member_at_the_end(obj, key):
    """A member that is there is replaced, however often and however spelled; else it is added."""
    text = obj.text

    result = splice.put_member(text, parsed(text), key, b'{"a":1}')

    assert parsed(result) == {**parsed(text), key: {"a": 1}}
    assert raw_members(result)[:-1] == [m for m in raw_members(text) if m[0] != key]
    assert [k for k, _ in raw_members(result)].count(key) == 1
    if key not in parsed(text):
        brace = text.rindex(b"}")
        assert result.startswith(text[:brace])
        assert result.endswith(b'{"a":1}' + text[brace:])


@given(objects(), st.sampled_from(["lowrouter", "model", "x"]))
def test_a_change_is_made_within_an_event_of_the_same_offsets(obj, key):
    """Where the object is an event's payload, the event is changed and its other fields stay."""
    text = obj.text.replace(b"\r\n", b"\n")
    event = b"id: 7\ndata:" + text.replace(b"\n", b"\ndata:") + b"\nretry: 1\n\n"
    body = (
        b" " * 11 + text.replace(b"\n", b"\n     ") + b"\n        \n\n"
    )  # what sse.payload gives

    result = splice.put_member(body, parsed(body), key, b"1", within=event)

    assert result.startswith(b"id: 7\ndata:")
    assert result.endswith(b"\nretry: 1\n\n")
    lines = [line[5:] for line in result.split(b"\n") if line.startswith(b"data:")]
    assert parsed(b"\n".join(lines)) == {**parsed(text), key: 1}


@given(objects(values=strings(TEXT | TRAPS).map(lambda pair: pair[1]), min_size=1))
@example(Obj(b"", [("a", b'"a":', b'"model"')], [b"", b""], [b""], b""))
@example(Obj(b"", [("model", b'"mod\\u0065l":', b'"x"')], [b"", b""], [b""], b""))
def test_the_short_cut_is_right_or_says_that_it_cannot_tell(obj):
    """Where a span is given for a member that is there, it is that member's value."""
    names = [key for key, _, _ in obj.members]
    if "model" not in names:
        return
    span = splice.string_value_span(obj.text, b"model")

    if span is not None:
        [member] = [m for m in splice.members(obj.text) if m.key == "model"]
        assert span == (member.value_start, member.value_end)


@given(
    objects(values=strings(TEXT | TRAPS).map(lambda pair: pair[1]), min_size=1),
    strings(st.text(alphabet='a"\\lé', max_size=3)),
    st.integers(5000, 9000),
    st.integers(0, 6),
)
def test_a_long_string_is_left_out_of_the_search(obj, unit, times, at):
    """Where one string is known to be long, the span is the same one, or none is given."""
    text, raw = unit
    raw = b'"' + raw[1:-1] * times + b'"'
    at = min(at, len(obj.members))
    members = [*obj.members[:at], ("x", b'"x":', raw), *obj.members[at:]]
    obj = attrs.evolve(
        obj, members=members, gaps=[*obj.gaps, b""], tails=[*obj.tails, b" "]
    )
    if "model" not in [key for key, _, _ in members]:
        return
    longest = len((text * times).encode())

    span = splice.string_value_span(obj.text, b"model", longest)

    rows = [m for m in splice.members(obj.text) if m.key == "model"]
    if span is not None:
        [member] = rows
        assert span == (member.value_start, member.value_end)


@pytest.mark.parametrize("where", ["before", "after", "both"])
def test_a_member_beside_a_long_string_is_found_without_it(where):
    """On either side, the escapes and names within the string notwithstanding; twice is not once."""
    long = '"model" \u006d ' * 2000
    data = {"model": "a"} if where != "after" else {}
    text = json.dumps({**data, "messages": [{"model": "b", "content": long}]}).encode()
    text = text.replace(b'"model": "b", ', b"")
    if where != "before":
        text = text[:-1] + b', "model": "a"}'

    span = splice.string_value_span(text, b"model", len(long))

    start = text.index(b'"a"') if where == "before" else text.rindex(b'"a"')
    assert span == (None if where == "both" else (start, start + 3))


@given(objects(), st.sampled_from(["m", 'a"b', "é", "\\", "\ud800"]), st.integers(0, 6))
def test_renamed_does_as_replace_string(obj, old, at):
    """The shorter way gives the same bytes, whichever of repeated members the parser took."""
    at = min(at, len(obj.members))
    member = ("model", b'"model":', splice.quoted(old))
    members = [*obj.members[:at], member, *obj.members[at:]]
    obj = attrs.evolve(
        obj, members=members, gaps=[*obj.gaps, b""], tails=[*obj.tails, b" "]
    )
    said = parsed(obj.text)["model"]

    if isinstance(said, str):
        result = splice.renamed(obj.text, "model", said, "new")
        assert result == splice.replace_string(obj.text, "model", b'"new"')


@given(
    objects(),
    st.sampled_from(["m", 'a"b', "\\", None]),
    st.integers(0, 6),
    st.booleans(),
)
def test_an_answer_is_finished_as_by_two_changes(obj, old, at, tight):
    """Its model set and the member put, in whatever it holds already and however it ends."""
    at = min(at, len(obj.members))
    value = b"7" if old is None else splice.quoted(old)
    members = [*obj.members[:at], ("model", b'"model":', value), *obj.members[at:]]
    obj = attrs.evolve(
        obj, members=members, gaps=[*obj.gaps, b""], tails=[*obj.tails, b" "]
    )
    text = obj.text.strip() if tight else obj.text
    said = parsed(text)
    expected = text
    if isinstance(said["model"], str):
        expected = splice.replace_string(text, "model", b'"new"')

    result = splice.finished(text, said, "new", b'{"a":1}')

    assert result == splice.put_member(expected, said, "lowrouter", b'{"a":1}')


@pytest.mark.parametrize("size", [256, 257])
def test_long_names_are_not_kept(size):
    """A name that nobody gave a model takes no room here once it has been replaced."""
    splice._spelled.cache_clear()
    for change in (
        lambda text, said: splice.renamed(text, "model", said, "new"),
        lambda text, said: splice.finished(text, {"model": said}, "new", b"1"),
    ):
        said = f"{change} ".ljust(size, "x")
        text = json.dumps({"model": said}).encode()
        assert change(text, said).startswith(b'{"model": "new"')
    assert (splice._spelled.cache_info().currsize > 0) == (size <= 256)


# --- by example --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"model":"a"}', b'{"model":"N"}'),
        (b'{"mod\\u0065l":"a"}', b'{"mod\\u0065l":"N"}'),
        (
            b'{"mod\\u0065l":"a","x":{"model":"b"}}',
            b'{"mod\\u0065l":"N","x":{"model":"b"}}',
        ),
        (b'{"x":"model","model":"a"}', b'{"x":"model","model":"N"}'),
        (b'{"model":"model"}', b'{"model":"N"}'),
        (
            b'{"x":{"model":"b"},"model":"a"}',
            b'{"x":{"model":"b"},"model":"N"}',
        ),
        (b'{"x":["model"],"model":"a"}', b'{"x":["model"],"model":"N"}'),
        (b'{"model":"a","model":"b"}', b'{"model":"N","model":"N"}'),
        (b'{"model":1,"model":"b"}', b'{"model":"N","model":"N"}'),
        (b'{"model":"a\\"b\\\\"}', b'{"model":"N"}'),
        (b'{"x":"\\"model\\":\\"b\\"","model":"a"}', None),
        (b'{"x":"\\\\","model":"a"}', b'{"x":"\\\\","model":"N"}'),
        (b'{"x":"\\"model","model":"a"}', b'{"x":"\\"model","model":"N"}'),
        (b' { "model" :\n"a" } ', b' { "model" :\n"N" } '),
        (b'\xef\xbb\xbf{"model":"a"}', b'\xef\xbb\xbf{"model":"N"}'),
        (b'{"\\ud83d":1,"model":"a"}', b'{"\\ud83d":1,"model":"N"}'),
        (
            b'{"\\ud83d":1,"model":"a","model":"b"}',
            b'{"\\ud83d":1,"model":"N","model":"N"}',
        ),
        (b'{"seed":9007199254740993,"model":"a"}', None),
    ],
)
def test_replace_string(before, after):
    """The model is replaced in every spelling, and only at the top."""
    expected = after or before[: before.rindex(b'"a"')] + b'"N"}'

    assert splice.replace_string(before, "model", b'"N"') == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"route":1}', b"{}"),
        (b'{ "route" : 1 }', b"{  }"),
        (b'{"route":1,"a":2}', b'{"a":2}'),
        (b'{"a":2,"route":1}', b'{"a":2}'),
        (b'{"a":2, "route":1 , "b":3}', b'{"a":2, "b":3}'),
        (b'{"route":1,"a":2,"route":[{}],"ro\\u0075te":{}}', b'{"a":2}'),
        (b'{"x":{"route":1},"route":{"x":2}}', b'{"x":{"route":1}}'),
        (b'{"x":"\\"route\\":1,","route":2}', b'{"x":"\\"route\\":1,"}'),
        (b'{"a":"route"}', b'{"a":"route"}'),
    ],
)
def test_drop_members(before, after):
    """The commas come out right wherever the member stood."""
    assert splice.drop_members(before, ("route",)) == after


def test_long_strings_and_deep_nesting_are_scanned():
    """Megabytes of text and the deepest nesting a parser takes stay within what a stack allows."""
    deep = b"[" * 900 + b'"model"' + b"]" * 900
    text = b'{"a":"' + b'x\\"y' * 1_000_000 + b'","d":' + deep + b',"model":"m"}'

    assert splice.replace_string(text, "model", b'"N"') == text[:-4] + b'"N"}'


def test_many_repeated_members_cost_one_pass():
    """A hostile body of nothing but `model` is rewritten in one go, not copied for each member."""
    copied = []

    class Counted(bytes):
        def __getitem__(self, item):
            found = super().__getitem__(item)
            if isinstance(item, slice):
                copied.append(len(found))
            return found

    text = b"{" + b",".join([b'"model":"a"'] * 2000) + b"}"

    assert splice.replace_string(Counted(text), "model", b'"b"') == text.replace(
        b'"a"', b'"b"'
    )
    assert sum(copied) < 10 * len(text)


@pytest.mark.parametrize(
    ("data", "names", "expected"),
    [
        (b'{"a":1,"b":2}', {"a": "c"}, b'{"c":1,"b":2}'),
        (b'{"a":1,"b":2}', {"a": "b"}, b'{"b":2}'),
        (b'{"a":1,"b":2}', {"b": ""}, b'{"a":1}'),
        (b'{"a":1, "b": 2,"d":3}', {"a": "", "b": "c", "d": "e"}, b'{"c":2,"e":3}'),
        (b'{"x":{"a":1}}', {"a": "c"}, b'{"x":{"a":1}}'),
        (b'{"\\u0061":1,"b":[1,{"a":2}]}', {"a": "c"}, b'{"c":1,"b":[1,{"a":2}]}'),
    ],
)
def test_members_take_other_names(data, names, expected):
    """At the top alone; where the new name is there already, what it says stands."""
    assert splice.respell_members(data, names) == expected


@given(st.integers(0, 2**21), st.integers(0, 40), st.booleans())
def test_a_member_is_found_wherever_it_stands_in_a_long_body(at, shift, again):
    """Long bodies are searched in strides; a member may lie across two of them."""
    long = b"x" * at, b"y" * (2**21 + shift - at)
    second = b'"n":{"model":"m"},' if again else b""
    data = b'{"a":"%b",%b"model":"m","b":"%b"}' % (long[0], second, long[1])
    found = splice.string_value_span(data, b"model")

    value = data.rindex(b'"model":"m"') + len(b'"model":')
    assert found == (None if again else (value, value + 3))
