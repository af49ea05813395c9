"""The proxy towards providers, as the environment names it: for whom it is, and what it is told."""

import ipaddress
import re
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import attrs

from lowproxy.core.secret import Secret

# What a proxy may answer before we take it for something else.
MAX_ANSWER_BYTES = 16 * 1024


@attrs.frozen
class Proxy:
    """An HTTP proxy that connects through (CONNECT), and the hosts that it is not for."""

    host: str
    port: int
    # Of `Proxy-Authorization`; like the URL's user and password it is never shown.
    authorization: Secret | None = attrs.field(default=None, eq=False)
    bypassed: tuple[str, ...] = ()
    # Tells apart what has another password, and shows nothing of it.
    mark: int = attrs.field(default=0, repr=False)

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Proxy | None":
        """From HTTPS_PROXY and NO_PROXY, in either case; raises ValueError, `NAME: mistake`."""
        name, url = _first(environ, "https_proxy", "HTTPS_PROXY")
        if not url:
            return None
        _, spared = _first(environ, "no_proxy", "NO_PROXY")
        bypassed = tuple(part for part in re.split(r"[,\s]+", spared.lower()) if part)
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port or 80
        except ValueError:
            host = None
        if not host:
            right = "http://HOST:PORT"
            raise ValueError(f"{name}: needs {right} (not repeated here)")
        if parts.scheme != "http":
            raise ValueError(f"{name}: found {parts.scheme}://, needs http://")
        if parts.username is None:
            return cls(host, port, bypassed=bypassed)
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        secret = Secret(f"Basic {b64encode(pair.encode()).decode()}")
        return cls(host, port, secret, bypassed, mark=hash(pair))

    def serves(self, host: str, port: int) -> bool:
        """Whether connections to this host go through it."""
        return not any(_matches(each, host.lower(), port) for each in self.bypassed)

    def ask(self, host: str, port: int) -> bytes:
        """The request for a connection to a host."""
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
        if self.authorization is not None:
            lines.append(f"Proxy-Authorization: {self.authorization.reveal()}")
        return "\r\n".join([*lines, "", ""]).encode()


def status_of(answer: bytes) -> int | None:
    """The status of a proxy's answer; None where it is no HTTP."""
    match = re.match(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r]", answer)
    return int(match[1]) if match else None


def _first(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    for name in names:
        if value := environ.get(name, "").strip():
            return name, value
    return "", ""


def _matches(rule: str, host: str, port: int) -> bool:
    """As curl and most others read NO_PROXY: `*`, a domain with all below it, an address, a network."""
    if rule == "*":
        return True
    name, colon, number = rule.rpartition(":")
    if colon and number.isdigit() and ":" not in name.strip("[]"):
        if int(number) != port:
            return False
        rule = name
    rule = rule.strip("[]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        domain = rule.removeprefix("*").removeprefix(".")
        return host == domain or host.endswith(f".{domain}")
    try:
        return address in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        return False
