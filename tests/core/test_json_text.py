"""JSON put together by hand."""

import json

from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.json_text import quoted


@given(st.text())
def test_a_name_is_quoted(text):
    """Whatever a name holds, it is one JSON string."""
    assert json.loads(quoted(text)) == text
