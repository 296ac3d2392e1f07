"""A live connection: what is sent over it, how it is cut when its reader is too slow, and how it ends."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from aiohttp import WSCloseCode, WSMsgType, web

from web.ws.frames import Error, framed, write

RESTART = WSCloseCode.SERVICE_RESTART
"""Close code 1012: the process stops; another one, or the next, goes on from where the client was."""
TOO_SLOW = 4008
"""Close code for a reader that is too slow; it comes back and goes on from where it was."""
CLOSE_SECONDS = 5.0
"""How long the other side may take to answer a close frame."""
PAGE_SECONDS = 10.0
"""How long a reader may take to read a page of what it missed."""


class Subscription(Protocol):
    """What a connection is told of."""

    def leave(self) -> None:
        """Tell it no more."""
        ...


class Connection:
    """One client.

    Events go straight to the transport, as bytes that many connections share; what waits there unread is bounded.

    Args:
        ws: prepared, without compression: its frames are then the same for everybody.
        transport: of the connection.
        staff: whether the client showed the staff key.
        unread_bytes: what may wait for the reader.
        on_slow: told when it is cut.

    Attributes:
        subscriptions: by topic.
    """

    __slots__ = ("_on_slow", "_out", "_transport", "_unread_bytes", "_ws", "staff", "subscriptions")

    def __init__(
        self,
        ws: web.WebSocketResponse,
        transport: asyncio.WriteTransport,
        *,
        staff: bool,
        unread_bytes: int,
        on_slow: "Callable[[Connection], None]",
    ) -> None:
        self.staff = staff
        self.subscriptions: dict[str, Subscription] = {}
        self._ws = ws
        self._transport = transport
        self._unread_bytes = unread_bytes
        self._on_slow = on_slow
        self._out: list[bytes] = []

    def put(self, frame: bytes) -> None:
        """Send a frame with all others of this turn of the event loop."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(frame)

    async def say(self, frame: Any) -> None:
        """Send the client a frame of its own; waits while it does not read.

        Raises:
            ConnectionError: it has gone.
        """
        await self.send(write(frame))

    async def send(self, payload: bytes) -> None:
        """As `say`, for a text that is encoded already."""
        await self._ws.send_frame(payload, WSMsgType.TEXT)

    def drop(self, topic: str, error: Error) -> None:
        """End a subscription, and say why."""
        subscription = self.subscriptions.pop(topic, None)
        if subscription is not None:
            subscription.leave()
            self.put(framed(write(error)))

    def leave(self) -> None:
        """End all subscriptions."""
        subscriptions, self.subscriptions = self.subscriptions, {}
        for subscription in subscriptions.values():
            subscription.leave()

    def cut(self) -> None:
        """The reader is too slow."""
        self._on_slow(self)

    async def close(self, code: int, reason: str) -> None:
        """End the connection with a close frame; what a reader does not read for some seconds is thrown away."""
        self.leave()
        self._out.clear()
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._ws.close(code=code, message=reason.encode(), drain=False)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._ws.closed or self._transport.is_closing():
            return
        self._transport.write(b"".join(out))
        if self._transport.get_write_buffer_size() > self._unread_bytes:
            self.cut()
