"""Where credentials come from: the environment, or a file that may change."""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from lowproxy.config.rows import ProviderRow
from lowproxy.core.secret import Secret

# A secret in a mounted volume is replaced under a running process; one look a second
# is soon enough and costs nothing at any request rate.
RECHECK_S = 1.0


class FileSecret(Secret):
    """A credential in a file, read again when the file changes.

    Raises ValueError at first where it cannot be used. Later the last good value stays
    in force while the file is missing, empty or half-written.
    """

    __slots__ = ("_clock", "_looked_at", "_path", "_seen")

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._looked_at = clock()
        try:
            self._seen = self._stamp()
            super().__init__(self._read(), str(path))
        except OSError as exc:
            raise ValueError(f"cannot be read: {exc.strerror}") from exc

    def reveal(self) -> str:
        """The credential as the file has it, at most a second old."""
        now = self._clock()
        if now - self._looked_at >= RECHECK_S:
            self._looked_at = now
            self._refresh()
        return super().reveal()

    def look_again(self) -> None:
        """The file may have changed since the last look, however short ago that was."""
        self._looked_at = self._clock()
        self._refresh()

    def _refresh(self) -> None:
        try:
            stamp = self._stamp()
            if stamp != self._seen:
                value = self._read()
                self._seen = stamp
                if value != self._value:
                    self._value = value
                    self.version += 1
        except (OSError, ValueError):
            return  # keep what worked; the next look may find it whole

    def _stamp(self) -> tuple[int, int, int]:
        stat = self._path.stat()
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _read(self) -> str:
        return checked(self._path.read_bytes().decode(errors="replace"))


def checked(value: str) -> str:
    """A credential without the white space around it; raises ValueError."""
    value = value.strip()
    if not value:
        raise ValueError("is empty")
    if not re.fullmatch(r"[!-~]+", value):
        raise ValueError("holds characters that no HTTP header may carry")
    return value


def from_environ(name: str, environ: Mapping[str, str]) -> str:
    """What an environment variable holds; raises ValueError that does not repeat it.

    A name in lower case is not repeated either: it may be a secret in the wrong place.
    """
    value = environ.get(name, "")
    called = name if name.isupper() else "named there"
    if not value.strip():
        raise ValueError(f"the environment variable {called} is not set")
    try:
        return checked(value)
    except ValueError as exc:
        raise ValueError(f"the environment variable {called} {exc}") from None


def credentials(
    row: ProviderRow, environ: Mapping[str, str], folder: Path
) -> tuple[tuple[Secret, ...], list[str]]:
    """What a provider is asked with, each once; and `.option: mistake` for what is not.

    A relative `api_key_file` is looked for in `folder`.
    """
    named = [("api_key_env", row.api_key_env)] if row.api_key_env else []
    named += [
        (f"api_key_envs[{i}]", name) for i, name in enumerate(row.api_key_envs or ())
    ]
    values: dict[str, str] = {}  # value -> the first name it has
    problems: list[str] = []
    for option, name in named:
        try:
            values.setdefault(from_environ(name, environ), name)
        except ValueError as exc:
            problems.append(f'.{option}: {exc} (api_key_env = "": no key is needed)')
    secrets = [Secret(value, name) for value, name in values.items()]
    if row.api_key_file:
        try:
            secrets.append(FileSecret(folder / row.api_key_file))
        except ValueError as exc:
            problems.append(f".api_key_file: {exc}")
    return tuple(secrets), problems
