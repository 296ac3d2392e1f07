"""Every view is built anew while the shop sells and its staff change things; lists go on, and nothing differs then."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.e2e.server import STAFF_KEY, Server
from tests.e2e.shopper import STAFF, PatientShopper, Shopper, purchase, shopper
from ultramarket.adapters.postgres_search import PostgresSearch
from ultramarket.views.collections import CollectionView
from ultramarket.views.orders import OrderView
from ultramarket.views.redirects import RedirectView
from ultramarket.views.reviews import ReviewView

pytestmark = pytest.mark.asyncio(loop_scope="module")

VIEWS = {
    "products": PostgresSearch.tables,
    "orders": OrderView.tables,
    "redirects": RedirectView.tables,
    "collections": CollectionView.tables,
    "reviews": ReviewView.tables,
}
GOODS = 60
END_SECONDS = 120

Rows = dict[str, list[str]]

_ROWS = "select t::text as text from {table} t order by 1"
_BEHIND = "select exists (select from view_offset o join partition p using (kind, no) where p.tail > o.seq)"
_BEING_BUILT = "select to_regclass('rebuild_products_2.product_card') is not null"


async def contents(rows: Any, view: str) -> Rows:
    """Every row of the view's tables."""
    return {table: [row["text"] for row in await rows.fetch(_ROWS.format(table=table))] for table in VIEWS[view]}


async def caught_up(rows: Any) -> None:
    """Wait until no view is behind."""
    async with asyncio.timeout(END_SECONDS):
        while await rows.fetchval(_BEHIND):  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(0.05)


async def rebuild(running: Server, view: str, *flags: str) -> tuple[int, bytes, bytes]:
    """Run the command; gives its status and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ultramarket.cli", "rebuild", view, "--data-dir", str(running.data_dir), *flags),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(END_SECONDS):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out, err


async def judged(shop: Shopper, sku: str, number: int) -> None:
    """Review a product, and publish every other one."""
    new = {"rating": number % 5 + 1, "author": f"Buyer {number}"}
    review = await shop.ok("POST", f"/products/goods-{sku.lower()}/reviews", new)
    if number % 2:
        await shop.ok("PATCH", f"/reviews/{review['id']}", {"status": "published"}, headers=STAFF)


class Rounds:
    """How many orders were made so far."""

    def __init__(self) -> None:
        self.made = 0
        self._more = asyncio.Condition()

    async def another(self) -> None:
        """One more was made."""
        async with self._more:
            self.made += 1
            self._more.notify_all()

    async def reach(self, number: int) -> None:
        """Wait until that many were made."""
        async with asyncio.timeout(END_SECONDS), self._more:
            await self._more.wait_for(lambda: self.made >= number)


@contextlib.asynccontextmanager
async def busy(shop: Shopper) -> AsyncIterator[Rounds]:
    """Sells and changes things until the block ends."""
    numbers, rounds = count(1), Rounds()

    async def sell() -> None:
        for n in numbers:
            sku = f"REB-{n % GOODS}"
            change = {"title": f"Goods {n}", "tags": [f"t{n % 7}"]}
            await shop.ok("PATCH", f"/products/goods-{sku.lower()}", change, headers=STAFF)
            await judged(shop, sku, n)
            cart = await shop.filled_cart(sku)
            await shop.ok("POST", "/orders", purchase(cart))
            await rounds.another()

    tasks = [asyncio.create_task(sell()) for _ in range(3)]
    try:
        yield rounds
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


async def watched(shop: Shopper, until: "asyncio.Future[Any]") -> int:
    """Read the lists again and again; each is whole. Gives how often."""
    reads = 0
    while not until.done():
        goods = await shop.ok("GET", "/products?limit=100")
        assert len(goods["items"]) == GOODS
        await shop.ok("GET", "/orders?limit=1", headers=STAFF)
        reads += 1
    return reads


@pytest.fixture(scope="module")
def stocked() -> dict[str, bool]:
    """Whether the goods are in."""
    return {}


@pytest_asyncio.fixture(loop_scope="module")
async def goods(running: Server, rows: Any, stocked: dict[str, bool]) -> None:
    """A shop with goods that the list shows."""
    if not stocked:
        async with shopper(running.url, PatientShopper) as staff:
            await asyncio.gather(*(staff.stock(f"REB-{n}", 1_000_000) for n in range(GOODS)))
            await staff.ok("POST", "/redirects", {"from": "/old", "to": "/new"}, headers=STAFF)
            gifts = {"title": "Gifts", "products": ["goods-reb-1"], "published": True}
            await staff.ok("POST", "/collections", gifts, headers=STAFF)
            renamed = await staff.ok("PATCH", "/products/goods-reb-0", {"handle": "renamed"}, headers=STAFF)
            await staff.ok("PATCH", f"/products/{renamed['id']}", {"handle": "goods-reb-0"}, headers=STAFF)
        stocked["in"] = True
    await caught_up(rows)


@pytest.mark.usefixtures("goods")
@pytest.mark.parametrize("view", VIEWS)
async def test_a_view_that_is_built_anew_under_load_holds_what_it_held_and_what_happened_since(
    running: Server, rows: Any, view: str
) -> None:
    async with shopper(running.url, PatientShopper) as shop, busy(shop) as rounds:
        await rounds.reach(GOODS)
        work = asyncio.create_task(rebuild(running, view, "--json"))
        reads = await watched(shop, work)
        code, out, err = await work
        assert code == 0, err
        await rounds.reach(rounds.made + 10)
    done = json.loads(out)
    assert done["view"].startswith(f"{view}.")
    assert done["events"] > 0
    assert done["parked"] == 0
    assert reads > 1
    await caught_up(rows)
    followed = await contents(rows, view)
    assert all(followed.values())
    assert (await rebuild(running, view))[0] == 0
    assert await contents(rows, view) == followed


@pytest.mark.usefixtures("goods")
async def test_a_rebuild_that_is_interrupted_says_so_and_changes_nothing(running: Server, rows: Any) -> None:
    before = await contents(rows, "products")
    blocker = await asyncpg.connect(running.dsn)
    try:
        # Its tables are being read for as long as this lasts, so that it can't end by itself.
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.fetch("select count(*) from product_card")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ultramarket.cli", "rebuild", "products", "--data-dir", str(running.data_dir)),
            stderr=subprocess.PIPE,
        )
        async with asyncio.timeout(END_SECONDS):
            while not await rows.fetchval(_BEING_BUILT):  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(0.02)
            process.send_signal(signal.SIGINT)
            _, err = await process.communicate()
        await transaction.rollback()
    finally:
        await blocker.close()
    assert (process.returncode, b"nothing was changed" in err) == (130, True), err
    assert not await rows.fetchval(_BEING_BUILT)
    assert await contents(rows, "products") == before


async def test_a_view_that_there_is_not_is_said_with_those_that_there_are(running: Server) -> None:
    code, _, err = await rebuild(running, "invoices")
    assert code == 2
    assert b"There is no view 'invoices': there are collections, orders, products, redirects, reviews." in err
    assert STAFF_KEY.encode() not in err
