"""Reservations of one SKU that everybody wants: its owner's turns against a row lock that everybody waits for."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import asyncpg

from actors.inventory import Inventory
from scripts.benchmarks.meter import Meter
from scripts.benchmarks.ordering import Ordering, Want
from scripts.benchmarks.rounds import Round, describe, rate, ratio, timed
from scripts.benchmarks.row_lock import RowLock
from scripts.benchmarks.rows import Row, Size
from scripts.benchmarks.shop import postmaster
from ultramarket.adapters.embedded_postgres import EmbeddedPostgres
from ultramarket.adapters.embedded_postgres_cluster import SETTINGS
from ultramarket.adapters.inprocess import InProcessMailbox
from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.adapters.postgres_journal import PostgresJournal
from ultramarket.adapters.vault import PostgresVault
from ultramarket.bootstrap import prepare_database
from ultramarket.messages.inventory import OpenStock, ReserveStock
from ultramarket.runtime.system import Options, Runtime

CALLERS = 64
STOCK = 10_000_000
HOLD_TIME = timedelta(minutes=15)
COMMAND_SECONDS = 30.0
GOAL = "ratio 10"


async def run(work: Path, size: Size, _log_level: str) -> list[Row]:
    """The rows with 0 and with 1,000 holds open, and the one through the outbox."""
    # The platform's server takes 60 connections: the row lock alone has 64, so here it takes more.
    with patch.dict(SETTINGS, max_connections="120"), EmbeddedPostgres(work / "hot-sku") as dsn:
        await prepare_database(dsn)
        connection = await asyncpg.connect(dsn)
        try:
            meter = Meter(os.getpid(), postmaster(work / "hot-sku"), connection)
            async with _runtime(dsn) as runtime, RowLock.open(dsn, CALLERS) as row_lock:
                return [
                    *[await _compare(runtime, row_lock, meter, size, holds) for holds in (0, 1000)],
                    await _through_outbox(runtime, meter, size),
                ]
        finally:
            await connection.close()


@asynccontextmanager
async def _runtime(dsn: str) -> AsyncIterator[Runtime]:
    """The platform's runtime with the real inventory; orders are played by an actor that only asks for stock."""
    database = await PostgresDatabase.connect(dsn, max_size=2)
    runtime = Runtime(
        lambda _: [Inventory(), Ordering()],
        lambda: PostgresJournal(dsn),
        InProcessMailbox(),
        PostgresVault(database, secrets.token_bytes(32)),
        Options(command_seconds=COMMAND_SECONDS),
    )
    try:
        await runtime.start()
        yield runtime
    finally:
        await runtime.stop()
        await database.close()


async def _compare(runtime: Runtime, row_lock: RowLock, meter: Meter, size: Size, holds: int) -> Row:
    pairs = []
    locked = size.part(4)
    for number in range(size.rounds):
        ours = await _reservations(runtime, meter, f"HOT-{holds}-{number}", size.operations, holds)
        await row_lock.open_stock(f"HOT-{holds}-{number}", STOCK, holds)
        pairs.append((ours, await row_lock.reservations(meter, f"HOT-{holds}-{number}", locked)))
    mine, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return Row(
        name=f"reserve one hot SKU, {holds:,} holds open",
        value=rate(mine),
        unit="reservations/s",
        baseline=rate(theirs),
        ratio=ratio(mine, theirs),
        goal=GOAL,
        conditions=f"{CALLERS} callers in the runtime's process, {size.operations} reservations a round on a SKU with "
        f"{holds:,} holds at its start; each sends its order a durable message, which is taken meanwhile; "
        f"{describe(mine)}. Baseline: select ... for update over {CALLERS} connections, {locked} a round; "
        f"{describe(theirs)}",
    )


async def _reservations(runtime: Runtime, meter: Meter, sku: str, count: int, holds: int) -> Round:
    until = runtime.now() + HOLD_TIME

    async def reserve(_: int, order: str) -> None:
        answer = await runtime.ask("inventory", sku, ReserveStock(order=order, quantity=1, expires_at=until))
        if answer.rejection is not None:
            raise RuntimeError(f"refused: {answer.rejection}")

    await runtime.ask("inventory", sku, OpenStock(quantity=STOCK))
    await timed(range(CALLERS), (f"{sku}-before-{number}" for number in range(holds)), reserve, meter)
    return await timed(range(CALLERS), (f"{sku}-{number}" for number in range(count)), reserve, meter)


async def _through_outbox(runtime: Runtime, meter: Meter, size: Size) -> Row:
    """From an order's turn to the turn in which it learns that it has the piece: three commits."""

    async def order(_: int, id: str) -> None:
        async with runtime.watch("order", id) as versions:
            await runtime.ask("order", id, Want(sku="HOT-OUTBOX"))
            while await anext(versions) < Ordering.DONE:
                pass

    await runtime.ask("inventory", "HOT-OUTBOX", OpenStock(quantity=STOCK))
    rounds = []
    for number in range(size.rounds):
        ids = (f"outbox-{number}-{each}" for each in range(size.part(2)))
        rounds.append(await timed(range(CALLERS), ids, order, meter))
    return Row(
        name="reserve one hot SKU for an order, through the outbox",
        value=rate(rounds),
        unit="reservations/s",
        conditions=f"{CALLERS} orders at a time, each new: asks in one turn, the stock holds in a second, the order "
        f"records the answer in a third; {describe(rounds)}",
    )
