"""A lean WebSocket client: it notes when which version arrived, and shares the machine with what it measures."""

import asyncio
from array import array
from time import perf_counter
from typing import Any, cast

import msgspec

from scripts.benchmarks.shop import API

_HANDSHAKE = (
    f"GET {API}/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()
_SWITCHED = b"HTTP/1.1 101 "
_END = b"\r\n\r\n"
_NO_MASK = bytes(4)
"""A client has to mask what it sends (RFC 6455, 5.3); a mask of zeros changes nothing."""
_PONG = b"\x8a\x80" + _NO_MASK
_PING, _CLOSE = 0x89, 0x88
_EVENT = b'{"type":"event"'


class Follower(asyncio.Protocol):
    """A live connection that follows one topic.

    Attributes:
        versions: of the events that came, in order.
        quantities: of the line that each of them told of.
        times: when each of them came.
        ready: done when the topic is followed.
    """

    def __init__(self) -> None:
        self.versions: array[int] = array("q")
        self.quantities: array[int] = array("q")
        self.times: array[float] = array("d")
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport
        self._received = b""
        self._switched = False

    @classmethod
    async def open(cls, port: int, topic: str) -> "Follower":
        """Connect and follow the topic from now on.

        Raises:
            ConnectionError: the server refused.
        """
        loop = asyncio.get_running_loop()
        _, follower = await loop.create_connection(cls, "127.0.0.1", port)
        follower.send({"type": "subscribe", "topic": topic})
        await follower.ready
        return follower

    def send(self, frame: Any) -> None:
        """Send a frame."""
        text = msgspec.json.encode(frame)
        self._transport.write(bytes((0x81, 0x80 | len(text))) + _NO_MASK + text)

    def close(self) -> None:
        """Disconnect."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(_HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        """Some frames, the last one perhaps in part."""
        now = perf_counter()
        data = self._received + data
        begin = 0
        if not self._switched:
            end = data.find(_END)
            if end < 0:
                self._received = data
                return
            if not data.startswith(_SWITCHED):
                self._fail(data[:end].decode("latin-1"))
                return
            self._switched, begin = True, end + len(_END)
        while (place := _frame(data, begin)) is not None:
            start, end = place
            self._frame(data, begin, start, end, now)
            begin = end
        self._received = data[begin:]

    def connection_lost(self, exc: Exception | None) -> None:
        """Who waits is told."""
        self._fail(str(exc or "the server closed the connection"))

    def _frame(self, data: bytes, head: int, start: int, end: int, now: float) -> None:
        if data[head] == _PING:
            self._transport.write(_PONG)
        elif data[head] == _CLOSE:
            self._fail(f"closed with {int.from_bytes(data[start : start + 2])}")
        elif data.startswith(_EVENT, start):
            self.versions.append(_number(data, b'"version":', start))
            self.quantities.append(_number(data, b'"quantity":', start))
            self.times.append(now)
        elif b'"subscribed"' in data[start:end] and not self.ready.done():
            self.ready.set_result(None)
        else:
            self._fail(data[start:end].decode())

    def _fail(self, reason: str) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(reason))


def _number(data: bytes, name: bytes, start: int) -> int:
    """The number that follows this name; a pattern would take several times as long."""
    begin = data.index(name, start) + len(name)
    return int(data[begin : data.index(b",", begin)])


def _frame(data: bytes, begin: int) -> tuple[int, int] | None:
    """Begin and end of the payload of the frame that begins there; None where it is not whole."""
    if len(data) < begin + 4:
        return None
    size, start = data[begin + 1], begin + 2
    if size == 126:  # noqa: PLR2004 - RFC 6455, 5.2: two more bytes have the length
        size, start = int.from_bytes(data[start : start + 2]), start + 2
    return (start, start + size) if len(data) >= start + size else None
