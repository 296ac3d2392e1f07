"""A lean HTTP/1.1 client: it shares the machine with what it measures, so it must cost little itself."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import msgspec

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STATUS = slice(9, 12)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with its body."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body's value.

        Raises:
            RuntimeError: the request was refused.
        """
        if self.status >= 400:  # noqa: PLR2004 - HTTP
            raise RuntimeError(f"{self.status}: {self.body[:500].decode(errors='replace')}")
        return msgspec.json.decode(self.body)


class Connection(asyncio.Protocol):
    """A kept-alive connection with one request at a time; it reads answers that have a Content-Length."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Reply] | None = None
        self._received = b""

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """A connection to a port of this machine.

        Raises:
            OSError: nobody listens there.
        """
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    async def call(self, method: str, path: str, body: Any = None, headers: str = "") -> Reply:
        """Send a request and wait for its answer; `headers` are whole lines, each with its line end."""
        if self._transport is None:
            raise ConnectionError("the connection is closed")
        data = b"" if body is None else msgspec.json.encode(body)
        typed = "content-type: application/json\r\n" if data else ""
        head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n{typed}content-length: {len(data)}\r\n{headers}\r\n"
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(head.encode() + data)
        return await self._answer

    def close(self) -> None:
        """Disconnect."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """A piece of an answer."""
        self._received += data
        end = self._received.find(_END)
        if end < 0 or self._answer is None:
            return
        length = _LENGTH.search(self._received, 0, end)
        begin = end + len(_END)
        whole = begin + (int(length[1]) if length else 0)
        if len(self._received) < whole:
            return
        reply = Reply(int(self._received[_STATUS]), self._received[begin:whole])
        self._received = self._received[whole:]
        answer, self._answer = self._answer, None
        answer.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        """The server went away."""
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("the server closed the connection"))


@asynccontextmanager
async def connections(port: int, count: int) -> AsyncIterator[list[Connection]]:
    """That many connections, closed afterwards."""
    opened = await asyncio.gather(*(Connection.open(port) for _ in range(count)))
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()
