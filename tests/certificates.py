"""Certificates for tests, made by the openssl program: an authority, a server, a client."""

import shutil
import subprocess
from pathlib import Path

import attrs
import pytest

_NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


@attrs.frozen
class Pair:
    """A certificate and its key, each a PEM file."""

    cert: Path
    key: Path


@attrs.frozen
class Authority:
    """Signs certificates in a folder of its own."""

    folder: Path
    pair: Pair

    def issue(self, name: str) -> Pair:
        """A certificate for 127.0.0.1 and localhost, good for both ends."""
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        signed = ["-CA", str(self.pair.cert), "-CAkey", str(self.pair.key)]
        _make(pair, name, "-addext", _NAMES, *signed)
        return pair


def authority(folder: Path, name: str = "authority") -> Authority:
    """An authority that nobody knows."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder.mkdir(exist_ok=True)
    pair = Pair(folder / "authority.pem", folder / "authority.key")
    _make(pair, name)
    return Authority(folder, pair)


def _make(pair: Pair, name: str, *more: str) -> None:
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"]
    command += ["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", f"/CN={name}"]
    command += ["-keyout", str(pair.key), "-out", str(pair.cert), *more]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
