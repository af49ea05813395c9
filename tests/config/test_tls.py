"""Certificate files: what they make, and every way in which they cannot be used."""

import ssl
import subprocess
from typing import Any

import attrs
import pytest

from lowproxy import config
from lowproxy.config.rows import Server, Upstream
from lowproxy.config.tls import server_context, tls_problems, upstream_context
from tests.certificates import authority


@pytest.fixture(scope="module")
def issued(tmp_path_factory):
    """An authority's certificate for a server."""
    return authority(tmp_path_factory.mktemp("ca")).issue("server")


def test_tls_for_callers(issued):
    """TLS 1.2 or later, HTTP/1.1."""
    server = Server(tls_cert_file=str(issued.cert), tls_key_file=str(issued.key))
    context = server_context(server)
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert server_context(Server()) is None


def test_one_file_for_both(issued, tmp_path):
    """A key within the certificate's file needs no option."""
    both = tmp_path / "both.pem"
    both.write_bytes(issued.cert.read_bytes() + issued.key.read_bytes())
    assert server_context(Server(tls_cert_file=str(both))) is not None
    upstream_context(Upstream(client_cert_file=str(both)))


def test_a_private_ca_goes_beside_the_systems(issued):
    """Names are verified, as ever."""
    context = upstream_context(Upstream(ca_file=str(issued.cert)))
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert any("'server'" in str(ca["subject"]) for ca in context.get_ca_certs())


def test_relative_files_are_beside_the_configuration(issued, tmp_path):
    """Wherever the gateway is started."""
    (tmp_path / "cert.pem").write_bytes(issued.cert.read_bytes())
    (tmp_path / "key.pem").write_bytes(issued.key.read_bytes())
    path = tmp_path / "lowproxy.toml"
    path.write_text(
        '[server]\ntls_cert_file = "cert.pem"\ntls_key_file = "key.pem"\n'
        '[upstream]\nca_file = "cert.pem"\n'
    )
    loaded = config.load(path, {})
    assert loaded.server.tls_key_file == str(tmp_path / "key.pem")
    assert loaded.upstream.ca_file == str(tmp_path / "cert.pem")


def _said(name: str, value: str) -> dict[str, Any]:
    return {name: value}


@pytest.mark.parametrize(
    ("server", "upstream", "says"),
    [
        ({"tls_key_file": "KEY"}, {}, "server.tls_cert_file: missing beside"),
        ({}, {"client_key_file": "KEY"}, "upstream.client_cert_file: missing beside"),
        (
            {"tls_cert_file": "gone"},
            {},
            "server.tls_cert_file: cannot be read: No such",
        ),
        (
            {"tls_cert_file": "CERT", "tls_key_file": "gone"},
            {},
            "server.tls_key_file: cannot be read: No such",
        ),
        (
            {"tls_cert_file": "KEY", "tls_key_file": "KEY"},
            {},
            "server.tls_cert_file: cannot be used",
        ),
        ({}, {"ca_file": "gone"}, "upstream.ca_file: cannot be read: No such"),
        ({}, {"ca_file": "KEY"}, "upstream.ca_file: cannot be used"),
        (
            {},
            {"client_cert_file": "CERT", "client_key_file": "CERT"},
            "upstream.client_cert_file: cannot be used",
        ),
    ],
)
def test_what_cannot_be_used(issued, server, upstream, says):
    """Each option by its path, before a port is opened."""
    real = {"CERT": str(issued.cert), "KEY": str(issued.key), "gone": "/no/such.pem"}
    ours, theirs = Server(), Upstream()
    for name, value in server.items():
        ours = attrs.evolve(ours, **_said(name, real[value]))
    for name, value in upstream.items():
        theirs = attrs.evolve(theirs, **_said(name, real[value]))
    (problem,) = tls_problems(ours, theirs)
    assert problem.startswith(says)


def test_a_key_with_a_password(issued, tmp_path):
    """Said to be one; nobody is asked at a terminal."""
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "ec", "-in", issued.key, "-aes256", "-passout", "pass:x", "-out"]
        + [locked],
        check=True,
        capture_output=True,
    )
    server = Server(tls_cert_file=str(issued.cert), tls_key_file=str(locked))
    (problem,) = tls_problems(server, Upstream())
    assert "encrypted" in problem
