"""The plain handler as a process of its own, with a database of its own on the platform's server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from scripts.benchmarks import plain_server
from scripts.benchmarks.meter import Meter
from scripts.benchmarks.shop import Shop, answering, free_port, meter_of, process


@dataclass(frozen=True, slots=True)
class Plain:
    """The plain handler.

    Attributes:
        port: where it listens.
        dsn: of its database.
        meter: of what it uses.
    """

    port: int
    dsn: str
    meter: Meter


@asynccontextmanager
async def running_plain(shop: Shop, work: Path) -> AsyncIterator[Plain]:
    """The plain handler beside a running platform."""
    connection = await asyncpg.connect(shop.dsn)
    try:
        await connection.execute("create database bench_plain")
    finally:
        await connection.close()
    dsn = shop.dsn.replace("/ultramarket?", "/bench_plain?")
    await plain_server.prepare(dsn)
    port, log = free_port(), work / "plain.log"
    arguments = ("-m", "scripts.benchmarks.plain_server", str(port))
    async with process(arguments, log, {plain_server.DSN: dsn}) as started, meter_of(shop, started.pid) as meter:
        await answering(port, "/ready", started, log)
        yield Plain(port, dsn, meter)
