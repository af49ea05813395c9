"""A gateway in this process, driven one event at a time, so that what an event costs can be counted.

The gateway runs on its own thread and event loop, as `lowproxy serve` builds it. The driver
stands on both sides of it with blocking sockets: it plays the provider and the caller, sends
an event up there and waits until it has come out down here. So every event is a read of its
own and a count does not depend on how fast the machine is. What the gateway leaves for a tenth of a second
later, its books and its log, waits here until `settle`.
"""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from benchmarks.load.proxies import CALLER_KEY, UPSTREAM_KEY, Place, lowproxy_config
from benchmarks.load.workloads import WORKLOADS
from lowproxy.catalogue import open_config
from lowproxy.logs import Lines, set_up
from lowproxy.server import books
from lowproxy.server.app import Gateway, running

LIMIT_S = 20.0
NEVER_S = 1e6
T = TypeVar("T")

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"date: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: bench\r\nx-request-id: req_1\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
CHUNK = (
    b'data: {"id":"chatcmpl-00000000000000000001","object":"chat.completion.chunk",'
    b'"created":1767225600,"model":"%b","system_fingerprint":"fp_bench",%%b}\n\n'
) % f"{WORKLOADS['S2'].model}-up".encode()
CONTENT = b'"choices":[{"index":0,"delta":{"content":"~%07d %b"},"logprobs":null,"finish_reason":null}]'
FINISH = b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]'
USAGE = (
    b'"choices":[],"usage":{"prompt_tokens":31,"completion_tokens":9,"total_tokens":40}'
)
ANSWER = (
    b'{"id":"chatcmpl-00000000000000000001","object":"chat.completion","created":1767225600,'
    b'"model":"bench-up","choices":[{"index":0,"message":{"role":"assistant","content":"%b"},'
    b'"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":31,'
    b'"completion_tokens":27,"total_tokens":58}}'
) % (b"Seven short words are in this sentence. " * 3)
UNARY = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nserver: bench\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
)


UNARY_BODY = WORKLOADS["U"].body("bench", asks_usage=False)


