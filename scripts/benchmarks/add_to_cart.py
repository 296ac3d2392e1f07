"""Durable add-to-cart over HTTP, against a plain handler with one transaction a request."""

import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from scripts.benchmarks import plain_shop
from scripts.benchmarks.http_client import Connection, connections
from scripts.benchmarks.meter import Meter
from scripts.benchmarks.rounds import Round, describe, rate, ratio, timed
from scripts.benchmarks.rows import Row, Size
from scripts.benchmarks.shop import SKUS, Shop, answering, fill, free_port, meter_of, process, running_shop

CONNECTIONS = 64
LINES = 3
"""Lines of each cart: they are there before the clock starts, so that every round finds carts of one size."""
GOAL = "ratio 2, at least 1.5"


@dataclass(slots=True)
class Side:
    """One of the two that are compared.

    Attributes:
        carts: where lines are added, each with the SKUs that it has.
        body: bytes of the last answer.
    """

    port: int
    prefix: str
    meter: Meter
    carts: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    body: int = 0

    async def make_carts(self, count: int) -> None:
        """Carts with all their lines."""

        async def make(connection: Connection, number: int) -> None:
            id = (await connection.call("POST", f"{self.prefix}/carts", {})).json()["id"]
            skus = tuple(SKUS[(number + place) % len(SKUS)] for place in range(LINES))
            for sku in skus:
                await self._add(connection, id, sku, "")
            self.carts.append((id, skus))

        async with connections(self.port, CONNECTIONS) as opened:
            await timed(opened, range(count), make, self.meter)

    async def round(self, size: Size, seed: int, *, keyed: bool) -> Round:
        """Lines added to random carts; the same choices for the same seed."""

        async def add(connection: Connection, chosen: tuple[int, int]) -> None:
            id, skus = self.carts[chosen[0]]
            key = f"idempotency-key: {secrets.token_hex(16)}\r\n" if keyed else ""
            await self._add(connection, id, skus[chosen[1]], key)

        choices = random.Random(seed)  # noqa: S311 - no secret
        chosen = [(choices.randrange(len(self.carts)), choices.randrange(LINES)) for _ in range(size.operations)]
        async with connections(self.port, CONNECTIONS) as opened:
            return await timed(opened, chosen, add, self.meter)

    async def _add(self, connection: Connection, id: str, sku: str, headers: str) -> None:
        path = f"{self.prefix}/carts/{id}/lines"
        reply = await connection.call("POST", path, {"sku": sku, "quantity": 1}, headers)
        if reply.status != 200:  # noqa: PLR2004 - HTTP
            reply.json()
        self.body = len(reply.body)


async def run(work: Path, size: Size, log_level: str) -> list[Row]:
    """The rows with and without Idempotency-Key."""
    async with running_shop(work / "add-to-cart", log_level) as shop, meter_of(shop) as meter:
        await fill(shop.port)
        ours = Side(shop.port, "/api/v1", meter)
        async with _plain(shop, work) as theirs:
            await ours.make_carts(size.entities)
            await theirs.make_carts(size.entities)
            return [await _compare(ours, theirs, size, log_level, keyed=keyed) for keyed in (False, True)]


async def _compare(ours: Side, theirs: Side, size: Size, log_level: str, *, keyed: bool) -> Row:
    pairs = [
        (await ours.round(size, number, keyed=keyed), await theirs.round(size, number, keyed=keyed))
        for number in range(size.rounds)
    ]
    mine, plain = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return Row(
        name="add to cart" + (", with Idempotency-Key" if keyed else ""),
        value=rate(mine),
        unit="requests/s",
        baseline=rate(plain),
        ratio=ratio(mine, plain),
        goal="" if keyed else GOAL,
        conditions=f"{CONNECTIONS} connections, {size.entities} carts of {LINES} lines, log level {log_level}; "
        f"{describe(mine)}; answer {ours.body} bytes. Baseline, aiohttp and asyncpg with one transaction a request: "
        f"{describe(plain)}; answer {theirs.body} bytes",
    )


@asynccontextmanager
async def _plain(shop: Shop, work: Path) -> AsyncIterator[Side]:
    """The plain handler as a process, with a database of its own on the platform's server."""
    connection = await asyncpg.connect(shop.dsn)
    try:
        await connection.execute("create database bench_plain")
        dsn = shop.dsn.replace("/ultramarket?", "/bench_plain?")
        await plain_shop.prepare(dsn)
    finally:
        await connection.close()
    port, log = free_port(), work / "plain.log"
    arguments = ("-m", "scripts.benchmarks.plain_shop", str(port))
    async with process(arguments, log, {plain_shop.DSN: dsn}) as started, meter_of(shop, started.pid) as meter:
        await answering(port, "/ready", started, log)
        yield Side(port, "", meter)
