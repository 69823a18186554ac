"""A headless Chromium, driven over its debugging protocol: what pages look like to those who read them."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 60.0
"""Seconds for whatever is awaited, on a busy machine."""
ALL_TEXT = """(() => {
  const parts = [];
  const walk = (node) => {
    if (node.nodeType === Node.TEXT_NODE) { parts.push(node.textContent); return; }
    if (node.tagName === 'STYLE' || node.tagName === 'SCRIPT') return;
    if (node.shadowRoot) node.shadowRoot.childNodes.forEach(walk);
    if (node.tagName === 'IFRAME' && node.contentDocument) walk(node.contentDocument.documentElement);
    if (node.tagName === 'INPUT') parts.push(node.value);
    node.childNodes.forEach(walk);
  };
  walk(document.documentElement);
  return parts.join(' ').replace(/\\s+/g, ' ');
})()"""


class Browser:
    """One page."""

    def __init__(self, socket: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._socket, self._loop = socket, loop
        self._numbers = itertools.count(1)
        self.exceptions: list[str] = []
        """What scripts of the page threw."""

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        """One command of the protocol."""
        return self._loop.run_until_complete(asyncio.wait_for(self._call(method, given), PATIENCE))

    async def _call(self, method: str, given: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": given})
        while True:
            message = await self._socket.receive_json()
            if message.get("method") == "Runtime.exceptionThrown":
                self.exceptions.append(str(message["params"]["exceptionDetails"]))
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    def open(self, url: str, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Show a page in a window of that size, a phone's where it is narrow."""
        self.call("Runtime.enable")
        self.call("Page.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, script: str) -> Any:
        """Wait until an expression is true; its value."""
        until = time.monotonic() + PATIENCE
        while not (value := self.run(script)):
            assert time.monotonic() < until, f"waited {PATIENCE:.0f} s for {script}"
            time.sleep(0.2)
        return value

    def wait_for(self, words: str) -> None:
        """Wait until the page says so."""
        until = time.monotonic() + PATIENCE
        while words not in (text := self.text()):
            assert time.monotonic() < until, f"waited {PATIENCE:.0f} s for {words!r}; the page says: {text[-2000:]}"
            time.sleep(0.5)

    def text(self) -> str:
        """All text of the page, that of components and inputs too."""
        return str(self.run(ALL_TEXT))

    def picture(self, path: Path, *, whole: bool = True) -> bytes:
        """Save a screenshot."""
        found = self.call(
            "Page.captureScreenshot", captureBeyondViewport=whole, **({"clip": self._all()} if whole else {})
        )
        content = base64.b64decode(found["data"])
        path.write_bytes(content)
        return content

    def _all(self) -> dict[str, float]:
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}


@contextmanager
def browser() -> Iterator[Browser]:
    """Start Chromium; the test fails where there is none."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.fail(f"no Chromium found ({', '.join(NAMES)}); install one, as with: apt-get install chromium")
    home = Path(tempfile.mkdtemp(prefix="pmd-browser-"))
    flags = ["--headless=new", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0"]
    flags += ["--no-first-run", "--disable-background-networking", f"--user-data-dir={home}"]
    flags += ["--no-sandbox"] if os.geteuid() == 0 else []
    process = subprocess.Popen([program, *flags, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    loop = asyncio.new_event_loop()
    try:
        yield from _connected(home, process, loop)
    finally:
        process.terminate()
        process.wait(PATIENCE)
        loop.close()
        shutil.rmtree(home, ignore_errors=True)


def _connected(home: Path, process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop) -> Iterator[Browser]:
    import aiohttp  # comes with Ray's dashboard

    told = home / "DevToolsActivePort"
    until = time.monotonic() + PATIENCE
    while not told.is_file() or "\n" not in told.read_text():
        assert process.poll() is None and time.monotonic() < until, "Chromium did not start"
        time.sleep(0.1)
    port = int(told.read_text().splitlines()[0])

    async def connect() -> tuple[Any, Any]:
        session = aiohttp.ClientSession()
        async with session.get(f"http://127.0.0.1:{port}/json") as answer:
            pages = [page for page in await answer.json() if page["type"] == "page"]
        return session, await session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0)

    session, socket = loop.run_until_complete(connect())
    try:
        yield Browser(socket, loop)
    finally:
        loop.run_until_complete(socket.close())
        loop.run_until_complete(session.close())
