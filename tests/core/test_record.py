"""A row of the books has facts and no text."""

import attrs

from lowproxy.core.record import UsageRecord

# What a request or an answer says, in anybody's words.
_TEXT = ("body", "content", "messages", "prompt", "response", "text", "user", "secret")


def test_a_record_has_no_place_for_text():
    """No prompt, no answer, no key, no caller's name for a user."""
    names = {field.name for field in attrs.fields(UsageRecord)}

    assert not names & set(_TEXT)
    assert {"usage", "impact", "attempts", "status", "generation_id"} <= names


def test_a_record_is_not_edited():
    """Written once."""
    assert UsageRecord.__setattr__ is not object.__setattr__
    assert "frozen" in repr(UsageRecord.__setattr__)
