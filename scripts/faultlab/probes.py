"""Carts, spread over the partitions, that are written to without end: each write is one version, and none overtakes."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import aiohttp

from tests.e2e.shopper import BUYER, Shopper
from tests.faults.buyers import Memory
from ultramarket.runtime.partitioning import partition_of

COUNT = 48
PAUSE_SECONDS = 0.25
"""Between two writes to a cart."""
AGAIN_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Write:
    """A write that was done.

    Attributes:
        began, seconds: when its first request was sent (`perf_counter`), and how long until one was answered with 200.
        refused: what the requests before were answered: a status, or 0 for a connection that broke.
    """

    cart: str
    began: float
    seconds: float
    refused: tuple[int, ...]


@dataclass
class Probes:
    """Writers, one a cart, that go on until the block ends: `async with probing(client, memory) as probes`.

    Attributes:
        writes: all that were done, in the order of their ends.
        memory: where what they were answered, and what was odd, is kept.
    """

    client: Shopper
    memory: Memory
    writes: list[Write] = field(default_factory=list)
    carts: list[str] = field(default_factory=list)

    def of(self, partitions: set[tuple[str, int]]) -> set[str]:
        """The carts in these partitions, each `(kind, no)`."""
        return {cart for cart in self.carts if ("cart", partition_of("cart", cart)) in partitions}

    def longest(self, carts: set[str], since: float) -> list[float]:
        """The longest write to each of these carts, in seconds, of those that began after `since` (`perf_counter`)."""
        slowest: dict[str, float] = {}
        for write in self.writes:
            if write.cart in carts and write.began >= since:
                slowest[write.cart] = max(slowest.get(write.cart, 0.0), write.seconds)
        return list(slowest.values())

    def in_flight(self, at: float) -> float:
        """The seconds that the slowest write took that was in flight then (`perf_counter`); 0.0 where none was."""
        return max(
            (write.seconds for write in self.writes if write.began < at < write.began + write.seconds), default=0
        )

    def refused(self, since: float) -> Counter[int]:
        """How requests were answered that were not done, of the writes that ended after `since`."""
        return Counter(
            status for write in self.writes if write.began + write.seconds >= since for status in write.refused
        )

    async def all_written(self, carts: set[str]) -> float:
        """Wait until a write to each of these carts that begins from now on is done; the seconds it took."""
        began = perf_counter()
        while carts - {write.cart for write in self.writes if write.began >= began}:  # noqa: ASYNC110 - servers do it
            await asyncio.sleep(AGAIN_SECONDS)
        return perf_counter() - began

    async def write_on(self, cart: str, version: int) -> None:
        """Write to a cart again and again; each answer has to show this write, one version after the one before."""
        number = 0
        while True:
            number += 1
            mail = f"probe-{number}@example.com"
            shown = await self._written(cart, {**BUYER, "email": mail}, f"probe-{cart}-{number}")
            if (shown["version"], shown["email"]) != (version + 1, mail):
                self.memory.odd.append(f"write {number} to cart {cart} at version {version} was answered {shown}")
            version = shown["version"]
            self.memory.cart(shown)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _written(self, cart: str, body: object, key: str) -> Any:
        """Send a write under one key until it is done; gives the cart."""
        began = perf_counter()
        refused: list[int] = []
        while True:
            status = 0
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                answer = await self.client.call("PATCH", f"/carts/{cart}", body, key=key)
                status = answer.status
                if status == 200:  # noqa: PLR2004 - HTTP
                    self.writes.append(Write(cart, began, perf_counter() - began, tuple(refused)))
                    return answer.json
            refused.append(status)
            await asyncio.sleep(AGAIN_SECONDS)


@asynccontextmanager
async def probing(client: Shopper, memory: Memory) -> AsyncIterator[Probes]:
    """Probes that write until the block ends.

    Raises:
        Exception: a writer ended by an error, e.g. an answer that is none of a cart.
    """
    probes = Probes(client, memory)
    carts = [await client.ok("POST", "/carts", {}) for _ in range(COUNT)]
    probes.carts += [cart["id"] for cart in carts]
    writers = [asyncio.create_task(probes.write_on(cart["id"], cart["version"])) for cart in carts]
    try:
        yield probes
    finally:
        for writer in writers:
            writer.cancel()
        ended = await asyncio.gather(*writers, return_exceptions=True)
    for error in ended:
        if not isinstance(error, asyncio.CancelledError):
            raise error
