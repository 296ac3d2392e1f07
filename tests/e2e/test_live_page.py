"""The example page in a real browser: a cart that changes is shown in two windows, through a restart of the shop."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from tests.e2e.server import Server, free_port
from tests.e2e.shopper import POLL_SECONDS, shopper

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SOON = 60.0
"""Seconds until a test gives up: a browser's start on a busy machine takes some."""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


class Window:
    """A page in the browser, over the DevTools protocol."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws
        self._calls = 0

    async def text(self) -> str:
        """What can be read on the page, white space made single."""
        self._calls += 1
        params = {"expression": "document.body?.innerText ?? ''", "returnByValue": True}
        await self._ws.send_json({"id": self._calls, "method": "Runtime.evaluate", "params": params})
        while (answer := await self._ws.receive_json()).get("id") != self._calls:
            pass
        return " ".join(answer["result"]["result"]["value"].split())

    async def shows(self, wanted: str) -> None:
        """Wait until this can be read."""
        text = ""
        try:
            async with asyncio.timeout(SOON):
                while wanted not in (text := await self.text()):  # noqa: ASYNC110 - a page has no event for it
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{wanted!r} is not in {text!r}") from None


class Browser:
    """A headless Chromium."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._address = address

    async def open(self, url: str) -> Window:
        """A new window with this page."""
        new = URL(f"{self._address}/json/new?{quote(url, safe='')}", encoded=True)
        async with self._session.put(new) as answer:
            made: dict[str, Any] = await answer.json()
        return Window(await self._session.ws_connect(made["webSocketDebuggerUrl"]))


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    assert CHROMIUM is not None
    profile = tmp_path / "browser"
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
    process = await asyncio.create_subprocess_exec(
        *(CHROMIUM, *flags, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    try:
        kept = profile / "DevToolsActivePort"
        async with asyncio.timeout(SOON):
            while not (kept.exists() and len(kept.read_text("utf-8").split()) == 2):  # noqa: ASYNC110 - a file
                await asyncio.sleep(POLL_SECONDS)
        port = kept.read_text("utf-8").split()[0]
        async with aiohttp.ClientSession() as session:
            yield Browser(session, f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def examples() -> AsyncIterator[str]:
    """The folder of the examples over HTTP; gives its origin."""
    app = web.Application()
    app.add_routes([web.static("/", EXAMPLES)])
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def test_a_cart_is_shown_live_in_two_windows_and_after_a_restart(browser: Browser, tmp_path: Path) -> None:
    async with examples() as origin:
        settings = {"ULTRAMARKET_ALLOWED_ORIGINS": f'["{origin}"]'}
        async with Server(tmp_path / "data", settings=settings) as server, shopper(server.url) as shop:
            await shop.stock("MUG", 100)
            cart = await shop.ok("POST", "/carts", {})
            page = f"{origin}/cart.html?shop={server.url}&cart={cart['id']}"
            windows = [await browser.open(page), await browser.open(page)]
            for window in windows:
                await window.shows("live · version 1 · open")
            filled = await shop.ok("POST", f"/carts/{cart['id']}/lines", {"sku": "MUG", "quantity": 2})
            line = filled["lines"][0]["id"]
            for window in windows:
                await window.shows("version 2 · open Product Pieces Price of one Goods MUG 2 12.90 USD")
            await server.stop()
            for window in windows:
                await window.shows("connecting again")
            await server.start()
            await shop.ok("PATCH", f"/carts/{cart['id']}/lines/{line}", {"quantity": 7})
            for window in windows:
                await window.shows("live · version 3 · open Product Pieces Price of one Goods MUG 7 12.90 USD")
            await shop.ok("DELETE", f"/carts/{cart['id']}/lines/{line}")
            for window in windows:
                await window.shows("version 4 · open")
                assert "MUG" not in await window.text()


async def test_a_page_of_an_origin_that_is_not_allowed_is_told_nothing(browser: Browser, tmp_path: Path) -> None:
    async with examples() as origin, Server(tmp_path / "data") as server, shopper(server.url) as shop:
        cart = await shop.ok("POST", "/carts", {})
        window = await browser.open(f"{origin}/cart.html?shop={server.url}&cart={cart['id']}")
        await window.shows("connecting again · version 0")
