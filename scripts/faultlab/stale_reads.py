"""Readers who ask one process of a shop for carts that are written to by way of another, and note how old they are."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter

import aiohttp

from scripts.faultlab.probes import Probes
from tests.e2e.shopper import Shopper, shopper

PAUSE_SECONDS = 0.25
"""Between two reads of a cart."""


@dataclass(frozen=True, slots=True)
class Read:
    """A cart that was shown: when it was asked for (`perf_counter`), and in which version it came."""

    cart: str
    began: float
    version: int


@dataclass(frozen=True, slots=True)
class Old:
    """A cart that was shown without a write that a client had been told of: for how long, and when it was asked for."""

    seconds: float
    began: float


@dataclass
class Reads:
    """What one process showed.

    Attributes:
        shown: with 200.
        refused: statuses of the other answers; 0 for a connection that broke.
    """

    client: Shopper
    shown: list[Read] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)

    async def read_on(self, cart: str) -> None:
        """Ask for a cart again and again."""
        while True:
            began, status = perf_counter(), 0
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                answer = await self.client.call("GET", f"/carts/{cart}")
                status = answer.status
                if status == 200:  # noqa: PLR2004 - HTTP
                    self.shown.append(Read(cart, began, answer.json["version"]))
            if status != 200:  # noqa: PLR2004 - HTTP
                self.refused[status] += 1
            await asyncio.sleep(PAUSE_SECONDS)

    def old(self, probes: Probes) -> list[Old]:
        """The reads that lacked a write of which its writer had been told before the read was sent."""
        ends: dict[str, list[float]] = {}
        for write in probes.writes:
            ends.setdefault(write.cart, []).append(write.began + write.seconds)
        found = []
        for read in self.shown:
            done = ends.get(read.cart, [])
            # Each write is one version, so that the version of the first is that of the last less those between.
            missing = read.version - (probes.memory.carts[read.cart] - len(done))
            if missing < len(done) and (since := read.began - done[max(missing, 0)]) > 0:
                found.append(Old(since, read.began))
        return found


@asynccontextmanager
async def reading(url: str, carts: set[str]) -> AsyncIterator[Reads]:
    """Readers of these carts, one each, at the process of that address, until the block ends.

    Raises:
        Exception: a reader ended by an error, e.g. an answer that is none of a cart.
    """
    async with shopper(url) as client:
        reads = Reads(client)
        readers = [asyncio.create_task(reads.read_on(cart)) for cart in carts]
        try:
            yield reads
        finally:
            for reader in readers:
                reader.cancel()
            ended = await asyncio.gather(*readers, return_exceptions=True)
    for error in ended:
        if not isinstance(error, asyncio.CancelledError):
            raise error
