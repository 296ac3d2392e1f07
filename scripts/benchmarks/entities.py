"""Add-to-cart on one cart that everybody wants, and spread over a million carts that are there."""

import random
from pathlib import Path

import asyncpg

from scripts.benchmarks.histories import BlankEntity, Histories, at_rest, places_of, stopped_database
from scripts.benchmarks.http_client import connections, request, storm
from scripts.benchmarks.meter import Meter
from scripts.benchmarks.rounds import Round, compared, stormed
from scripts.benchmarks.rows import Row, Size
from scripts.benchmarks.shop import API, SKUS, fill, meter_of, running_shop
from scripts.benchmarks.statements import HOW, counted
from ultramarket.domain.ids import new_id

CONNECTIONS = 64
SPREAD = 4
"""So many times more requests in a round over all carts: the first round fills the memory for entities."""
SETTINGS = {"ULTRAMARKET_CART__MAX_QUANTITY": "1000000", "ULTRAMARKET_MEMORY_BYTES": str(16 << 20)}
"""One cart takes all pieces that are added to it; and memory for entities that is full after one round."""
_AT_ONCE = 5000


async def run(work: Path, size: Size, log_level: str) -> list[Row]:
    """The rows of the rate and of memory."""
    data_dir, count = work / "entities", size.entities * 500
    async with running_shop(data_dir, log_level, **SETTINGS) as shop:
        await fill(shop.port)
        async with connections(shop.port, 1) as (connection,):
            original = (await connection.call("POST", f"{API}/carts", {})).json()["id"]
            (await connection.send(_add(original))).json()
        await at_rest(shop.dsn)
    with stopped_database(data_dir) as dsn:
        carts = await copy_cart(dsn, original, count)
    async with running_shop(data_dir, log_level, **SETTINGS) as shop, meter_of(shop) as meter:
        few = size.part(4)
        memory = [meter.resident()]
        one, spread = [], []
        for number in range(size.rounds):
            one.append(await _round(shop.port, meter, [original], size.operations, number))
            spread.append(await _round(shop.port, meter, carts, size.operations * SPREAD, number))
            memory.append(meter.resident())
        statements = []
        for wanted in (carts, [original]):
            async with counted(shop.dsn, shop.log) as found, connections(shop.port, CONNECTIONS) as opened:
                await storm(opened, _requests(wanted, few, -1))
            statements.append(found.count / few)
    seen = ", ".join(f"{each:.0f}" for each in memory)
    return [
        compared(
            f"add to cart, spread over {count:,} carts against one",
            "requests/s",
            spread,
            one,
            statements=(statements[0], statements[1]),
            conditions=f"{CONNECTIONS} connections, carts of one line, log level {log_level}; the carts are copies of "
            f"one that was made over HTTP, none is in memory before its first request. Baseline: every request to one "
            f"cart; {HOW}",
        ),
        Row(
            name=f"memory, {count:,} carts",
            value=memory[-1],
            unit="MiB",
            baseline=memory[1],
            ratio=memory[1] / memory[-1],
            goal="flat",
            conditions=f"resident memory after {size.rounds} rounds of {size.operations * SPREAD:,} additions spread "
            f"over all carts, against that after the first; at the start and after each round: {seen}; with 16 MiB for "
            "entities (memory_bytes), which the first round fills",
        ),
    ]


async def copy_cart(dsn: str, original: str, count: int) -> list[str]:
    """Write that many copies of a cart into the database of a platform that is stopped; gives their ids."""
    connection = await asyncpg.connect(dsn)
    try:
        histories = await Histories.open(connection)
        blank = await BlankEntity.of(connection, "cart", original, places_of([original]))
        ids = [new_id() for _ in range(count)]
        for begin in range(0, count, _AT_ONCE):
            for id in ids[begin : begin + _AT_ONCE]:
                histories.copy(blank, id, {original: id})
            await histories.write()
        await histories.finish()
    finally:
        await connection.close()
    return ids


async def _round(port: int, meter: Meter, carts: list[str], operations: int, seed: int) -> Round:
    requests = _requests(carts, operations, seed)
    async with connections(port, CONNECTIONS) as opened:
        return await stormed(opened, requests, meter)


def _requests(carts: list[str], operations: int, seed: int) -> list[bytes]:
    choices = random.Random(seed)  # noqa: S311 - no secret
    return [_add(choices.choice(carts)) for _ in range(operations)]


def _add(cart: str) -> bytes:
    return request("POST", f"{API}/carts/{cart}/lines", {"sku": SKUS[0], "quantity": 1})
