"""A crowd of buyers at a real server with a PostgreSQL of our own, who remember all that they were told."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from urllib.parse import parse_qs, urlsplit

import asyncpg

from scripts.faultlab.findings import Finding
from tests.e2e.server import Server
from tests.e2e.shopper import Shopper, shopper
from tests.faults.buyers import Buyers
from tests.faults.checks import shop_faults
from tests.faults.invariants import at_rest

BUYERS = 12
PIECES = {"LAB-A": 60, "LAB-B": 400, "LAB-C": 1_000_000}
REST_SECONDS = 180.0
AGAIN_SECONDS = 60.0
IMPATIENT = {"ULTRAMARKET_ORDER__ACTION_SECONDS": "2", "ULTRAMARKET_ORDER__FREEZE_SECONDS": "1"}
"""Settings with which buyers who don't act, and carts that are not asked for, come to their end soon."""
EXTERNAL = "ULTRAMARKET_DATABASE_URL"


@dataclass
class Crowd:
    """Buyers, the server that they buy from, and the statuses that they were answered with."""

    server: Server
    client: Shopper
    buyers: Buyers
    pid: int
    tasks: list["asyncio.Task[None]"]

    @property
    def seen(self) -> Counter[int]:
        """How many answers there were of each status."""
        return Counter(self.client.seen)

    async def until_answered(self, count: int) -> float:
        """Wait until that many more requests succeeded; the seconds it took."""
        began = perf_counter()
        async with asyncio.timeout(AGAIN_SECONDS):
            await self.buyers.answers(count)
        return perf_counter() - began

    async def look(self, path: str) -> tuple[int, float]:
        """Ask for something; the status and the seconds that the answer took."""
        began = perf_counter()
        answer = await self.client.call("GET", path)
        return answer.status, perf_counter() - began


@asynccontextmanager
async def shopping(server: Server, seed: int) -> AsyncIterator[Crowd]:
    """A crowd at a server that serves."""
    async with shopper(server.url) as client:
        for sku, pieces in PIECES.items():
            await client.stock(sku, pieces)
        buyers = Buyers(client, list(PIECES), seed)
        buyers.memory.received.update(PIECES)
        tasks = [asyncio.create_task(buyers.shop()) for _ in range(BUYERS)]
        try:
            yield Crowd(server, client, buyers, server.pid, tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def afterwards(crowd: Crowd, dsn: str, fault: str) -> list[Finding]:
    """What must hold of every shop after a fault, once the buyers have ended what they had begun."""
    crowd.buyers.stop()
    await asyncio.gather(*crowd.tasks)
    seen = crowd.seen
    at_rest, wrong = await verdict(dsn, crowd.buyers.memory.received)
    lost = await crowd.buyers.look_again()
    bad = {status: count for status, count in seen.items() if status >= 500 and status != 503}  # noqa: PLR2004 - HTTP
    paid, orders, carts = len(crowd.buyers.memory.paid), len(crowd.buyers.memory.orders), len(crowd.buyers.memory.carts)
    return [
        Finding(
            fault=fault,
            must="every 2xx is still there and true",
            measured=f"{orders} orders ({paid} paid) and {carts} carts looked at again: {few(lost)}",
            held=not lost,
        ),
        Finding(
            fault=fault,
            must="stock, captures, log and views are right; nothing waits any more",
            measured=f"{few(wrong)}; at rest after {at_rest:.1f} s",
            held=not wrong,
        ),
        Finding(
            fault=fault,
            must="no 5xx but 503; the process goes on",
            measured=f"{dict(sorted(seen.items()))}",
            held=not bad and crowd.server.pid == crowd.pid,
        ),
    ]


async def verdict(dsn: str, received: Mapping[str, int]) -> tuple[float, list[str]]:
    """The seconds until a shop whose buyers have left is at rest, and what is wrong with it then."""
    connection = await asyncpg.connect(dsn)
    began = perf_counter()
    try:
        shop = await at_rest(connection, REST_SECONDS)
        return perf_counter() - began, shop_faults(shop, received)
    except AssertionError as busy:
        return perf_counter() - began, [str(busy)]
    finally:
        await connection.close()


def told(status: int, during: Counter[int]) -> bool:
    """Whether a process was alive (the status of /health/live), told calls done, and some of them to come again."""
    return status == 200 and during[503] > 0 and set(during) <= {200, 201, 503, 409}  # noqa: PLR2004 - HTTP


def through(dsn: str, port: int) -> str:
    """The DSN of the same database by way of a port of this machine."""
    parts = urlsplit(dsn)
    return f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{port}{parts.path}"


def socket_of(dsn: str) -> Path:
    """The unix socket of an embedded PostgreSQL."""
    return Path(parse_qs(urlsplit(dsn).query)["host"][0]) / ".s.PGSQL.5432"


def few(texts: list[str]) -> str:
    """The first of these, for a cell of the table."""
    return "; ".join([*texts[:3], *(["..."] if len(texts) > 3 else [])])[:600] or "all right"  # noqa: PLR2004 - a line
