"""A real Chromium, driven over its DevTools protocol: no driver program, no download."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from tests.callers import LIMIT_S

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PROGRAM = next((path for name in NAMES if (path := shutil.which(name))), None)
START_S = 30.0  # a cold start on a busy machine


class Tab:
    """One page; all that it asked for and complained about is kept."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._loaded = asyncio.Event()
        self.asked: list[str] = []  # URLs
        self.complaints: list[str] = []

    async def call(self, method: str, **params: Any) -> Any:
        """One command and its result."""
        self._number += 1
        number = self._number
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(LIMIT_S):
            return await answer

    async def listen(self) -> None:
        """Sorts what comes, until the browser ends."""
        async for message in self._socket:
            said = json.loads(message.data)
            params = said.get("params", {})
            if "id" in said:
                waiting = self._waiting.pop(said["id"], None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(said.get("result", said))
            elif said["method"] == "Page.loadEventFired":
                self._loaded.set()
            elif said["method"] == "Network.requestWillBeSent":
                self.asked.append(params["request"]["url"])
            elif said["method"] in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(json.dumps(params))
            elif said["method"] == "Runtime.consoleAPICalled":
                self.complaints.append(json.dumps(params["args"]))

    async def open(self, url: str) -> None:
        """Goes there, and sees to it that what is wrong is noticed."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        self._loaded.clear()
        await self.call("Page.navigate", url=url)
        async with asyncio.timeout(LIMIT_S):
            await self._loaded.wait()

    async def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        told = await self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def until(self, expression: str) -> None:
        """Returns once an expression is true in the page: asked at each of its frames."""
        await self.ask(
            "new Promise(done => { const look = () => "
            f"({expression}) ? done(true) : setTimeout(look, 20); look(); }})"
        )

    async def press(self, key: str) -> None:
        """A key, down and up."""
        codes = {"Tab": 9, "Enter": 13, " ": 32}
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=codes[key],
                **(text if kind == "keyDown" else {}),
            )

    async def look(self, width: int = 1280, height: int = 900, **features: str) -> None:
        """The window's size, and what the reader prefers: `prefers_color_scheme="dark"`."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        wishes = [
            {"name": n.replace("_", "-"), "value": v} for n, v in features.items()
        ]
        await self.call("Emulation.setEmulatedMedia", features=wishes)


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Tab]:
    """A browser with an empty profile and one tab, gone afterwards."""
    assert PROGRAM is not None, "asked for before"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            "about:blank",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(START_S):
                base = await _address(process)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"{base}/json/list") as told:
                    pages = await told.json(content_type=None)
                url = next(p for p in pages if p["type"] == "page")[
                    "webSocketDebuggerUrl"
                ]
                async with session.ws_connect(url, max_msg_size=0) as socket:
                    tab = Tab(socket)
                    listening = asyncio.create_task(tab.listen(), name="chromium")
                    try:
                        yield tab
                    finally:
                        listening.cancel()
                        await asyncio.gather(listening, return_exceptions=True)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its helpers hold the pipe
            await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None, "it is a pipe"
    async for line in process.stderr:
        if found := re.search(rb"ws://([\d.:]+)/", line):
            return f"http://{found[1].decode()}"
    raise AssertionError("the browser did not start")
