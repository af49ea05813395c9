"""A row of the books has facts and no text."""

from typing import Any

import pytest

from lowproxy.core.record import KIND, UsageRecord
from lowproxy.tally import Kind
from tests.test_metrics import RECORD

# What a request or an answer says, in anybody's words.
_TEXT = ("body", "content", "messages", "prompt", "response", "text", "user", "secret")


def test_a_record_has_no_place_for_text():
    """No prompt, no answer, no key, no caller's name for a user."""
    names = set(UsageRecord._fields)

    assert not names & set(_TEXT)
    assert {"usage", "impact", "attempts", "status", "generation_id"} <= names


def test_a_record_is_not_edited():
    """Written once."""
    with pytest.raises(AttributeError):
        RECORD.status = "partial"  # type: ignore[misc]


def test_a_record_has_its_kind():
    """In the order in which kinds are told apart."""
    told: Any = RECORD[KIND]
    kind = Kind(*told)

    assert (kind.endpoint, kind.provider, kind.model) == ("chat", "acme", "acme/small")
    assert (kind.region, kind.streamed, kind.status) == ("eu-west", True, "ok")
    renamed = {"model": "resolved_model", "code": "error"}
    names = tuple(renamed.get(name, name) for name in Kind._fields)
    assert list(names) == list(UsageRecord._fields)[KIND]
