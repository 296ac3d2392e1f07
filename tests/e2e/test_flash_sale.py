"""A crowd at one shelf: as many pay as there are pieces, and nobody else is asked for money."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from tests.e2e.server import Server
from tests.e2e.shopper import Shopper

pytestmark = pytest.mark.asyncio(loop_scope="module")

PIECES, BUYERS, AT_ONCE = 200, 1000, 64


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A shop at full speed."""
    async with Server(tmp_path_factory.mktemp("sale") / "data", measured=False) as server:
        yield server


async def test_200_pieces_are_sold_to_200_of_1000_buyers_and_the_others_are_refused_before_paying(
    shop: Shopper, rows: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await shop.stock("FLASH", PIECES)
    outcomes: Counter[tuple[int, str, str, str]] = Counter()
    buyers = iter(range(BUYERS))

    async def buy() -> None:
        for _ in buyers:
            answer = await shop.order(await shop.filled_cart("FLASH"), headers={"Prefer": "wait=10"})
            order = answer.json
            reason = order["reason"]["code"] if order["reason"] else ""
            outcomes[answer.status, order["status"], order["payment_status"], reason] += 1

    await asyncio.gather(*(buy() for _ in range(AT_ONCE)))

    assert outcomes == {(201, "open", "paid", ""): 200, (201, "rejected", "none", "out_of_stock"): 800}
    assert not [status for status in shop.seen if status >= 500]
    async with asyncio.timeout(30):
        while await rows.fetchval("select count(*) from outbox"):  # noqa: ASYNC110 - another process empties it
            await asyncio.sleep(0.05)
    assert await shop.level("FLASH") == (0, 0)
    calls = await rows.fetch("select operation, outcome, count(distinct payment) n from sandbox.call group by 1, 2")
    assert {tuple(row) for row in calls} == {("authorise", "ok", 200), ("capture", "ok", 200)}
