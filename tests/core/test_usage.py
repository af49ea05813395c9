"""Token counts as upstreams report them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.usage import Usage


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}, Usage(9, 3)),
        ({"prompt_tokens": 9}, Usage(9, 0)),
        ({"completion_tokens": 3}, Usage(0, 3)),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 8},
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            Usage(9, 3, cached=8, reasoning=2),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 3, "prompt_cache_hit_tokens": 4},
            Usage(9, 3, cached=4),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 100},
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            Usage(9, 3, cached=9, reasoning=3),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 3,
                "prompt_tokens_details": None,
                "completion_tokens_details": [],
            },
            Usage(9, 3),
        ),
    ],
)
def test_what_is_usage(told, usage):
    """OpenAI's object with its details, and what others add or leave out."""
    assert Usage.read(told) == usage


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        [],
        "9",
        5,
        {"total_tokens": 12},
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": "9", "completion_tokens": "3"},
        {"prompt_tokens": True, "completion_tokens": False},
        {"prompt_tokens": -9, "completion_tokens": -3},
        {"prompt_tokens": 9.5},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": 0},
    ],
)
def test_what_is_none(told):
    """A field that is no count, or was never filled in, is not told as zero tokens."""
    assert Usage.read(told) is None


VALUES = st.none() | st.integers() | st.text() | st.booleans() | st.floats()
NAMES = st.sampled_from(
    ["prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"]
)
DETAILS = VALUES | st.dictionaries(NAMES, VALUES)


@given(
    st.dictionaries(NAMES, VALUES),
    st.fixed_dictionaries(
        {"prompt_tokens_details": DETAILS, "completion_tokens_details": DETAILS}
    ),
)
def test_parts_never_exceed_the_whole(told, details):
    """Whatever is sent: counts are not negative, cached is within prompt, reasoning in completion."""
    usage = Usage.read({**told, **details})

    if usage is not None:
        assert 0 <= usage.cached <= usage.prompt
        assert 0 <= usage.reasoning <= usage.completion
        assert usage.total == usage.prompt + usage.completion > 0
        assert not usage.counted
        assert Usage.read(usage.as_openai()) == Usage(usage.prompt, usage.completion)


def test_the_object_that_we_make():
    """The three counts that every SDK reads."""
    assert Usage(9, 3, counted=True).as_openai() == {
        "prompt_tokens": 9,
        "completion_tokens": 3,
        "total_tokens": 12,
    }
