"""The nginx of deploy/edge, started on free ports with a certificate of a minute ago."""

import contextlib
import os
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from benchmarks.load.process import find, free_port
from tests.deploy.tree import DEPLOY

CONF = DEPLOY / "edge" / "nginx.conf"
NGINX = find("nginx")
OPENSSL = find("openssl")
START_S = 30.0


@attrs.frozen
class Front:
    """A front that is up."""

    port: int
    certificate: Path

    def tls(self) -> ssl.SSLContext:
        """What a caller trusts."""
        return ssl.create_default_context(cafile=str(self.certificate))


@contextlib.contextmanager
def running_front(folder: Path, gateway_port: int) -> Iterator[Front]:
    """nginx with the configuration that is deployed, before a gateway on `gateway_port`."""
    port = free_port()
    file = written(folder, port, gateway_port)
    with (folder / "nginx.txt").open("wb") as printed:
        process = subprocess.Popen(
            [str(NGINX), "-p", str(folder), "-c", str(file), "-g", "daemon off;"],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
        )
    try:
        _wait_until_up(process, folder)
        yield Front(port, folder / "tls" / "fullchain.pem")
    finally:
        process.terminate()
        process.wait(START_S)


def written(folder: Path, port: int, gateway_port: int) -> Path:
    """The configuration's copy in a folder: other ports and places, and nothing else."""
    make_certificate(folder / "tls")
    text = CONF.read_text()
    for said, here in (
        (" 443 ssl", f" 127.0.0.1:{port} ssl"),
        (" [::]:443 ssl", f" [::1]:{port} ssl"),
        ("127.0.0.1:8080", f"127.0.0.1:{gateway_port}"),
        (
            "worker_processes auto",
            "worker_processes 1",
        ),  # each keeps its own connections
        ("/run/nginx.pid", str(folder / "nginx.pid")),
        ("/var/log/nginx/error.log", str(folder / "error.log")),
        ("\nhttp {\n", "\nhttp {\n" + _temporary(folder)),
    ):
        assert said in text, said
        text = text.replace(said, here)
    if os.getuid() != 0:  # only root may become somebody else
        text = text.replace("user www-data;", "")
    file = folder / "nginx.conf"
    file.write_text(text)
    return file


def _temporary(folder: Path) -> str:
    """Folders that nginx makes as it starts, where anybody may make them."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)


def make_certificate(folder: Path) -> None:
    """A certificate of our own for gateway.example and this machine."""
    folder.mkdir(exist_ok=True)
    names = "subjectAltName=DNS:gateway.example,DNS:localhost,IP:127.0.0.1"
    command = [str(OPENSSL), "req", "-x509", "-newkey", "ec", "-nodes", "-days", "1"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-subj", "/CN=gateway.example", "-addext", names]
    command += ["-keyout", str(folder / "privkey.pem")]
    command += ["-out", str(folder / "fullchain.pem")]
    subprocess.run(command, check=True, capture_output=True, timeout=START_S)


def _wait_until_up(process: subprocess.Popen[bytes], folder: Path) -> None:
    give_up = time.monotonic() + START_S
    while not (folder / "nginx.pid").exists():
        if process.poll() is not None or time.monotonic() > give_up:
            raise AssertionError((folder / "nginx.txt").read_text())
        time.sleep(0.02)  # another process: there is nothing to await