class CountingLoop(uvloop.Loop):
    """The gateway's own loop, which counts what is put on it."""

    def __init__(self) -> None:
        super().__init__()
        self.wakes = 0  # callbacks scheduled: a task's step, a future's callback
        self.timers = 0

    def call_soon(self, *args: Any, **kwargs: Any) -> asyncio.Handle:  # type: ignore[override]
        """Counts, then schedules."""
        self.wakes += 1
        return super().call_soon(*args, **kwargs)

    def call_later(self, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:  # type: ignore[override]
        """Counts, then schedules. uvloop's `call_at` comes through here too."""
        self.timers += 1
        return super().call_later(*args, **kwargs)


def event(number: int) -> bytes:
    """A content event of 280 bytes or so, as one HTTP chunk."""
    return chunk(CHUNK % (CONTENT % (number, b"x" * 24)))


def chunk(data: bytes) -> bytes:
    """HTTP's framing."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass
class Stream:
    """One open stream, seen from both ends."""

    caller: socket.socket
    provider: socket.socket
    sent: int = 0
    received: bytes = field(default=b"", repr=False)

    def relay(self, events: int) -> None:
        """Send so many events, each one only when the last has come out."""
        for _ in range(events):
            self.provider.sendall(event(self.sent))
            self.until(b"~%07d " % self.sent)
            self.sent += 1

    def finish(self) -> bytes:
        """End the stream well; what the caller saw since its last content event."""
        end = chunk(CHUNK % FINISH) + chunk(CHUNK % USAGE)
        self.provider.sendall(end + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        return self.until(b"\r\n0\r\n\r\n")

    def until(self, mark: bytes) -> bytes:
        """Read until the caller has seen `mark`; all that came since the last one."""
        while mark not in self.received:
            data = self.caller.recv(65536)
            if not data:
                raise ConnectionError(f"the gateway hung up: {self.received[-500:]!r}")
            self.received += data
        seen, self.received = self.received, b""
        return seen

    def close(self) -> None:
        """Leave both ends."""
        self.caller.close()
        self.provider.close()


class Bench:
    """The running gateway and the two ends of it."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._free: list[socket.socket] = []  # provider's connections without a stream
        self.loop = CountingLoop()
        self.gateway: Gateway | None = None
        self.flush: Callable[[], None] | None = None  # of the log

    def call(self, function: Callable[[], T]) -> T:
        """Run a function on the gateway's thread, between two of its callbacks."""

        async def soon() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(soon(), self.loop).result(LIMIT_S)

    def settle(self, *, forget: bool = False) -> None:
        """Have everything written that waits.

        With `forget` until it is in the database, and what is remembered of a bounded number of requests and
        decisions, for the admin port's page and for the ledger's rows, is forgotten.
        """
        assert self.gateway is not None and self.flush is not None, "it is running"
        parts, flush = self.gateway.parts, self.flush

        def write() -> None:
            books.write_all(parts)
            flush()

        self.call(write)
        if not forget:
            return
        ledger, give_up = parts.ledger, time.monotonic() + LIMIT_S
        while ledger and (ledger.depth or ledger._writing):
            if time.monotonic() > give_up:
                raise TimeoutError(f"the ledger keeps {ledger.depth} records waiting")
            time.sleep(0.02)
        if ledger:
            ledger._rows = type(ledger._rows)()
        self.call(parts.metrics.tally.recent.clear)

    def open(self, caller: socket.socket | None = None) -> Stream:
        """One more stream, its first event relayed; on a kept connection where one is given."""
        load = WORKLOADS["S2"]
        body = load.body(load.model, asks_usage=False)
        stream = self._asked(caller or self.dial(), body)
        stream.provider.sendall(HEAD)
        stream.relay(1)
        return stream

    def unary(self, caller: socket.socket, body: bytes = UNARY_BODY) -> None:
        """One unary request on a kept connection, answered."""
        exchange = self._asked(caller, body)
        exchange.provider.sendall(UNARY)
        exchange.until(b'"lowrouter"')
        self._free.append(exchange.provider)

    def dial(self) -> socket.socket:
        """A caller's connection."""
        caller = socket.create_connection(("127.0.0.1", self._port()), timeout=LIMIT_S)
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return caller

    def _port(self) -> int:
        assert self.gateway is not None, "it is running"
        return self.gateway.listen.port

    def _asked(self, caller: socket.socket, body: bytes) -> Stream:
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer "
            f"{CALLER_KEY}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        caller.sendall(head.encode() + b"\r\n\r\n" + body)
        return Stream(caller, self._answering())

    def ended(self, stream: Stream) -> socket.socket:
        """Finish a stream; the gateway keeps both connections. Gives the caller's one."""
        stream.finish()
        self._free.append(stream.provider)
        return stream.caller

    def close(self) -> None:
        """Leave the provider's side."""
        for kept in self._free:
            kept.close()

    def _answering(self) -> socket.socket:
        """The provider's connection on which the request arrives, read to its end."""
        provider = self._free.pop() if self._free else self._accept()
        seen = bytearray()
        while b"\r\n\r\n" not in seen:
            data = provider.recv(65536)
            if not data:  # an idle connection that the gateway gave up
                provider.close()
                return self._answering()
            seen += data
        head, _, body = seen.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        left = length - len(body)
        while left:
            left -= len(provider.recv(min(left, 1 << 20)))
        return provider

    def _accept(self) -> socket.socket:
        provider, _ = self._listener.accept()
        provider.settimeout(LIMIT_S)
        provider.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return provider


@contextlib.contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """A gateway with all its duties in a thread of this process, ended with the block."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        listener.settimeout(LIMIT_S)
        made = Bench(listener)
        upstream = f"http://127.0.0.1:{listener.getsockname()[1]}"
        file = folder / "lowproxy.toml"
        file.write_text(lowproxy_config(Place(0, 0, folder, upstream)))
        secrets = {"LOWROUTER_API_KEY": CALLER_KEY, "BENCH_UPSTREAM_KEY": UPSTREAM_KEY}
        secrets["STATE_DIRECTORY"] = str(folder)
        with (folder / "access.log").open("w") as log:
            made.flush = set_up("json", log, batched=True)
            with _unhurried(), _gateway(made, *open_config(file, secrets)):
                yield made
                made.close()


@contextlib.contextmanager
def _unhurried() -> Iterator[None]:
    """What is written by a timer would be counted now here, now there: only `settle` writes."""
    before = books.DELAY_S, Lines.FLUSH_S
    books.DELAY_S = Lines.FLUSH_S = NEVER_S
    try:
        yield
    finally:
        books.DELAY_S, Lines.FLUSH_S = before


@contextlib.contextmanager
def _gateway(made: Bench, config: Any, catalogue: Any) -> Iterator[None]:
    ready, stop = threading.Event(), asyncio.Event()
    failed: list[BaseException] = []

    async def live() -> None:
        async with running(config, catalogue) as gateway:
            made.gateway = gateway
            ready.set()
            await stop.wait()

    def thread() -> None:
        try:
            made.loop.run_until_complete(live())
        except BaseException as exc:  # noqa: BLE001 - told to the thread that waits
            failed.append(exc)
        finally:
            ready.set()
            made.loop.close()

    one = threading.Thread(target=thread, name="gateway")
    one.start()
    ready.wait(LIMIT_S)
    if failed:
        raise failed[0]
    try:
        yield
    finally:
        made.loop.call_soon_threadsafe(stop.set)
        one.join(LIMIT_S)
