"""The processes of `ultramarket start`: which they are, which partitions they have, and whether they have settled."""

import asyncio
import contextlib

import asyncpg
import psutil

from tests.e2e.server import Server
from tests.e2e.shopper import POLL_SECONDS
from ultramarket.runtime.partitioning import partition_of

SETTLE_SECONDS = 120.0
_OWNERS = "select p.kind, p.no, m.pid from partition p left join member m on m.name = p.owner"


def replicas_of(server: Server) -> set[int]:
    """The processes of the platform below the parent."""
    found = set()
    for one in psutil.Process(server.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            if "serve" in one.cmdline():
                found.add(one.pid)
    return found


async def owners(dsn: str) -> dict[tuple[str, int], int | None]:
    """The process that has each partition; None while nobody does."""
    connection = await asyncpg.connect(dsn)
    try:
        return {(row["kind"], row["no"]): row["pid"] for row in await connection.fetch(_OWNERS)}
    finally:
        await connection.close()


async def owner_of(dsn: str, kind: str, id: str) -> int:
    """The process that has an entity, once there is one."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            pid = (await owners(dsn)).get((kind, partition_of(kind, id)))
            if pid is not None:
                return pid
            await asyncio.sleep(POLL_SECONDS)


async def settled(server: Server, dsn: str, replicas: int, without: set[int]) -> set[int]:
    """The processes that have the partitions, once they are so many, each has some, and none of the earlier is left."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            found = replicas_of(server)
            if len(found) == replicas and not found & without and set((await owners(dsn)).values()) == found:
                return found
            await asyncio.sleep(POLL_SECONDS)
