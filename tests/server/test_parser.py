"""What is assumed of aiohttp's parser holds, and a version for which it does not is noticed."""

import pytest
from aiohttp.http import HttpRequestParser

from lowproxy.server import parser


def test_the_installed_version_is_as_assumed():
    """Nothing speaks against the direct server here."""
    assert parser.WHY_NOT is None


class _Other:
    """A parser of another version."""

    def __init__(self, answer):
        self._answer = answer

    def feed_data(self, data):
        return self._answer


@pytest.mark.parametrize("answer", [((), False, b""), None, ([(object(), None)], 0, 0)])
def test_another_version_is_noticed(monkeypatch, answer):
    """Whatever differs is said and never raised."""
    monkeypatch.setattr(parser, "HttpRequestParser", lambda *_, **__: _Other(answer))
    assert parser._why_not()


def test_a_lenient_parser_is_noticed(monkeypatch):
    """A parser that takes what is no HTTP is not used."""
    real = HttpRequestParser

    class Lenient:
        def __init__(self, *args, **options):
            self._real = real(*args, **options)

        def feed_data(self, data):
            return (
                ((), False, b"")
                if data[:6] == b"canary"
                else self._real.feed_data(data)
            )

    monkeypatch.setattr(parser, "HttpRequestParser", Lenient)
    assert parser._why_not() == "a malformed request is not refused"
