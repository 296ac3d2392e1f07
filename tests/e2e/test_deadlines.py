"""What time does to an order, in a shop whose times are short."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from tests.e2e.server import Server
from tests.e2e.shopper import STAFF, Shopper

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A shop that waits a second for everything."""
    settings = {
        "ULTRAMARKET_CART__QUOTE_LOCK_SECONDS": "1",
        "ULTRAMARKET_ORDER__STEP_SECONDS": "1",
        "ULTRAMARKET_ORDER__ACTION_SECONDS": "1",
        "ULTRAMARKET_ORDER__HOLD_SECONDS": "1",
        "ULTRAMARKET_ORDER__FREEZE_SECONDS": "1",
    }
    async with Server(tmp_path_factory.mktemp("hasty") / "data", settings=settings) as server:
        yield server


async def test_a_buyer_who_never_acts_loses_the_order_and_keeps_the_cart(
    shop: Shopper, rows: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await shop.stock("IDLE", 5)
    cart = await shop.filled_cart("IDLE")
    order = (await shop.order(cart, "requires_action")).json
    expired = await shop.until(f"/orders/{order['id']}", status="rejected", payment_status="none")
    assert expired["reason"]["code"] == "expired"
    payment = order["payment"]["id"]
    await shop.until(f"/payments/{payment}", state="voided")
    late = await shop.call("POST", f"/payments/{payment}/sandbox/authenticate", {"outcome": "ok"})
    assert (late.status, late.json["code"]) == (409, "no_action_needed")
    await shop.until("/inventory/IDLE", on_hand=5, held=0)
    opened = await shop.until(f"/carts/{cart['id']}", status="open")
    assert [line["sku"] for line in opened["lines"]] == ["IDLE"]
    assert await rows.fetchval("select count(*) from sandbox.call where operation = 'capture'") == 0


async def test_an_authorisation_that_comes_too_late_is_voided(
    shop: Shopper, rows: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await shop.stock("LATE", 5)
    answer = await shop.order(await shop.filled_cart("LATE"), "slow")
    order = await shop.until(f"/orders/{answer.json['id']}", status="rejected")
    assert order["reason"]["code"] == "expired"
    await shop.until(f"/payments/{order['payment']['id']}", state="voided")
    found = await rows.fetchrow(
        "select state, captured from sandbox.payment where payment = $1", order["payment"]["id"]
    )
    assert found is not None
    assert tuple(found) == ("voided", 0)
    await shop.until("/inventory/LATE", on_hand=5, held=0)


async def test_a_price_that_moved_after_the_lock_time_is_refused_and_shown_in_the_cart(shop: Shopper) -> None:
    product = await shop.stock("DEARER", 5, price="10.00")
    cart = await shop.filled_cart("DEARER")
    variants = [{"sku": "DEARER", "price": {"amount": "15.00", "currency": "USD"}}]
    await shop.ok("PATCH", f"/products/{product['id']}", {"variants": variants}, headers=STAFF)
    await asyncio.sleep(1.2)  # the lock time itself is what has to pass
    order = (await shop.order(cart)).json
    assert (order["status"], order["payment_status"]) == ("rejected", "none")
    assert order["reason"]["code"] == "price_changed"
    assert order["payment"]["id"] is None
    opened = await shop.until(f"/carts/{cart['id']}", status="open")
    async with asyncio.timeout(20):
        while opened["lines"][0]["unit_price"]["amount"] != "15.00":
            opened = await shop.ok("GET", f"/carts/{cart['id']}")
    second = (await shop.order(opened)).json
    assert (second["status"], second["totals"]["total"]["amount"]) == ("open", "15.00")


async def test_the_shop_stays_at_peace_with_timers_of_a_second(
    shop: Shopper, rows: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    assert (await shop.call("GET", "/health/ready")).status == 200
    async with asyncio.timeout(20):
        while await rows.fetchval("select count(*) from timer where due_at < now() - interval '1 second'"):  # noqa: ASYNC110 - another process empties it
            await asyncio.sleep(0.1)
    assert await rows.fetchval("select count(*) from parked") == 0
