"""A client's end of a live connection."""

import asyncio
from typing import Any

import msgspec
from aiohttp import ClientWebSocketResponse, WSMsgType

from tests.web.world import Client, World
from ultramarket.messages.cart import SetLine
from web.routes import LIVE

SOON = 5.0
"""Seconds until a test gives up on what should happen at once."""
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
"""The headers of an upgrade."""


class Live:
    """A client's end of a live connection."""

    def __init__(self, ws: ClientWebSocketResponse) -> None:
        self.ws = ws

    async def send(self, **frame: Any) -> None:
        await self.ws.send_json(frame)

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(SOON):
            message = await self.ws.receive()
        assert message.type is WSMsgType.TEXT, message
        found: dict[str, Any] = msgspec.json.decode(message.data)
        return found

    async def ask(self, **frame: Any) -> dict[str, Any]:
        await self.send(**frame)
        return await self.next()

    async def closed(self) -> int | None:
        """The code that the connection ended with."""
        async with asyncio.timeout(SOON):
            while (await self.ws.receive()).type is WSMsgType.TEXT:
                pass
        return self.ws.close_code

    async def versions(self, count: int) -> list[tuple[int, str]]:
        frames = [await self.next() for _ in range(count)]
        assert {frame["type"] for frame in frames} <= {"event"}, frames
        return [(frame["version"], frame["event"]) for frame in frames]


class Lives:
    """Opens live connections."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.opened: list[ClientWebSocketResponse] = []

    async def __call__(self, **headers: str) -> Live:
        ws = await self.client.ws_connect(LIVE, headers=headers)
        self.opened.append(ws)
        return Live(ws)


async def change(world: World, cart: dict[str, Any], quantity: int) -> None:
    """One more version of a cart that has a line."""
    line = cart["lines"][0]["id"]
    answer = await world.actors.ask("cart", cart["id"], SetLine(line=line, quantity=quantity))
    assert answer.rejection is None
