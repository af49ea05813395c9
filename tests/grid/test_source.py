"""A question keeps its secrets."""

from lowproxy.grid.source import Question


def test_a_question_is_printed_without_what_may_be_a_token():
    """Address, parameters and fields stay out of texts."""
    question = Question("https://x/?key=canary", "FR", {"a": "canary"}, {"b": "canary"})
    assert "FR" in repr(question)
    assert "canary" not in repr(question)
