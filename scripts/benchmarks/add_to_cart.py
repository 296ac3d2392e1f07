"""Durable add-to-cart over HTTP, against a plain handler with one transaction a request."""

import random
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from scripts.benchmarks.http_client import Connection, connections, request, storm
from scripts.benchmarks.meter import Meter
from scripts.benchmarks.plain_process import running_plain
from scripts.benchmarks.rounds import Round, client_share, compared, figures, percentile, stormed, timed
from scripts.benchmarks.rows import Row, Size
from scripts.benchmarks.shop import API, SKUS, Shop, fill, meter_of, running_shop
from scripts.benchmarks.statements import HOW, counted

CONNECTIONS = 64
LINES = 3
"""Lines of each cart: they are there before the clock starts, so that every round finds carts of one size."""
GOAL = "4,000/s, ratio 2"
SINGLE_GOAL = "p99 under 5 ms"
BASELINE = "Baseline: aiohttp and an asyncpg pool with its defaults, one transaction a request"


@dataclass(slots=True)
class Side:
    """One of the two that are compared.

    Attributes:
        carts: where lines are added, each with the SKUs that it has.
        body: bytes of an answer.
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
                reply = await connection.send(self._add(id, sku, ""))
                reply.json()
                self.body = len(reply.body)
            self.carts.append((id, skus))

        async with connections(self.port, CONNECTIONS) as opened:
            await timed(opened, range(count), make, self.meter)

    async def round(self, at_once: int, operations: int, seed: int, *, keyed: bool = False) -> Round:
        """Lines added to random carts; the same choices for the same seed."""
        requests = self._requests(operations, seed, keyed=keyed)
        async with connections(self.port, at_once) as opened:
            return await stormed(opened, requests, self.meter)

    async def statements(self, shop: Shop, at_once: int, operations: int, *, keyed: bool = False) -> float:
        """SQL statements of one operation."""
        requests = self._requests(operations, operations, keyed=keyed)
        async with counted(shop.dsn, shop.log) as found, connections(self.port, at_once) as opened:
            await storm(opened, requests)
        return found.count / operations

    def _requests(self, operations: int, seed: int, *, keyed: bool) -> list[bytes]:
        choices = random.Random(seed)  # noqa: S311 - no secret
        made = []
        for _ in range(operations):
            id, skus = self.carts[choices.randrange(len(self.carts))]
            key = f"idempotency-key: {secrets.token_hex(16)}\r\n" if keyed else ""
            made.append(self._add(id, skus[choices.randrange(LINES)], key))
        return made

    def _add(self, id: str, sku: str, headers: str) -> bytes:
        return request("POST", f"{self.prefix}/carts/{id}/lines", {"sku": sku, "quantity": 1}, headers)


async def run(work: Path, size: Size, log_level: str) -> list[Row]:
    """The rows with and without Idempotency-Key, and that of a single client."""
    async with running_shop(work / "add-to-cart", log_level) as shop, meter_of(shop) as meter:
        await fill(shop.port)
        ours = Side(shop.port, API, meter)
        async with running_plain(shop, work) as plain:
            theirs = Side(plain.port, "", plain.meter)
            await ours.make_carts(size.entities)
            await theirs.make_carts(size.entities)
            rows = [await _compare(shop, ours, theirs, size, log_level, keyed=keyed) for keyed in (False, True)]
            return [*rows, await _single(shop, ours, theirs, size, log_level)]


async def _compare(shop: Shop, ours: Side, theirs: Side, size: Size, log_level: str, *, keyed: bool) -> Row:
    pairs = [
        (
            await ours.round(CONNECTIONS, size.operations, number, keyed=keyed),
            await theirs.round(CONNECTIONS, size.operations, number, keyed=keyed),
        )
        for number in range(size.rounds)
    ]
    few = size.part(4)
    statements = (
        await ours.statements(shop, CONNECTIONS, few, keyed=keyed),
        await theirs.statements(shop, CONNECTIONS, few, keyed=keyed),
    )
    return compared(
        "add to cart" + (", with Idempotency-Key" if keyed else ""),
        "requests/s",
        [pair[0] for pair in pairs],
        [pair[1] for pair in pairs],
        statements=statements,
        goal="" if keyed else GOAL,
        conditions=f"{CONNECTIONS} connections, {size.entities} carts of {LINES} lines, log level {log_level}; answers "
        f"of {ours.body} bytes. {BASELINE}, answers of {theirs.body} bytes; {HOW}",
    )


async def _single(shop: Shop, ours: Side, theirs: Side, size: Size, log_level: str) -> Row:
    """One client that waits for each answer: what a single buyer feels."""
    operations = size.part(4)
    pairs = [
        (await ours.round(1, operations, number), await theirs.round(1, operations, number))
        for number in range(size.rounds)
    ]
    mine, plain = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    ours_p99, theirs_p99 = (percentile([s for r in rounds for s in r.latencies], 0.99) for rounds in (mine, plain))
    statements = await ours.statements(shop, 1, operations), await theirs.statements(shop, 1, operations)
    return Row(
        name="add to cart, one client",
        value=ours_p99 * 1000,
        unit="ms (p99)",
        baseline=theirs_p99 * 1000,
        ratio=theirs_p99 / ours_p99,
        goal=SINGLE_GOAL,
        conditions=f"one connection, {operations} requests a round one after the other, log level {log_level}. "
        f"{BASELINE}; {HOW}{client_share(mine)}",
        operation=figures(mine, statements[0]),
        plain=figures(plain, statements[1]),
    )
