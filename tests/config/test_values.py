"""What each scalar of the configuration may be, and the words when it is not."""

import datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.config import values
from lowproxy.config.values import Listen, shown


def check(kind, value):
    """What the check behind a field's type makes of a value."""
    return get_args(kind)[1](value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (values.Region, "eu-west"),
        (values.Zone, "FR"),
        (values.Zone, "US-CAL-CISO"),
        (values.Id, "acme-2.eu_x"),
        (values.ModelId, "meta-llama/Llama-3.3:free"),
        (values.Currency, "EUR"),
        (values.KeyHash, "sha256:" + "0a" * 32),
        (values.EnvName, "ACME_API_KEY"),
        (values.EnvName, ""),
        (values.Name, "Zoë's laptop"),
        (values.Capability, "tools"),
        (values.Flag, False),
        (values.Count, 1),
    ],
)
def test_good_values_pass_unchanged(kind, value):
    """Nothing is rewritten on the way in."""
    assert check(kind, value) is value


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (values.Region, "EU-West", "found 'EU-West', needs a lower-case region"),
        (values.Region, "eu west", "lower-case region"),
        (values.Region, "eu-", "lower-case region"),
        (values.Zone, "fr", "needs a grid zone"),
        (values.Id, "Acme Inc", "needs lower-case letters"),
        (values.ModelId, "two words", "without spaces"),
        (values.ModelId, "", "without spaces"),
        (values.ModelId, "lowrouter/auto", "pseudo-model"),
        (values.Currency, "euro", "currency code"),
        (values.Name, "", "1 to 100 printable characters"),
        (values.Name, "x\x1b[2J", "1 to 100 printable characters"),
        (values.Capability, "tool", '"tools", "vision"'),
        (values.Dialect, "grpc", 'needs "openai"'),
        (values.Text, 3, "found 3, needs a string"),
        (values.Flag, 1, "found 1, needs true or false"),
        (values.Flag, "yes", "needs true or false"),
        (values.Count, True, "found true, needs a whole number"),
        (values.Count, 2.0, "needs a whole number"),
        (values.Count, 0, "needs 1 or more"),
        (values.Amount, "3", "found '3', needs a number"),
        (values.Amount, False, "needs a number"),
        (values.Amount, -0.5, "found -0.5, needs 0 or more"),
        (values.Amount, float("nan"), "needs a finite number"),
        (values.Amount, float("inf"), "needs a finite number"),
        (values.Positive, 0, "needs more than 0"),
        (values.Moment, datetime.date(2027, 1, 1), "needs a date and time"),
        (values.Moment, "2027-01-01T00:00:00Z", "unquoted"),
        (values.Day, datetime.datetime(2027, 1, 1), "needs a date"),
    ],
)
def test_bad_values_are_told_with_what_would_be_right(kind, value, words):
    """Found and needed, in one line."""
    with pytest.raises(ValueError) as caught:
        check(kind, value)

    assert words in str(caught.value)


@given(st.integers(min_value=0, max_value=10**9))
def test_an_integer_is_a_number(value):
    """`connect_s = 5` need not be written 5.0."""
    assert check(values.Amount, value) == value


def test_a_time_without_an_offset_is_utc():
    """The machine's own zone plays no part."""
    local = datetime.datetime(2027, 1, 1)

    assert check(values.Moment, local) == datetime.datetime(
        2027, 1, 1, tzinfo=datetime.UTC
    )


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("127.8.9.1:0", "127.8.9.1", 0, True),
        ("localhost:80", "localhost", 80, True),
        ("[::1]:65535", "::1", 65535, True),
        ("0.0.0.0:8080", "0.0.0.0", 8080, False),
        ("[::]:8080", "::", 8080, False),
        ("192.168.1.4:1", "192.168.1.4", 1, False),
        ("gateway.internal:8080", "gateway.internal", 8080, False),
    ],
)
def test_where_to_listen(text, host, port, loopback):
    """A name other than localhost may be reached by others, so it counts as that."""
    listen = Listen.parse(text)

    assert (listen.host, listen.port, listen.loopback) == (host, port, loopback)
    assert str(listen) == text


@pytest.mark.parametrize(
    "text", ["8080", ":8080", "::1:8080", "host:", "host:65536", "host:-1", "a b:1", 80]
)
def test_where_not_to_listen(text):
    """An empty host would mean every interface: that must be said."""
    with pytest.raises(ValueError, match="HOST:PORT"):
        Listen.parse(text)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://api.acme.example/v1", "https://api.acme.example/v1"),
        ("https://api.acme.example/v1/", "https://api.acme.example/v1"),
        ("http://127.0.0.1:11434", "http://127.0.0.1:11434"),
        ("http://[::1]:8000/v1//", "http://[::1]:8000/v1"),
    ],
)
def test_base_urls_lose_their_trailing_slash(url, kept):
    """The path of an endpoint is put behind it."""
    assert check(values.BaseUrl, url) == kept


@pytest.mark.parametrize(
    "url",
    [
        "ftp://acme.example/v1",
        "acme.example/v1",
        "https://",
        "https:///v1",
        "https://acme.example:port/v1",
        "https://acme.example/v 1",
        "https://acme.example/v1?",
        "https://acme.example/v1#x",
        3,
    ],
)
def test_what_is_no_base_url(url):
    """Only http and https, with a host, without a query."""
    with pytest.raises(ValueError, match="needs a"):
        check(values.BaseUrl, url)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (values.BaseUrl, "https://me:sk-secret@acme.example/v1"),
        (values.BaseUrl, "https://sk-secret@acme.example/v1"),
        (values.BaseUrl, "https://acme.example/v1?key=sk-secret"),
        (values.EnvName, "sk-secret"),
        (values.EnvName, ["sk-secret"]),
        (values.KeyHash, "sk-secret"),
    ],
)
def test_what_may_be_a_secret_is_not_repeated(kind, value):
    """People paste the key itself where its name or its hash belongs."""
    with pytest.raises(ValueError) as caught:
        check(kind, value)

    assert "secret" not in str(caught.value)


def test_long_values_are_cut():
    """An error stays one line."""
    assert len(shown("x" * 5000)) < 70
    assert shown({"a": 1}) == "a table"
    assert shown([1, 2]) == "a list"
