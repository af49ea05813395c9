"""The names that the conventions have for what is ours."""

import pytest

from lowproxy.core import semconv


@pytest.mark.parametrize(
    ("ours", "theirs"), [("openai", "openai"), ("xai", "x_ai"), ("acme", "acme")]
)
def test_providers(ours, theirs):
    """A well-known value where there is one, else our id."""
    assert semconv.provider(ours) == theirs


def test_operations():
    """An endpoint that asks no model has none."""
    assert semconv.operation("chat") == "chat"
    assert semconv.operation("completions") == "text_completion"
    assert semconv.operation("models") is None


def test_bounds_rise():
    """As a histogram needs them."""
    for name in ("DURATION_S", "FIRST_TOKEN_S", "OUTPUT_TOKEN_S", "TOKENS"):
        bounds = getattr(semconv, name)
        assert sorted(set(bounds)) == list(bounds)
