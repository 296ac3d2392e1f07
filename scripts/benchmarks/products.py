"""Reads of the catalogue: a product by its handle and pages of the list, against a handler with one select each."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from scripts.benchmarks import plain_shop
from scripts.benchmarks.catalogue import handles, import_file, listed, product_file
from scripts.benchmarks.http_client import connections, request, storm
from scripts.benchmarks.plain_process import Plain, running_plain
from scripts.benchmarks.rounds import Round, compared, stormed
from scripts.benchmarks.rows import Row, Size
from scripts.benchmarks.shop import API, Shop, meter_of, running_shop
from scripts.benchmarks.statements import HOW, counted

CONNECTIONS = 64
PAGE = 24
HANDLE_GOAL = "8,000/s"
PLAIN = "Baseline: aiohttp and an asyncpg pool with its defaults, one indexed select of whole bodies kept as JSON"


@dataclass(frozen=True, slots=True)
class Reads:
    """One kind of request, to the platform and to the baseline.

    Attributes:
        name: what is read.
        ours: requests to choose from.
        theirs: the same for the baseline.
        operations: of a round.
        body: bytes of the platform's first answer, and of the baseline's.
    """

    name: str
    ours: Sequence[bytes]
    theirs: Sequence[bytes]
    operations: int
    body: tuple[int, int]


async def run(work: Path, size: Size, log_level: str) -> list[Row]:
    """The rows of one product and of the list."""
    products = max(2 * PAGE, size.entities // 2)
    async with running_shop(work / "products", log_level) as shop, running_plain(shop, work) as plain:
        await import_file(shop.port, product_file(range(products)))
        cursors = await listed(shop.port, products)
        await _fill_plain(shop, plain, products)
        wanted = [
            await _reads(shop, plain, "product by handle", *_by_handle(products), size.operations * 2),
            await _reads(shop, plain, f"product list, pages of {PAGE}", *_pages(cursors, products), size.part(4)),
        ]
        goals = {wanted[0].name: HANDLE_GOAL}
        about = f"{CONNECTIONS} connections, {products} products of 4 variants, log level {log_level}"
        return [await _compare(shop, plain, each, size, goals.get(each.name, ""), about) for each in wanted]


def _by_handle(products: int) -> tuple[list[bytes], list[bytes]]:
    return (
        [request("GET", f"{API}/products/{handle}") for handle in handles(range(products))],
        [request("GET", f"/products/{handle}") for handle in handles(range(products))],
    )


def _pages(cursors: Sequence[str], products: int) -> tuple[list[bytes], list[bytes]]:
    """First pages and later ones."""
    starts = range(0, products - PAGE, 100)
    return (
        [request("GET", f"{API}/products?limit={PAGE}{after}") for after in ("", *(f"&cursor={c}" for c in cursors))],
        [request("GET", f"/products?limit={PAGE}&after={start}") for start in starts],
    )


async def _reads(
    shop: Shop, plain: Plain, name: str, ours: Sequence[bytes], theirs: Sequence[bytes], operations: int
) -> Reads:
    """The requests, each asked once before the clock starts: caches are what a running shop has."""
    sizes = []
    for port, requests in ((shop.port, ours), (plain.port, theirs)):
        async with connections(port, 1) as (connection,):
            replies = [await connection.send(raw) for raw in requests]
        replies[0].json()
        sizes.append(len(replies[0].body))
    return Reads(name, ours, theirs, operations, (sizes[0], sizes[1]))


async def _compare(shop: Shop, plain: Plain, reads: Reads, size: Size, goal: str, about: str) -> Row:
    async with meter_of(shop) as meter:

        async def one(side: int, seed: int) -> Round:
            port, requests = ((shop.port, reads.ours), (plain.port, reads.theirs))[side]
            async with connections(port, CONNECTIONS) as opened:
                return await stormed(opened, _chosen(requests, reads.operations, seed), (meter, plain.meter)[side])

        pairs = [(await one(0, number), await one(1, number)) for number in range(size.rounds)]
    few = max(16, reads.operations // 8)
    return compared(
        reads.name,
        "requests/s",
        [pair[0] for pair in pairs],
        [pair[1] for pair in pairs],
        statements=(
            await _statements(shop, shop.port, _chosen(reads.ours, few, 0)),
            await _statements(shop, plain.port, _chosen(reads.theirs, few, 0)),
        ),
        goal=goal,
        conditions=f"{about}; every request asked once before; answers of {reads.body[0]} bytes. {PLAIN}, answers of "
        f"{reads.body[1]} bytes; {HOW}",
    )


def _chosen(requests: Sequence[bytes], operations: int, seed: int) -> list[bytes]:
    choices = random.Random(seed)  # noqa: S311 - no secret
    return choices.choices(requests, k=operations)


async def _statements(shop: Shop, port: int, requests: Sequence[bytes]) -> float:
    async with counted(shop.dsn, shop.log) as found, connections(port, CONNECTIONS) as opened:
        await storm(opened, requests)
    return found.count / len(requests)


async def _fill_plain(shop: Shop, plain: Plain, products: int) -> None:
    """Give the baseline the bodies that the platform answers."""
    rows = []
    async with connections(shop.port, 1) as (connection,):
        for n, handle in enumerate(handles(range(products))):
            reply = await connection.call("GET", f"{API}/products/{handle}")
            reply.json()
            rows.append((handle, n, reply.body.decode()))
    database = await asyncpg.connect(plain.dsn)
    try:
        await database.copy_records_to_table(plain_shop.SHOWN, records=rows)
        await database.execute(f"analyze {plain_shop.SHOWN}")
    finally:
        await database.close()
