"""The socket of a connection to RabbitMQ, between aio-pika and the network."""

import asyncio
from collections.abc import Iterable
from typing import Any, SupportsIndex

from aiormq.connection import SSLContextProvider, TransportFactory
from yarl import URL

SILENCE_SECONDS = 10.0
"""Two heartbeats: a broker that said nothing for so long is gone. aio-pika itself would wait for four."""
_LOOK_SECONDS = 1.0


class Reader(asyncio.StreamReader):
    """Reads, and knows when something came last.

    Attributes:
        heard: the loop's time.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(loop=loop)
        self._clock = loop.time
        self.heard = loop.time()

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        """Something came."""
        self.heard = self._clock()
        super().feed_data(data)


class Stream(TransportFactory):
    """Makes the socket of one connection, writes to it past aio-pika, and breaks it when the broker is silent."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader: Reader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._gathered: list[bytes] = []
        self._watch: asyncio.TimerHandle | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect the socket, as aiormq asks for it."""
        provider: SSLContextProvider = kwargs["ssl_context_provider"]
        context = await provider.get_context() if url.scheme == "amqps" else None
        self._reader = reader = Reader()
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        transport, _ = await self._loop.create_connection(lambda: protocol, url.host or "", url.port or 0, ssl=context)
        self._writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
        self._watch = self._loop.call_later(_LOOK_SECONDS, self._look)
        return reader, self._writer

    def write(self, frames: bytes) -> None:
        """Write whole frames with what else is written in this turn of the loop."""
        if not self._gathered:
            self._loop.call_soon(self.flush)
        self._gathered.append(frames)

    def flush(self) -> None:
        """Write what was gathered."""
        gathered, self._gathered = self._gathered, []
        if gathered and self._writer is not None and not self._writer.is_closing():
            self._writer.write(b"".join(gathered))

    def abort(self) -> None:
        """Break it off."""
        if self._watch is not None:
            self._watch.cancel()
        if self._writer is not None:
            self._writer.transport.abort()

    def _look(self) -> None:
        if self._writer is None or self._reader is None or self._writer.is_closing():
            return
        if self._loop.time() - self._reader.heard > SILENCE_SECONDS:
            self.abort()
        else:
            self._watch = self._loop.call_later(_LOOK_SECONDS, self._look)
