"""A lean HTTP/1.1 client: it shares the machine with what it measures, so it must cost little itself."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, cast

import msgspec

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)", re.IGNORECASE)
_STATUS = slice(9, 12)
_OK = b" 2"
"""How the status of an answer begins that is no refusal; a storm checks no more than that."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status, its head as it came, and its body."""

    status: int
    head: bytes
    body: bytes

    @property
    def retry_after(self) -> float | None:
        """Seconds after which a busy server wants to be asked again; None unless it answered 503."""
        after = _RETRY_AFTER.search(self.head) if self.status == 503 else None  # noqa: PLR2004 - HTTP
        return float(after[1]) if after else None

    def json(self) -> Any:
        """The body's value.

        Raises:
            RuntimeError: the request was refused.
        """
        if self.status >= 400:  # noqa: PLR2004 - HTTP
            raise RuntimeError(f"{self.status}: {self.body[:500].decode(errors='replace')}")
        return msgspec.json.decode(self.body)


def request(method: str, path: str, body: Any = None, headers: str = "") -> bytes:
    """The bytes of a request; `headers` are whole lines, each with its line end."""
    data = b"" if body is None else msgspec.json.encode(body)
    typed = f"content-type: application/json\r\ncontent-length: {len(data)}\r\n" if data else ""
    if not data and method != "GET":
        typed = "content-length: 0\r\n"
    return f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n{typed}{headers}\r\n".encode() + data


class Connection(asyncio.Protocol):
    """A kept-alive connection with one request at a time; it reads answers that have a Content-Length."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._answered: Callable[[bytes, int], None] | None = None
        self._failed: Callable[[Exception], None] | None = None

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
        return await self.send(request(method, path, body, headers))

    async def send(self, raw: bytes) -> Reply:
        """Send the bytes of a request and wait for its answer.

        Raises:
            ConnectionError: the server closed the connection.
        """
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def answered(data: bytes, begin: int) -> None:
            if not waiting.done():
                waiting.set_result(Reply(int(data[_STATUS]), data[:begin], data[begin:]))

        reply: Reply = await self._until(waiting, raw, answered)
        return reply

    async def storm(self, requests: Iterator[bytes], latencies: list[float]) -> None:
        """Send the requests one after the other, each as soon as the one before is answered.

        No task wakes up in between: that costs a third of what `send` does.

        Args:
            requests: may be shared by several connections, each takes the next one.
            latencies: where the seconds of each request are put.

        Raises:
            RuntimeError: a request was refused.
            ConnectionError: the server closed the connection.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        began = 0.0

        def answered(data: bytes, begin: int) -> None:
            nonlocal began
            latencies.append(perf_counter() - began)
            if not data.startswith(_OK, 8):
                done.set_exception(RuntimeError(f"{data[_STATUS].decode()}: {data[begin:][:500].decode()}"))
                return
            for raw in requests:
                began = perf_counter()
                self._write(raw)
                return
            done.set_result(None)

        for raw in requests:
            began = perf_counter()
            await self._until(done, raw, answered)
            return

    def close(self) -> None:
        """Disconnect."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """A piece of an answer."""
        if self._received:
            data = self._received + data
        end = data.find(_END)
        if end >= 0:
            length = _LENGTH.search(data, 0, end)
            begin = end + len(_END)
            if len(data) >= begin + (int(length[1]) if length else 0):
                self._received = b""
                if self._answered is not None:
                    self._answered(data, begin)
                return
        self._received = data

    def connection_lost(self, error: Exception | None) -> None:
        """The server went away."""
        self._transport = None
        if self._failed is not None:
            self._failed(error or ConnectionError("the server closed the connection"))

    async def _until(self, done: "asyncio.Future[Any]", raw: bytes, answered: Callable[[bytes, int], None]) -> Any:
        """Send a request; what its answer calls, or the end of the connection, makes `done`."""
        self._answered, self._failed = answered, done.set_exception
        try:
            self._write(raw)
            return await done
        finally:
            self._answered = self._failed = None

    def _write(self, raw: bytes) -> None:
        if self._transport is None:
            raise ConnectionError("the connection is closed")
        self._transport.write(raw)


async def storm(opened: Iterable[Connection], requests: Iterable[bytes]) -> list[float]:
    """Send the requests over all connections, each one request at a time; the seconds of each."""
    waiting = iter(requests)
    latencies: list[float] = []
    async with asyncio.TaskGroup() as group:
        for connection in opened:
            group.create_task(connection.storm(waiting, latencies))
    return latencies


@asynccontextmanager
async def connections(port: int, count: int) -> AsyncIterator[list[Connection]]:
    """That many connections, closed afterwards."""
    opened = await asyncio.gather(*(Connection.open(port) for _ in range(count)))
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()
