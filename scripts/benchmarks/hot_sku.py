"""Reservations of one SKU that everybody wants: its owner's turns against a row lock that everybody waits for."""

import os
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import asyncpg

from actors.inventory import Inventory
from scripts.benchmarks.meter import Meter
from scripts.benchmarks.ordering import Ordering, Want
from scripts.benchmarks.rounds import Round, compared, figures, rate, timed
from scripts.benchmarks.row_lock import RowLock
from scripts.benchmarks.rows import Row, Size
from scripts.benchmarks.shop import postmaster
from scripts.benchmarks.statements import HOW, counted
from ultramarket.adapters.embedded_postgres import EmbeddedPostgres
from ultramarket.adapters.inprocess import InProcessMailbox
from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.adapters.postgres_journal import PostgresJournal
from ultramarket.adapters.vault import PostgresVault
from ultramarket.bootstrap import prepare_database
from ultramarket.messages.inventory import OpenStock, ReserveStock
from ultramarket.runtime.system import Options, Runtime

CALLERS = 64
HOLDS = (0, 1000, 10_000)
STOCK = 10_000_000
HOLD_TIME = timedelta(minutes=15)
COMMAND_SECONDS = 30.0
GOAL = "ratio 10"


@dataclass(frozen=True, slots=True)
class Sides:
    """What is compared: the platform's runtime, and connections that lock a row.

    Attributes:
        log: of the database server.
        meter: this process is the one that serves, on both sides.
    """

    dsn: str
    log: Path
    runtime: Runtime
    row_lock: RowLock
    meter: Meter


async def run(work: Path, size: Size, _log_level: str) -> list[Row]:
    """The rows by how many holds are open, and the one through the outbox."""
    place = work / "hot-sku"
    with EmbeddedPostgres(place) as dsn:
        await prepare_database(dsn)
        connection = await asyncpg.connect(dsn)
        try:
            meter = Meter(os.getpid(), postmaster(place), connection)
            async with _runtime(dsn) as runtime, RowLock.open(dsn, CALLERS) as row_lock:
                sides = Sides(dsn, place / "postgres.log", runtime, row_lock, meter)
                rows = [await _compare(sides, size, holds) for holds in HOLDS]
                return [*rows, await _through_outbox(sides, size)]
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


async def _compare(sides: Sides, size: Size, holds: int) -> Row:
    locked = size.part(4)

    async def ours(sku: str, operations: int) -> Round:
        await _hold(sides, sku, (f"{sku}-before-{number}" for number in range(holds)))
        return await _hold(sides, sku, (f"{sku}-{number}" for number in range(operations)))

    async def theirs(sku: str) -> Round:
        await sides.row_lock.open_stock(sku, STOCK, holds)
        return await sides.row_lock.reservations(sides.meter, sku, locked)

    skus = [f"HOT-{holds}-{number}" for number in range(size.rounds)]
    pairs = [(await ours(sku, size.operations), await theirs(sku)) for sku in skus]
    return compared(
        f"reserve one hot SKU, {holds:,} holds open",
        "reservations/s",
        [pair[0] for pair in pairs],
        [pair[1] for pair in pairs],
        statements=await _statements(sides, size, holds),
        goal=GOAL,
        conditions=f"{CALLERS} callers in the runtime's process, {size.operations} reservations a round on a SKU with "
        f"{holds:,} holds at its start; each sends its order a durable message, which is taken meanwhile. Baseline: "
        f"select ... for update over {CALLERS} connections, {locked} a round; {HOW}",
    )


async def _hold(sides: Sides, sku: str, orders: Iterable[str]) -> Round:
    """A hold for each of the orders."""
    until = sides.runtime.now() + HOLD_TIME

    async def reserve(_: int, order: str) -> None:
        answer = await sides.runtime.ask("inventory", sku, ReserveStock(order=order, quantity=1, expires_at=until))
        if answer.rejection is not None:
            raise RuntimeError(f"refused: {answer.rejection}")

    await sides.runtime.ask("inventory", sku, OpenStock(quantity=STOCK))
    return await timed(range(CALLERS), orders, reserve, sides.meter)


async def _statements(sides: Sides, size: Size, holds: int) -> tuple[float, float]:
    """SQL statements a reservation, the platform's and the row lock's, on the SKUs of the first round."""
    sku, few = f"HOT-{holds}-0", size.part(4)
    async with counted(sides.dsn, sides.log) as ours:
        await _hold(sides, sku, (f"{sku}-counted-{number}" for number in range(few)))
    async with counted(sides.dsn, sides.log) as theirs:
        await sides.row_lock.reservations(sides.meter, sku, few, "counted")
    return ours.count / few, theirs.count / few


async def _through_outbox(sides: Sides, size: Size) -> Row:
    """From an order's turn to the turn in which it learns that it has the piece: three commits."""
    runtime = sides.runtime

    async def order(_: int, id: str) -> None:
        async with runtime.watch("order", id) as versions:
            await runtime.ask("order", id, Want(sku="HOT-OUTBOX"))
            while await anext(versions) < Ordering.DONE:
                pass

    async def one(name: str) -> Round:
        ids = (f"outbox-{name}-{each}" for each in range(size.part(2)))
        return await timed(range(CALLERS), ids, order, sides.meter)

    await runtime.ask("inventory", "HOT-OUTBOX", OpenStock(quantity=STOCK))
    rounds = [await one(str(number)) for number in range(size.rounds)]
    async with counted(sides.dsn, sides.log) as found:
        await one("counted")
    return Row(
        name="reserve one hot SKU for an order, through the outbox",
        value=rate(rounds),
        unit="reservations/s",
        conditions=f"{CALLERS} orders at a time, each new: asks in one turn, the stock holds in a second, the order "
        f"records the answer in a third; {HOW}",
        operation=figures(rounds, found.count / size.part(2)),
    )
