"""Where records wait while the database cannot take them: JSON Lines, appended, then read once.

Each process appends to `ledger.spill.jsonl` of the directory; several may share one.
Who finds it when the database is back renames it first, so that nobody appends to
what is being read; a process that dies in between leaves the renamed file to the
next. What is read twice is put in once, by its generation_id.
"""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from lowproxy.store.ledger_rows import COLUMNS, Values, named

NAME = "ledger.spill.jsonl"
_TAKEN = "ledger.replay-*.jsonl"


class SpillFullError(Exception):
    """The bound is reached: what comes now is lost."""


class Spill:
    """The waiting records of one directory; OSError is passed on."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._path = folder / NAME

    def append(self, rows: Sequence[Values]) -> None:
        """Writes rows down, all or none. Raises SpillFullError, OSError."""
        text = b"".join([orjson.dumps(named(row)) + b"\n" for row in rows])
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._opened() as file:
            size = os.fstat(file).st_size
            if self.size() + len(text) > self._max_bytes:
                raise SpillFullError(f"{self._folder}: {self._max_bytes} bytes wait")
            # A process may have died in the middle of a line.
            torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
            try:
                _write(file, b"\n" + text if torn else text)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(file, size)
                raise

    def size(self) -> int:
        """Bytes that wait, taken files included."""
        return sum(_size(path) for path in (self._path, *self.taken()))

    def taken(self) -> list[Path]:
        """The files that are being read, or were when somebody died."""
        return sorted(self._folder.glob(_TAKEN))

    def take(self) -> list[Path]:
        """Puts what has been appended aside, to be read; all files that are to be read."""
        if self._path.exists():
            name = _TAKEN.replace("*", secrets.token_hex(8))
            with contextlib.suppress(FileNotFoundError), self._opened():
                self._path.rename(self._folder / name)
        return self.taken()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """The file, for us alone; another one where it was renamed while we waited."""
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if _same(file, self._path):
                    yield file
                    return
            finally:
                os.close(file)


def read(path: Path, most: int, offset: int = 0) -> tuple[list[Values], int]:
    """At most so many rows from `offset` on, and where the next ones begin.

    A line that is torn, or none of ours, is passed over. Raises OSError.
    """
    rows: list[Values] = []
    with path.open("rb") as file:
        file.seek(offset)
        while len(rows) < most and (line := file.readline()):
            offset += len(line)
            with contextlib.suppress(ValueError, AttributeError):
                row = orjson.loads(line)
                if row.get("generation_id"):
                    rows.append(tuple([row.get(name) for name in COLUMNS]))
    return rows, offset


def _write(file: int, text: bytes) -> None:
    while text:
        text = text[os.write(file, text) :]


def _same(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
