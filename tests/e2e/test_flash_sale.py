"""A crowd at one shelf: as many pay as there are pieces, and nobody else is asked for money."""

from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from tests.e2e.flash_sale import REFUSED, SKU, SOLD, gateway_calls, sell
from tests.e2e.server import Server
from tests.e2e.shopper import Shopper
from tests.faults.invariants import at_rest

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A shop at full speed."""
    async with Server(tmp_path_factory.mktemp("sale") / "data", measured=False) as server:
        yield server


async def test_200_pieces_are_sold_to_200_of_1000_buyers_and_the_others_are_refused_before_paying(
    shop: Shopper, rows: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    purchases = await sell(shop)

    outcomes = Counter((purchase.answer.status, purchase.outcome) for purchase in purchases)
    assert outcomes == {(201, SOLD): 200, (201, REFUSED): 800}
    assert not [status for status in shop.seen if status >= 500]
    await at_rest(rows)
    assert await shop.level(SKU) == (0, 0)
    assert await gateway_calls(rows) == {("authorise", "ok"): 200, ("capture", "ok"): 200}
