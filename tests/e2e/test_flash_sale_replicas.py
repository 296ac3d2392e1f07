"""A crowd at one shelf of a shop of four processes, of which the one that has the shelf is killed in the middle."""

import os
import signal
from collections import Counter
from pathlib import Path

import asyncpg

from tests.e2e.flash_sale import PIECES, REFUSED, SKU, SOLD, Purchase, answered_otherwise, gateway_calls, sell
from tests.e2e.replicas import owner_of, settled
from tests.e2e.server import Server
from tests.e2e.shopper import PatientShopper, shopper
from tests.faults.invariants import faults_at_rest

REPLICAS = 4
SOLD_BEFORE = 60
"""Pieces that are sold when the process is killed; with the orders under way then, still fewer than there are."""


async def test_exactly_200_of_1000_buyers_pay_while_the_replica_that_has_the_shelf_is_killed(
    dsn: str, broker_url: str, tmp_path: Path
) -> None:
    settings = {"ULTRAMARKET_DATABASE_URL": dsn, "ULTRAMARKET_BROKER_URL": broker_url}
    replicas = Server(tmp_path / "data", "start", "--replicas", str(REPLICAS), measured=False, settings=settings)
    async with replicas as server, shopper(server.url, PatientShopper) as shop:
        before = await settled(server, dsn, REPLICAS, set())
        told: Counter[tuple[str, str, str]] = Counter()
        killed: list[int] = []

        async def kill_in_the_middle(purchase: Purchase) -> None:
            told[purchase.outcome] += 1
            if purchase.outcome == SOLD and told[SOLD] == SOLD_BEFORE:
                killed.append(await owner_of(dsn, "inventory", SKU))
                os.kill(killed[0], signal.SIGKILL)

        purchases = await sell(shop, kill_in_the_middle)

        assert Counter(purchase.outcome for purchase in purchases) == {SOLD: 200, REFUSED: 800}
        assert {purchase.answer.status for purchase in purchases} <= {200, 201}
        assert await answered_otherwise(shop, purchases) == []
        assert set(shop.seen) <= {200, 201, 409, 503}
        assert len(killed) == 1
        assert set(killed) <= before
        await settled(server, dsn, REPLICAS, set(killed))
        await _check_books(dsn)
        assert await shop.level(SKU) == (0, 0)
        assert await server.stop() == 0


async def _check_books(dsn: str) -> None:
    """At rest everything that is stored is right, and the gateway was asked for the money of 200 buyers only."""
    connection = await asyncpg.connect(dsn)
    try:
        assert await faults_at_rest(connection, {SKU: PIECES}) == []
        assert await gateway_calls(connection) == {("authorise", "ok"): 200, ("capture", "ok"): 200}
    finally:
        await connection.close()
