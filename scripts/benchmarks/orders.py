"""What an order costs and what memory the platform takes, in a shop with few orders and in one with many."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from scripts.benchmarks.checkout import Buyers
from scripts.benchmarks.histories import at_rest, stopped_database
from scripts.benchmarks.meter import Used
from scripts.benchmarks.order_copies import copy_orders
from scripts.benchmarks.rounds import Round, compared
from scripts.benchmarks.rows import Row, Size
from scripts.benchmarks.shop import API, Shop, fill, meter_of, running_shop
from scripts.benchmarks.statements import HOW, counted

AT_ONCE = 32
REAL = 100
"""Orders that are made over HTTP at most; the others are copies of them under other ids."""
GOAL = "within 15 %"
FLAT = "flat"
STATS_SECONDS = 1.2
"""PostgreSQL's processes hand in their counts once a second at most."""


@dataclass(slots=True)
class Side:
    """A running shop with a number of orders in it.

    Attributes:
        images: whole pages in the write-ahead log an order, which the first change after a checkpoint puts there.
        memory: MiB of the process after all rounds.
    """

    orders: int
    shop: Shop
    buyers: Buyers
    rounds: list[Round]
    statements: float = 0.0
    images: float = 0.0
    memory: float = 0.0


async def run(work: Path, size: Size, log_level: str) -> list[Row]:
    """The rows of an order's cost, and of memory."""
    few, many = size.entities // 2, size.entities * 100
    for orders in (few, many):
        await make(work / f"{orders}", orders, log_level)
    async with AsyncExitStack() as running:
        sides = []
        for orders in (few, many):
            shop = await running.enter_async_context(running_shop(work / f"{orders}", log_level))
            meter = await running.enter_async_context(meter_of(shop))
            sides.append(Side(orders, shop, Buyers(shop.port, API, meter), []))
        for side in sides:
            await side.buyers.checkouts(size.part(8), AT_ONCE)  # after the start every page goes to the log once
        await _measure(sides, size.part(10), size.rounds)
    return _rows(sides[0], sides[1], size, log_level)


async def make(data_dir: Path, orders: int, log_level: str) -> None:
    """A shop with that many orders, stopped."""
    real = min(REAL, orders)
    async with running_shop(data_dir, log_level) as shop, meter_of(shop) as meter:
        await fill(shop.port)
        await Buyers(shop.port, API, meter).checkouts(real, AT_ONCE)
        await at_rest(shop.dsn)
    if orders > real:
        with stopped_database(data_dir) as dsn:
            await copy_orders(dsn, data_dir, orders - real)


async def _measure(sides: Sequence[Side], orders: int, rounds: int) -> None:
    """Rounds in turns, from two processes that have just begun: what differs is what was there before."""
    before = [await _images(side.shop) for side in sides]
    for _ in range(rounds):
        for side in sides:
            side.rounds.append(await side.buyers.checkouts(orders, AT_ONCE))
    for side, images in zip(sides, before, strict=True):
        side.images = (await _images(side.shop) - images) / (orders * rounds)
        side.memory = side.buyers.meter.resident()
    for side in sides:
        async with counted(side.shop.dsn, side.shop.log) as found:
            await side.buyers.checkouts(orders // 2, AT_ONCE)
        side.statements = found.count / (orders // 2)


async def _images(shop: Shop) -> int:
    connection = await asyncpg.connect(shop.dsn)
    try:
        await asyncio.sleep(STATS_SECONDS)
        return int(await connection.fetchval("select wal_fpi from pg_stat_wal"))
    finally:
        await connection.close()


def _rows(few: Side, many: Side, size: Size, log_level: str) -> list[Row]:
    about = f"{many.orders:,} orders against {few.orders:,}"
    costs = compared(
        f"checkouts, {about}",
        "orders/s",
        many.rounds,
        few.rounds,
        statements=(many.statements, few.statements),
        goal=f"{GOAL}: ratio 0.87",
        conditions=f"two platforms in turns, {AT_ONCE} checkouts at a time, {size.part(10)} orders a round after "
        f"{size.part(8)} that are not counted, log level {log_level}; of the orders there before up to {REAL} were "
        f"made over HTTP and the others are copies of their histories under other ids. Baseline: the shop with "
        f"{few.orders:,}; {HOW}",
    )
    now, then = _order(many), _order(few)
    images = f"whole pages in it {many.images:.1f} against {few.images:.1f} an order: the first change of a page after "
    return [
        costs,
        _cost(f"an order's CPU in Python, {about}", "ms", now.python * 1000, then.python * 1000),
        _cost(f"an order's CPU in PostgreSQL, {about}", "ms", now.postgres * 1000, then.postgres * 1000),
        _cost(
            f"an order's write-ahead log, {about}", "KiB", now.wal / 1024, then.wal / 1024,
            f"{images}a checkpoint",
        ),
        _cost(f"memory, {about}", "MiB", many.memory, few.memory, "resident, after the rounds", FLAT),
    ]  # fmt: skip


def _order(side: Side) -> Used:
    """What one order used."""
    return sum((each.used for each in side.rounds), Used()).share(sum(len(each.latencies) for each in side.rounds))


def _cost(name: str, unit: str, value: float, baseline: float, how: str = "", goal: str = GOAL) -> Row:
    return Row(
        name=name,
        value=value,
        unit=unit,
        baseline=baseline,
        ratio=baseline / value if value else None,
        goal=goal,
        conditions=f"from the same rounds{'; ' if how else ''}{how}",
    )
