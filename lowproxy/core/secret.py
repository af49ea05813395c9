"""A value that cannot be printed: provider keys, admin credentials."""

from typing import Never


class Secret:
    """Holds a credential; only `reveal()` gives it out, and only to build an upstream head.

    Neither `str`, `repr`, `format`, pickling nor copying into a log line shows it.
    """

    __slots__ = ("_value", "name", "version")

    def __init__(self, value: str, name: str = "") -> None:
        self._value = value
        self.name = (
            name  # where it comes from, for logs: an environment variable, a file
        )
        self.version = 0  # grows when the value is replaced

    def reveal(self) -> str:
        """The credential itself. Call it where a request is dressed and nowhere else."""
        return self._value

    def look_again(self) -> None:
        """It has been refused: whoever can replace the value looks for another one now."""

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> Never:
        raise TypeError("a Secret is not pickled or copied")
