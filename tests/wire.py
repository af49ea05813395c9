"""One accepted connection of the fake upstream: requests in, any bytes out.

A line reads ahead all the time, so that it notices at once who has left; a wire is what
the script of one answer writes with.
"""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from tests.callers import LIMIT_S

JSON_TYPE = ("Content-Type", "application/json")
SSE_TYPE = ("Content-Type", "text/event-stream")


@attrs.frozen
class Seen:
    """One request as it came over the wire."""

    method: str
    path: str  # with the query
    headers: list[tuple[str, str]]  # as sent: order, case and repetition
    body: bytes  # dechunked

    def header(self, name: str) -> str | None:
        """The first field of that name, in any case."""
        found = (v for n, v in self.headers if n.lower() == name.lower())
        return next(found, None)

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Wire:
    """One request's side of a connection, for the script that answers it.

    A write returns when the kernel has taken the bytes, so that a test sees when the
    peer stops reading; it raises ConnectionError once the peer has left.
    """

    def __init__(self, line: "Line") -> None:
        self._line = line
        self._chunked = False
        self.sent_bytes = 0

    async def raw(self, data: bytes, *, last: bool = False) -> None:
        """Writes the bytes as they are; `last`: the answer ends with them."""
        if self._line.left.is_set():
            raise ConnectionResetError("the peer has left")
        if last:
            self._line.answering = False
        async with asyncio.timeout(LIMIT_S):
            self._line.writer.write(data)
            await self._line.writer.drain()
        self.sent_bytes += len(data)

    async def head(
        self,
        status: int = 200,
        headers: Iterable[tuple[str, str]] = (SSE_TYPE,),
        *,
        chunked: bool = False,
        length: int | None = None,
    ) -> None:
        """Writes a response head; with neither framing the body ends with the connection."""
        self._chunked = chunked
        fields = [*headers]
        if chunked:
            fields.append(("Transfer-Encoding", "chunked"))
        if length is not None:
            fields.append(("Content-Length", str(length)))
        lines = [f"HTTP/1.1 {status} Scripted", *(f"{n}: {v}" for n, v in fields)]
        await self.raw("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def chunk(self, data: bytes) -> None:
        """Writes one HTTP chunk."""
        assert data, "an empty chunk would end the body: call end()"
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        """Ends the answer; the connection stays open for the next request."""
        if self._chunked:
            self._chunked = False
            await self.raw(b"0\r\n\r\n", last=True)
        self._line.answering = False

    async def cut(self) -> None:
        """Breaks the connection with a reset; what was written before still arrives."""
        self._line.answering = False
        sock = self._line.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._line.writer.transport.abort()

    async def hang_up(self) -> None:
        """Closes the connection in order, whether or not the answer is complete."""
        self._line.answering = False
        self._line.writer.close()

    async def peer_left(self) -> None:
        """Returns when the peer has closed its side."""
        async with asyncio.timeout(LIMIT_S):
            await self._line.left.wait()

    async def hold(self, event: asyncio.Event) -> None:
        """Waits for the test; raises ConnectionError if the peer leaves meanwhile."""
        async with asyncio.timeout(LIMIT_S):
            waits = [asyncio.ensure_future(e.wait()) for e in (event, self._line.left)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
        if not event.is_set():
            raise ConnectionResetError("the peer has left")


class Line:
    """One accepted connection: reads ahead, so that it notices at once who has left."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_abort: Callable[[], None],
        sndbuf: int | None,
    ) -> None:
        self.writer = writer
        self.left = asyncio.Event()
        self.answering = False
        self._buffer = bytearray()
        self._arrived = asyncio.Event()
        self._on_abort = on_abort
        # So that drain() waits for the kernel and not for a buffer of ours.
        writer.transport.set_write_buffer_limits(high=0)
        if sndbuf is not None:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        self._pump_task = asyncio.create_task(self._pump(reader), name="fake upstream")

    async def _pump(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                self._buffer += data
                self._arrived.set()
        self.left.set()
        self._arrived.set()
        if self.answering:
            self._on_abort()

    async def request(self) -> Seen | None:
        """The next request, or None where the peer closes instead."""
        while not self._buffer:
            if self.left.is_set():
                return None
            await self._more()
        async with asyncio.timeout(LIMIT_S):
            head = (await self._until(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")
            method, path, _ = first.split(" ")
            headers = [
                (n, v.strip()) for n, _, v in (ln.partition(":") for ln in lines)
            ]
            seen = Seen(method, path, headers, b"")
            return attrs.evolve(seen, body=await self._body(seen))

    async def _body(self, seen: Seen) -> bytes:
        if (seen.header("Transfer-Encoding") or "").lower() != "chunked":
            return await self._exactly(int(seen.header("Content-Length") or 0))
        body = b""
        while size := int((await self._until(b"\r\n")).split(b";")[0], 16):
            body += await self._exactly(size)
            await self._exactly(2)
        await self._exactly(2)
        return body

    async def _until(self, mark: bytes) -> bytes:
        while (at := self._buffer.find(mark)) < 0:
            await self._more()
        found = await self._exactly(at)
        await self._exactly(len(mark))
        return found

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._more()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def _more(self) -> None:
        if self.left.is_set():
            raise ConnectionResetError("the peer left within a request")
        self._arrived.clear()
        await self._arrived.wait()

    def shut(self) -> None:
        self._pump_task.cancel()
        if self.writer.transport.get_write_buffer_size():
            self.writer.transport.abort()  # a peer that does not read would hold us
        self.writer.close()

    async def close(self) -> None:
        self.shut()
        await asyncio.wait([self._pump_task])
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
