"""The environment's proxy: for whom it is, what it is told, and that its password stays a secret."""

import pytest

from lowproxy.core.tunnel import Proxy, status_of


def test_nobody_has_set_one():
    """No proxy, also where the variable is empty, and whatever is spared."""
    assert Proxy.read({}) is None
    assert Proxy.read({"HTTPS_PROXY": " ", "NO_PROXY": "*"}) is None


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://proxy.example:3128", ("proxy.example", 3128)),
        ("proxy.example:3128", ("proxy.example", 3128)),
        ("http://[::1]", ("::1", 80)),
    ],
)
def test_where_it_is(url, place):
    """With or without a scheme; port 80 where none is said; lower case goes first, as with curl."""
    proxy = Proxy.read({"https_proxy": url, "HTTPS_PROXY": "http://other.example"})
    assert proxy is not None
    assert (proxy.host, proxy.port) == place


@pytest.mark.parametrize(
    "url", ["http://", "http://user:hunter2@:9", "http://x:hunter2", "socks5://a:1"]
)
def test_what_is_no_proxy(url):
    """The variable is named, and nothing of it is repeated that may be a password."""
    with pytest.raises(ValueError, match=r"^HTTPS_PROXY: .*needs http://") as refused:
        Proxy.read({"HTTPS_PROXY": url})
    assert "hunter2" not in str(refused.value)


def test_a_password_is_told_the_proxy_and_nobody_else():
    """It is in the request, percent-decoded, and in no representation."""
    proxy = Proxy.read({"HTTPS_PROXY": "http://me:hunter%402@proxy.example:3128"})
    assert proxy is not None
    assert proxy.ask("api.example", 443) == (
        b"CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n"
        b"Proxy-Authorization: Basic bWU6aHVudGVyQDI=\r\n\r\n"
    )
    assert "hunter" not in repr(proxy)
    assert "bWU6" not in repr(proxy)
    other = Proxy.read({"HTTPS_PROXY": "http://me:other@proxy.example:3128"})
    again = Proxy.read({"HTTPS_PROXY": "http://me:hunter%402@proxy.example:3128"})
    assert other != proxy == again


def test_an_address_of_six_bytes_too_many():
    """IPv6 goes in brackets."""
    assert Proxy("p", 1).ask("::1", 443).startswith(b"CONNECT [::1]:443 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("rules", "host", "spared"),
    [
        ("*", "api.example", True),
        ("example", "api.example", True),
        (".example", "api.example", True),
        ("*.example", "api.example", True),
        ("api.example", "API.example", True),
        ("ample", "api.example", False),
        ("other, api.example", "api.example", True),
        ("api.example:443", "api.example", True),
        ("api.example:8443", "api.example", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("fd00::/8", "fd00::1", True),
        ("::1", "::1", True),
        ("10.0.0.0/8", "api.example", False),
        ("api.example", "10.1.2.3", False),
    ],
)
def test_who_is_spared(rules, host, spared):
    """Names with all below them, ports, addresses and networks."""
    proxy = Proxy.read({"HTTPS_PROXY": "http://p:1", "NO_PROXY": rules})
    assert proxy is not None
    assert proxy.serves(host, 443) is not spared


def test_what_a_proxy_answers():
    """The status, or that it is no proxy that answers."""
    assert status_of(b"HTTP/1.1 200 Connection established\r\n\r\n") == 200
    assert status_of(b"HTTP/1.0 407\r\n\r\n") == 407
    assert status_of(b"SSH-2.0-x\r\n\r\n") is None
