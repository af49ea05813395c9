"""TLS contexts of certificate files. A file that cannot be used is a mistake in the configuration."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from lowproxy.config.rows import Server, Upstream

_SERVER = ("tls_cert_file", "tls_key_file")
_UPSTREAM = ("ca_file", "client_cert_file", "client_key_file")


def placed_server(server: Server, folder: Path) -> Server:
    """With relative files in `folder`."""
    return attrs.evolve(server, **_placed(server, _SERVER, folder))


def placed_upstream(upstream: Upstream, folder: Path) -> Upstream:
    """With relative files in `folder`."""
    return attrs.evolve(upstream, **_placed(upstream, _UPSTREAM, folder))


def server_files(server: Server) -> tuple[str, str] | None:
    """Certificate and key; None where callers are served without TLS."""
    if server.tls_cert_file is None:
        return None
    return server.tls_cert_file, server.tls_key_file or server.tls_cert_file


def server_context(server: Server) -> ssl.SSLContext | None:
    """For callers. Raises ValueError, `option: mistake`."""
    files = server_files(server)
    if files is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, "tls", *files)
    return context


def upstream_context(upstream: Upstream) -> ssl.SSLContext:
    """For providers: verified by name, TLS 1.2 or later. Raises ValueError, `option: mistake`."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if upstream.ca_file is not None:
        try:
            context.load_verify_locations(upstream.ca_file)
        except OSError as exc:
            raise ValueError(f"ca_file: {_why(exc)}") from None
    cert = upstream.client_cert_file
    if cert is not None:
        _load_pair(context, "client", cert, upstream.client_key_file or cert)
    return context


def tls_problems(server: Server, upstream: Upstream) -> Iterator[str]:
    """What is wrong with the files, one line for each."""
    if server.tls_key_file and not server.tls_cert_file:
        yield "server.tls_cert_file: missing beside tls_key_file"
    if upstream.client_key_file and not upstream.client_cert_file:
        yield "upstream.client_cert_file: missing beside client_key_file"
    try:
        server_context(server)
    except ValueError as exc:
        yield f"server.{exc}"
    if upstream != Upstream():
        try:
            upstream_context(upstream)
        except ValueError as exc:
            yield f"upstream.{exc}"


def _load_pair(context: ssl.SSLContext, kind: str, cert: str, key: str) -> None:
    for option, path in ((f"{kind}_cert_file", cert), (f"{kind}_key_file", key)):
        try:
            Path(path).open("rb").close()
        except OSError as exc:
            raise ValueError(f"{option}: {_why(exc)}") from None
    try:
        # Without the callback OpenSSL would ask for a password at the terminal, and wait.
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as exc:
        raise ValueError(f"{kind}_cert_file: {_why(exc)}") from None


def _no_password() -> str:
    raise ValueError("the key is encrypted, needs one without a password")


def _why(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLError):
        reason = (exc.reason or "no PEM file").replace("_", " ").lower()
        return f"cannot be used: {reason}"
    if isinstance(exc, OSError):
        return f"cannot be read: {exc.strerror}"
    return str(exc)


def _placed(
    row: Server | Upstream, options: tuple[str, ...], folder: Path
) -> dict[str, Any]:
    said = {option: getattr(row, option) for option in options}
    return {option: str(folder / path) for option, path in said.items() if path}
