"""A proxy between a process and a server that makes the way slow, or lets nothing through, there or back."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

CHUNK = 1 << 16


class Proxy:
    """Listens on a port of this machine and hands everything on.

    Args:
        target: the unix socket, or the host and port, of the server.
        seed: makes the delays repeatable.

    Attributes:
        port: where it listens.
        delay: the longest delay in seconds of what comes back; each piece gets a random one up to that.
        there: cleared while nothing is let through to the server.
        back: cleared while nothing is let through to the process. What was held is handed on afterwards, late.
    """

    def __init__(self, target: Path | tuple[str, int], seed: int = 1) -> None:
        self.port = 0
        self.delay = 0.0
        self.there, self.back = asyncio.Event(), asyncio.Event()
        self._target = target
        self._random = random.Random(seed)  # noqa: S311 - delays of a test
        self._pipes: set[asyncio.Task[None]] = set()
        self.mend()

    def cut(self) -> None:
        """Let nothing through, in either direction; connections stay, and new ones are taken."""
        self.there.clear()
        self.back.clear()

    def mend(self) -> None:
        """Let everything through again."""
        self.there.set()
        self.back.set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Proxy"]:
        """Hand on until the block ends."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for pipe in self._pipes:
                pipe.cancel()
            await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(self._target, Path):
                to_reader, to_writer = await asyncio.open_unix_connection(str(self._target))
            else:
                to_reader, to_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        # The answers take the time: each statement is slowed once.
        self._pipe(reader, to_writer, self.there, lambda: 0.0)
        self._pipe(to_reader, writer, self.back, lambda: self._random.random() * self.delay)

    def _pipe(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passing: asyncio.Event,
        delay: Callable[[], float],
    ) -> None:
        pipe = asyncio.create_task(self._hand_on(reader, writer, passing, delay))
        self._pipes.add(pipe)
        pipe.add_done_callback(self._pipes.discard)

    async def _hand_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passing: asyncio.Event,
        delay: Callable[[], float],
    ) -> None:
        try:
            with suppress(OSError, RuntimeError):  # of uvloop: writing to a transport that its peer has closed
                while data := await reader.read(CHUNK):
                    if seconds := delay():
                        await asyncio.sleep(seconds)
                    await passing.wait()
                    writer.write(data)
                    await writer.drain()
        finally:
            writer.close()
