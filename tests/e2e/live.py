"""A client of the live updates of a real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from tests.e2e.server import Server

SOON = 20.0
"""Seconds until a test gives up on what should happen at once."""


class Live:
    """A live connection that writes down the versions it is told of."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def subscribe(self, topic: str, after: Any = None) -> dict[str, Any]:
        await self.ws.send_json({"type": "subscribe", "topic": topic, "after": after})
        answer = await self.next()
        assert answer["type"] == "subscribed", answer
        return answer

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(SOON):
            message = await self.ws.receive()
        assert message.type is aiohttp.WSMsgType.TEXT, message
        found: dict[str, Any] = msgspec.json.decode(message.data)
        return found

    async def until(self, version: int) -> list[int]:
        """The versions that are told, up to this one."""
        versions = [(await self.next())["version"]]
        while versions[-1] < version:
            versions.append((await self.next())["version"])
        return versions

    async def closed(self) -> int | None:
        async with asyncio.timeout(SOON):
            while (await self.ws.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        return self.ws.close_code


@asynccontextmanager
async def live(server: Server, **headers: str) -> AsyncIterator[Live]:
    address = f"{server.url}/api/v1/ws"
    async with aiohttp.ClientSession() as session, session.ws_connect(address, headers=headers) as ws:
        yield Live(ws)
