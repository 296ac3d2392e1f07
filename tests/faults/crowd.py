"""A shop full of buyers that has to be right in the end, whatever a test does to its process meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from tests.e2e.server import Server
from tests.e2e.shopper import shopper
from tests.faults.buyers import Buyers
from tests.faults.invariants import faults_at_rest

BUYERS = 12
PIECES = {"KILL-A": 60, "KILL-B": 150, "KILL-C": 100_000}
SETTINGS = {
    "ULTRAMARKET_ORDER__ACTION_SECONDS": "2",
    "ULTRAMARKET_ORDER__FREEZE_SECONDS": "1",
}
"""Short enough that timers are due while the shop is busy."""


@asynccontextmanager
async def crowd(
    data_dir: Path,
    seed: int,
    *,
    measured: bool = True,
    settings: Mapping[str, str] = {},
    kind: type[Buyers] = Buyers,
) -> AsyncIterator[tuple[Server, Buyers]]:
    """A shop full of buyers; in the end they leave, it comes to rest, and everything must be right."""
    server = Server(data_dir, measured=measured, settings={**SETTINGS, **settings})
    async with server, shopper(server.url) as client:
        for sku, pieces in PIECES.items():
            await client.stock(sku, pieces)
        buyers = kind(client, list(PIECES), seed)
        buyers.memory.received.update(PIECES)
        async with asyncio.TaskGroup() as group:
            for work in buyers.everybody(BUYERS):
                group.create_task(work)
            try:
                yield server, buyers
            finally:
                buyers.stop()
        connection = await asyncpg.connect(server.dsn)
        try:
            found = await faults_at_rest(connection, buyers.memory.received)
            assert not found, "\n".join(found)
        finally:
            await connection.close()
        found = await buyers.look_again()
        assert not found, "\n".join(found)
        assert not [status for status in client.seen if status >= 500 and status != 503]
        assert "open" in {status for _, status, _ in buyers.memory.orders.values()}
