"""A real browser for tests and for the pictures in the documentation: headless Chromium over its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.eventually import assert_eventually

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell")


def browser_path() -> str:
    """Where a browser is; empty for nowhere."""
    return next((found for name in NAMES if (found := shutil.which(name))), "")


class Browser:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def open(self, page: Path, width: int, height: int, *, dark: bool = False, scripts: bool = True) -> None:
        """Show a file at a size of the window, in light or dark."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        await self.call("Emulation.setDeviceMetricsOverride", **metrics)
        look = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[look])
        await self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        await self.call("Page.enable")
        address = page.absolute().as_uri()  # noqa: ASYNC240 -- asks nothing but the working folder
        await self.call("Page.navigate", url=address)
        await assert_eventually(lambda: self._shows(address), timeout=60)

    async def _shows(self, address: str) -> bool:
        return await self.value("document.readyState + location.href") == f"complete{address}"

    async def value(self, expression: str) -> Any:
        """What an expression gives in the page."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return found["result"].get("value")

    async def picture(self, *, whole: bool = False, form: str = "png") -> bytes:
        """What is seen in the window, or the whole page."""
        shot = await self.call("Page.captureScreenshot", format=form, captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One call of the DevTools protocol."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json(timeout=30)
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                return answer["result"]


@asynccontextmanager
async def browser() -> AsyncGenerator[Browser]:
    """A browser with an empty profile, ended at the end."""
    with tempfile.TemporaryDirectory(prefix="colony-browser-", ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            browser_path(),
            *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
            *("--disable-dev-shm-usage", "--disable-background-networking", "--remote-debugging-port=0"),
            f"--user-data-dir={folder}",
            "about:blank",
            env={**os.environ, "TMPDIR": folder},  # it leaves a folder of sockets there
            stderr=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            address = await _address(Path(folder) / "DevToolsActivePort")
            async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
                yield Browser(socket)
                with contextlib.suppress(TypeError, AssertionError):  # it closes without an answer
                    await Browser(socket).call("Browser.close")
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 15)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _address(file: Path) -> str:
    await assert_eventually(lambda: _written(file), timeout=60)
    port = file.read_text().split()[0]  # noqa: ASYNC240 -- one line
    async with aiohttp.ClientSession() as session:

        async def tabs() -> list[str]:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                return [tab["webSocketDebuggerUrl"] for tab in await answer.json() if tab["type"] == "page"]

        return (await assert_eventually(tabs, timeout=30))[0]  # it listens a moment before it has a tab


def _written(file: Path) -> bool:
    return file.exists() and len(file.read_text().split()) == 2
