"""A raw caller: sends bytes to a port, reads what comes back piece by piece.

It reads from the socket only when the test asks it to, so that a test can be a slow
caller, and it sees where the server cut its body. Every wait ends after LIMIT_S.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from typing import Any, Self

LIMIT_S = 10.0  # of any one wait; a test that needs longer is wrong


class Reply:
    """A response whose head has been read; the body is read as the test asks for it."""

    def __init__(self, caller: "RawCaller", head: bytes) -> None:
        self.raw_head = head
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers: dict[str, str] = {}  # lower case; repetitions joined by a comma
        for name, _, value in (line.partition(":") for line in lines):
            name, value = name.strip().lower(), value.strip()
            before = self.headers.get(name)
            self.headers[name] = value if before is None else f"{before}, {value}"
        self.arrivals: list[tuple[float, bytes]] = []  # loop time, piece
        self._caller = caller
        self._events = b""
        self._done = self.status in {204, 304} or caller.method == "HEAD"
        self._chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        length = self.headers.get("content-length")
        self._left = None if length is None else int(length)

    async def piece(self) -> bytes | None:
        """The next chunk, or the next bytes of a body that is not chunked.

        None at the end; ConnectionError where the connection ends before the body does.
        """
        if self._done:
            return None
        data = await (self._next_chunk() if self._chunked else self._next_bytes())
        if not data:
            self._done = True
            return None
        self.arrivals.append((asyncio.get_running_loop().time(), data))
        return data

    async def event(self) -> bytes | None:
        """The next block up to and with its blank line (LF); None at the end."""
        while b"\n\n" not in self._events:
            piece = await self.piece()
            if piece is None:
                rest, self._events = self._events, b""
                return rest or None
            self._events += piece
        event, _, self._events = self._events.partition(b"\n\n")
        return event + b"\n\n"

    async def rest(self) -> bytes:
        """All of the body that has not been read yet."""
        body, self._events = self._events, b""
        while (piece := await self.piece()) is not None:
            body += piece
        return body

    async def json(self) -> Any:
        """The body, parsed."""
        return json.loads(await self.rest())

    async def _next_chunk(self) -> bytes:
        size = int((await self._caller.until(b"\r\n")).split(b";")[0], 16)
        data = await self._caller.exactly(size)
        await self._caller.exactly(2)
        return data

    async def _next_bytes(self) -> bytes:
        if self._left is None:
            return await self._caller.some()
        if not self._left:
            return b""
        data = await self._caller.some(self._left)
        if not data:
            raise ConnectionResetError("the connection ended within the body")
        self._left -= len(data)
        return data


class RawCaller:
    """One connection to a port of 127.0.0.1: `async with RawCaller(port) as caller`.

    A small `rcvbuf` (bytes) makes the server feel at once that nobody reads. Replies are
    read in order on the one connection; call `post` again when a body has ended.
    """

    def __init__(
        self, port: int, *, key: str | None = None, rcvbuf: int | None = None
    ) -> None:
        self.method = "GET"  # of the last request: an answer to HEAD has no body
        self._port = port
        self._key = key
        self._buffer = bytearray()
        self._sock = socket.socket()
        self._sock.setblocking(False)
        if rcvbuf is not None:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LIMIT_S):
                await loop.sock_connect(self._sock, ("127.0.0.1", self._port))
        except BaseException:
            self._sock.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    def leave(self, *, reset: bool = False) -> None:
        """Closes the connection at once, in order or with a reset."""
        if reset:
            linger = struct.pack("ii", 1, 0)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._sock.close()

    async def send(self, data: bytes) -> None:
        """Sends the bytes as they are."""
        async with asyncio.timeout(LIMIT_S):
            await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def ask(
        self,
        path: str,
        body: Any = None,
        *,
        method: str = "POST",
        key: str | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> None:
        """Sends a request and does not wait for its answer.

        A `body` that is not bytes is sent as JSON; a field of None in `headers` is left
        out, so that a test can do without Content-Type or Host.
        """
        self.method = method
        raw = b"" if body is None else body
        if not isinstance(raw, bytes):
            raw = json.dumps(raw).encode()
        fields: dict[str, str | None] = {"Host": f"127.0.0.1:{self._port}"}
        if body is not None:
            fields |= {
                "Content-Type": "application/json",
                "Content-Length": str(len(raw)),
            }
        if (key or self._key) is not None:
            fields["Authorization"] = f"Bearer {key or self._key}"
        fields |= headers or {}
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [
            f"{name}: {value}" for name, value in fields.items() if value is not None
        ]
        await self.send("\r\n".join([*lines, "", ""]).encode() + raw)

    async def reply(self) -> Reply:
        """Waits for the head of the next response."""
        while True:
            reply = Reply(self, await self.until(b"\r\n\r\n"))
            if reply.status >= 200:
                return reply

    async def post(
        self,
        path: str,
        body: Any,
        *,
        key: str | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Reply:
        """Sends a POST and waits for the head of its answer."""
        await self.ask(path, body, key=key, headers=headers)
        return await self.reply()

    async def get(
        self,
        path: str,
        *,
        key: str | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Reply:
        """Sends a GET and waits for the head of its answer."""
        await self.ask(path, method="GET", key=key, headers=headers)
        return await self.reply()

    async def ended(self) -> bool:
        """Waits for bytes or the end of the connection; True if it is the end."""
        if not self._buffer:
            self._buffer += await self._receive()
        return not self._buffer

    async def some(self, most: int = 65536) -> bytes:
        """Between one byte and `most`, whatever is there first; nothing at the end."""
        if not self._buffer:
            self._buffer += await self._receive(most)
        return self._take(min(most, len(self._buffer)))

    async def exactly(self, count: int) -> bytes:
        """That many bytes; ConnectionError where fewer come."""
        while len(self._buffer) < count:
            await self._more()
        return self._take(count)

    async def until(self, mark: bytes) -> bytes:
        """The bytes before `mark`, which is dropped; ConnectionError if it never comes."""
        while (at := self._buffer.find(mark)) < 0:
            await self._more()
        found = self._take(at)
        self._take(len(mark))
        return found

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def _more(self) -> None:
        data = await self._receive()
        if not data:
            raise ConnectionResetError("the connection ended too early")
        self._buffer += data

    async def _receive(self, most: int = 65536) -> bytes:
        async with asyncio.timeout(LIMIT_S):
            return await asyncio.get_running_loop().sock_recv(self._sock, most)
