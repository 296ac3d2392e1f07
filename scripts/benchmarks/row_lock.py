"""What reservations are compared with: a row lock, held while the hold and the event are written."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Self, TypeAlias

import asyncpg
import msgspec

from scripts.benchmarks.meter import Meter
from scripts.benchmarks.rounds import Round, timed
from ultramarket.runtime.codec import Chain

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

SCHEMA = """
create schema plain;
create table plain.stock (sku text primary key, version bigint not null, head bytea not null, on_hand bigint not null,
    held bigint not null) with (fillfactor = 70);
create table plain.hold (sku text not null, holder text not null, quantity bigint not null,
    expires_at timestamptz not null, primary key (sku, holder));
create table plain.event (sku text not null, version bigint not null, type text not null, data text not null,
    at timestamptz not null, hash bytea not null, primary key (sku, version));
"""
HOLD_TIME = timedelta(minutes=15)


class RowLock:
    """Reservations as a plain transaction each: lock the row, check, insert the hold and the event, commit."""

    def __init__(self, connections: list[Connection]) -> None:
        self._connections = connections

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str, count: int) -> AsyncIterator[Self]:
        """That many connections, and the tables."""
        connections: list[Connection] = []
        try:
            connections += [await asyncpg.connect(dsn) for _ in range(count)]
            await connections[0].execute(SCHEMA)
            yield cls(connections)
        finally:
            for connection in connections:
                await connection.close()

    async def open_stock(self, sku: str, pieces: int, holds: int) -> None:
        """A SKU with pieces, some of them held."""
        await self._connections[0].execute(
            "insert into plain.stock values ($1, 0, $2, $3, $4)", sku, Chain.START, pieces, holds
        )
        await self._connections[0].execute(
            "insert into plain.hold select $1, 'before-' || n, 1, now() + interval '15 minutes' "
            "from generate_series(1, $2::int) n",
            sku,
            holds,
        )

    async def reservations(self, meter: Meter, sku: str, count: int, name: str = "order") -> Round:
        """Reservations over all connections, for orders of that name."""

        async def reserve(connection: Connection, number: int) -> None:
            await _reserve(connection, sku, f"{sku}-{name}-{number}")

        return await timed(self._connections, range(count), reserve, meter)


async def _reserve(connection: Connection, sku: str, order: str) -> None:
    now = datetime.now(UTC)
    async with connection.transaction():
        stock = await connection.fetchrow(
            "select version, head, on_hand, held from plain.stock where sku = $1 for update", sku
        )
        if stock is None or stock["on_hand"] - stock["held"] < 1:
            raise RuntimeError("sold out")
        version = stock["version"] + 1
        data = msgspec.json.encode({"order": order, "quantity": 1, "expires_at": now + HOLD_TIME}).decode()
        head = Chain.link(stock["head"], ("inventory", sku, "StockHeld", order, "guest"), version, now, data)
        await connection.execute("insert into plain.hold values ($1, $2, 1, $3)", sku, order, now + HOLD_TIME)
        await connection.execute(
            "update plain.stock set version = $2, head = $3, held = held + 1 where sku = $1", sku, version, head
        )
        await connection.execute(
            "insert into plain.event values ($1, $2, 'StockHeld', $3, $4, $5)", sku, version, data, now, head
        )
