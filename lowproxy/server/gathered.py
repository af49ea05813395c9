"""Put together a body that comes in pieces, without keeping anybody waiting for it."""

from io import BytesIO

# From here on joining all pieces at the end is felt by other requests: the memory alone takes milliseconds.
_MUCH = 1 << 20


class Gathered:
    """The pieces so far. Many are copied to their place as they come, few are joined once."""

    __slots__ = ("_buffer", "_parts", "size")

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes | memoryview] = []
        self._buffer: BytesIO | None = None

    def add(self, data: bytes | memoryview) -> None:
        """One more."""
        self.size += len(data)
        self._parts.append(data)
        if self.size > _MUCH:
            if self._buffer is None:
                self._buffer = BytesIO()
            self._buffer.writelines(self._parts)
            self._parts.clear()

    def whole(self) -> bytes:
        """All of them; what a buffer holds is not copied again."""
        if self._buffer is None:
            return b"".join(self._parts)
        return self._buffer.getvalue()
