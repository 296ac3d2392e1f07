"""Whole checkouts over HTTP: every way that the sandbox gateway answers, and every way that an order ends."""

import asyncio
from typing import Any

import asyncpg
import pytest

from tests.e2e.shopper import BUYER, STAFF, Shopper

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def books(rows: "asyncpg.Connection[asyncpg.Record]", order: Any) -> tuple[str, int, int, int]:
    """What the gateway has for an order: state, minor units captured and refunded, captures that it made."""
    found = await rows.fetchrow(
        "select state, captured, refunded, (select count(*) from sandbox.call c where c.payment = p.payment "
        "and operation = 'capture' and outcome = 'ok') as captures from sandbox.payment p where payment = $1",
        order["payment"]["id"],
    )
    assert found is not None
    return tuple(found)


@pytest.mark.parametrize("method", ["ok", "slow", "lost_answer", "unavailable"])
async def test_a_method_that_works_in_the_end_is_captured_once(
    shop: Shopper, rows: "asyncpg.Connection[asyncpg.Record]", method: str
) -> None:
    sku = f"WORKS-{method.upper()}"
    await shop.stock(sku, 5, price="12.90")
    cart = await shop.filled_cart(sku, quantity=2)
    answer = await shop.order(cart, method)
    assert answer.status == 201
    assert answer.json["status"] in ("pending", "open")
    order = await shop.until(f"/orders/{answer.json['id']}", status="open")
    assert (order["payment_status"], order["totals"]["total"]["amount"]) == ("paid", "25.80")
    assert await books(rows, order) == ("authorised", 2580, 0, 1)
    payment = await shop.ok("GET", f"/payments/{order['payment']['id']}")
    assert payment["state"] == "captured"
    assert payment["captured"] == {"amount": "25.80", "currency": "USD"}
    cleared = await shop.until(f"/carts/{cart['id']}", status="open", lines=[])
    assert cleared["order"] == order["id"]
    await shop.until(f"/inventory/{sku}", on_hand=3, held=0)


@pytest.mark.parametrize("method", ["declined", "insufficient_funds"])
async def test_a_refused_payment_rejects_the_order_and_opens_the_cart(
    shop: Shopper, rows: "asyncpg.Connection[asyncpg.Record]", method: str
) -> None:
    sku = f"REFUSED-{method.upper()}"
    await shop.stock(sku, 5)
    cart = await shop.filled_cart(sku)
    answer = await shop.order(cart, method)
    order = answer.json
    assert (answer.status, order["status"], order["payment_status"]) == (201, "rejected", "none")
    assert order["reason"]["code"] == "payment_declined"
    assert method in order["reason"]["detail"]
    assert await books(rows, order) == ("refused", 0, 0, 0)
    opened = await shop.until(f"/carts/{cart['id']}", status="open")
    assert [line["sku"] for line in opened["lines"]] == [sku]
    await shop.until(f"/inventory/{sku}", on_hand=5, held=0)
    second = await shop.order(opened)
    assert (second.status, second.json["status"]) == (201, "open")


async def test_a_buyer_who_acts_pays(shop: Shopper, rows: "asyncpg.Connection[asyncpg.Record]") -> None:
    await shop.stock("ACTS", 5)
    answer = await shop.order(await shop.filled_cart("ACTS"), "requires_action")
    order = answer.json
    assert (answer.status, order["status"], order["payment_status"]) == (201, "awaiting_payment", "none")
    action = order["payment"]["action"]
    assert action == f"/api/v1/payments/{order['payment']['id']}/sandbox/authenticate"
    assert await shop.level("ACTS") == (5, 1)
    await shop.ok("POST", action.removeprefix("/api/v1"), {"outcome": "ok"})
    paid = await shop.until(f"/orders/{order['id']}", status="open", payment_status="paid")
    assert paid["payment"]["action"] is None
    assert await books(rows, order) == ("authorised", 1290, 0, 1)
    late = await shop.call("POST", action.removeprefix("/api/v1"), {"outcome": "failed"})
    assert (late.status, late.json["code"]) == (409, "no_action_needed")


async def test_a_buyer_who_fails_to_act_is_declined(shop: Shopper, rows: "asyncpg.Connection[asyncpg.Record]") -> None:
    await shop.stock("FAILS", 5)
    order = (await shop.order(await shop.filled_cart("FAILS"), "requires_action")).json
    payment = f"/payments/{order['payment']['id']}"
    await shop.ok("POST", f"{payment}/sandbox/authenticate", {"outcome": "failed"})
    rejected = await shop.until(f"/orders/{order['id']}", status="rejected")
    assert rejected["reason"]["code"] == "payment_declined"
    assert await books(rows, order) == ("refused", 0, 0, 0)
    await shop.until("/inventory/FAILS", on_hand=5, held=0)


