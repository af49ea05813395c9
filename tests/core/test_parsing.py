"""What is JSON is read, what is not is refused, and a refusal quotes nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.parsing import loads

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_json_writes_is_read(value):
    """Any value comes back as it was, whether written with escapes or without."""
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)
        assert loads(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (rb'{"a":"\ud83d"}', {"a": "\ud83d"}),
        (rb'{"\ud83d":1}', {"\ud83d": 1}),
        (b'{"n":1e400}', {"n": float("inf")}),
        (b'{"n":-1e400}', {"n": float("-inf")}),
        (b"1" + b"0" * 400, 10**400),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        (b' \t\r\n{"a" : 1}\n', {"a": 1}),
        (b'{"a":1,"a":2}', {"a": 2}),
    ],
)
def test_lenient_where_the_standard_is(text, value):
    """Lone surrogates, numbers beyond a double, a byte order mark and repeated keys are read."""
    assert loads(text) == value


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1} {"b":2}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',  # a surrogate that is encoded, not escaped: not UTF-8
        b'{"a":"line\nbreak"}',
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-le"),
        '{"a":1}'.encode("utf-32-be"),
        b"[" * 100_000 + b"]" * 100_000,
        b"1" * 5000,
    ],
)
def test_refused(text):
    """What is not JSON in UTF-8, or cannot be held, is a ValueError and nothing else."""
    with pytest.raises(ValueError, match=r"at line \d+ column \d+"):
        loads(text)


def test_a_refusal_quotes_nothing():
    """The message holds the place and no text: it may be a prompt."""
    with pytest.raises(ValueError, match="column") as caught:
        loads(b'{"messages": "my secret" nonsense}')

    assert str(caught.value) == "at line 1 column 26"
    assert caught.value.__suppress_context__