async def test_a_cart_that_is_being_paid_is_frozen_until_its_order_is_cancelled(
    shop: Shopper, rows: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await shop.stock("FROZEN", 5)
    cart = await shop.filled_cart("FROZEN")
    order = (await shop.order(cart, "requires_action")).json
    path = f"/carts/{cart['id']}"
    for method, suffix, body in (
        ("POST", "/lines", {"sku": "FROZEN", "quantity": 1}),
        ("PATCH", "/lines/FROZEN", {"quantity": 3}),
        ("DELETE", "/lines/FROZEN", None),
        ("PATCH", "", BUYER),
    ):
        refused = await shop.call(method, path + suffix, body)
        assert (refused.status, refused.json["code"]) == (409, "cart_frozen")
        assert refused.json["order"] == f"/api/v1/orders/{order['id']}"
    newer = await shop.ok("GET", path)
    second = await shop.order(newer)
    assert (second.status, second.json["code"]) == (409, "cart_frozen")

    cancelled = await shop.ok("POST", f"/orders/{order['id']}/cancel", {"reason": "too slow"})
    assert (cancelled["status"], cancelled["reason"]["detail"]) == ("cancelled", "too slow")
    await shop.until(path, status="open")
    assert (await shop.call("PATCH", f"{path}/lines/FROZEN", {"quantity": 3})).status == 200
    await shop.until("/inventory/FROZEN", on_hand=5, held=0)
    await shop.until(f"/payments/{order['payment']['id']}", state="voided")
    assert await books(rows, order) == ("voided", 0, 0, 0)


async def test_a_paid_order_that_is_cancelled_is_refunded_once_and_restocked(
    shop: Shopper, rows: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await shop.stock("BACK", 5)
    order = (await shop.order(await shop.filled_cart("BACK", quantity=3))).json
    assert order["payment_status"] == "paid"
    path = f"/orders/{order['id']}/cancel"
    answers = await asyncio.gather(*(shop.call("POST", path, {}) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]
    refunded = await shop.until(f"/orders/{order['id']}", status="cancelled", payment_status="refunded")
    assert refunded["refunded"] == {"amount": "38.70", "currency": "USD"}
    assert await books(rows, order) == ("authorised", 3870, 3870, 1)
    await shop.until("/inventory/BACK", on_hand=5, held=0)


async def test_an_order_cancelled_while_the_gateway_is_slow_is_given_back(
    shop: Shopper, rows: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await shop.stock("EARLY", 5)
    pending = await shop.order(await shop.filled_cart("EARLY"), "slow", headers={"Prefer": "wait=1"})
    assert (pending.status, pending.json["status"]) == (201, "pending")
    cancelled = await shop.ok("POST", f"/orders/{pending.json['id']}/cancel", {})
    assert cancelled["status"] == "cancelled"
    await shop.until("/inventory/EARLY", on_hand=5, held=0)
    order = await shop.ok("GET", f"/orders/{pending.json['id']}")
    await shop.until(f"/payments/{order['payment']['id']}", state="voided")
    assert await books(rows, order) == ("voided", 0, 0, 0)


async def test_a_rejected_order_can_not_be_cancelled(shop: Shopper) -> None:
    await shop.stock("OVER", 5)
    order = (await shop.order(await shop.filled_cart("OVER"), "declined")).json
    refused = await shop.call("POST", f"/orders/{order['id']}/cancel", {})
    assert (refused.status, refused.json["code"]) == (409, "order_not_cancellable")


async def test_a_stale_cart_version_makes_no_order(shop: Shopper) -> None:
    await shop.stock("STALE", 5)
    cart = await shop.filled_cart("STALE")
    await shop.ok("PATCH", f"/carts/{cart['id']}/lines/STALE", {"quantity": 2})
    refused = await shop.order(cart)
    assert (refused.status, refused.json["code"]) == (409, "cart_changed")


async def test_a_price_that_moved_within_the_lock_time_is_honoured(shop: Shopper) -> None:
    product = await shop.stock("LOCKED", 5, price="10.00")
    cart = await shop.filled_cart("LOCKED")
    await reprice(shop, product, "15.00")
    order = (await shop.order(cart)).json
    assert (order["status"], order["totals"]["total"]["amount"]) == ("open", "10.00")


async def reprice(shop: Shopper, product: Any, amount: str) -> None:
    """Staff set another price."""
    variants = [{"sku": product["variants"][0]["sku"], "price": {"amount": amount, "currency": "USD"}}]
    await shop.ok("PATCH", f"/products/{product['id']}", {"variants": variants}, headers=STAFF)
