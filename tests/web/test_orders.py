import asyncio
from typing import Any

import pytest

from tests.web.world import STAFF, Client, World, problem

URL = "/api/v1/orders"


def body(cart: dict[str, Any], method: str = "ok", **changes: Any) -> dict[str, Any]:
    order = {"cart_id": cart["id"], "cart_version": cart["version"]}
    return {**order, "payment": {"gateway": "sandbox", "method": method}, **changes}


async def test_an_order_of_a_full_cart_is_paid(client: Client, cart: dict[str, Any]) -> None:
    answer = await client.post(URL, json=body(cart))
    order = await answer.json()
    assert (answer.status, order["status"], order["payment_status"]) == (201, "open", "paid")
    assert answer.headers["Location"] == f"{URL}/{order['id']}"
    assert order["totals"]["total"] == {"amount": "25.80", "currency": "USD"}
    assert await (await client.get(f"{URL}/{order['id']}")).json() == order


async def test_the_same_cart_version_again_is_the_same_order(client: Client, cart: dict[str, Any]) -> None:
    first = await (await client.post(URL, json=body(cart))).json()
    answer = await client.post(URL, json=body(cart, "declined"))
    assert (answer.status, (await answer.json())["id"]) == (200, first["id"])


async def test_many_at_once_make_one_order(client: Client, cart: dict[str, Any]) -> None:
    answers = await asyncio.gather(*(client.post(URL, json=body(cart)) for _ in range(20)))
    assert sorted(answer.status for answer in answers) == [200] * 19 + [201]
    assert len({(await answer.json())["id"] for answer in answers}) == 1
    assert (await (await client.get("/api/v1/inventory/TOTE")).json())["on_hand"] == 8


async def test_a_key_gives_the_first_answer_again(client: Client, cart: dict[str, Any]) -> None:
    key = {"Idempotency-Key": "order-1"}
    first = await client.post(URL, json=body(cart), headers=key)
    again = await client.post(URL, json=body(cart), headers=key)
    assert (again.status, await again.read()) == (201, await first.read())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    other = body(cart, "declined")
    await problem(await client.post(URL, json=other, headers=key), 422, "idempotency_key_reused")


async def test_two_guests_may_use_the_same_key(client: Client, cart: dict[str, Any]) -> None:
    key = {"Idempotency-Key": "order-1"}
    await client.post(URL, json=body(cart), headers=key)
    other = await (await client.post("/api/v1/carts")).json()
    answer = await client.post(URL, json=body(other), headers=key)
    assert (answer.status, (await answer.json())["reason"]["code"]) == (201, "cart_empty")


async def test_a_declined_payment_gives_a_rejected_order(client: Client, cart: dict[str, Any]) -> None:
    answer = await client.post(URL, json=body(cart, "declined"))
    order = await answer.json()
    assert (answer.status, order["status"], order["reason"]["code"]) == (201, "rejected", "payment_declined")


async def test_a_stale_cart_version_is_refused(client: Client, cart: dict[str, Any]) -> None:
    answer = await client.post(URL, json=body(cart, cart_version=cart["version"] - 1))
    await problem(answer, 409, "cart_changed")


async def test_a_cart_that_is_being_paid_takes_no_other_order_and_no_change(
    client: Client, cart: dict[str, Any]
) -> None:
    order = await (await client.post(URL, json=body(cart, "requires_action"))).json()
    assert order["status"] == "awaiting_payment"
    frozen = await (await client.get(f"/api/v1/carts/{cart['id']}")).json()
    second = await problem(await client.post(URL, json=body(frozen)), 409, "cart_frozen")
    change = await client.post(f"/api/v1/carts/{cart['id']}/lines", json={"sku": "TOTE"})
    third = await problem(change, 409, "cart_frozen")
    assert second["order"] == third["order"] == f"{URL}/{order['id']}"


async def test_a_cancelled_order_opens_its_cart(client: Client, cart: dict[str, Any]) -> None:
    order = await (await client.post(URL, json=body(cart, "requires_action"))).json()
    answer = await client.post(f"{URL}/{order['id']}/cancel", json={"reason": "changed my mind"})
    assert (answer.status, (await answer.json())["status"]) == (200, "cancelled")
    assert (await (await client.get(f"/api/v1/carts/{cart['id']}")).json())["status"] == "open"


async def test_an_order_that_is_not_done_in_time_is_shown_pending(
    client: Client, world: World, cart: dict[str, Any]
) -> None:
    with world.actors.pausing():
        answer = await client.post(URL, json=body(cart), headers={"Prefer": "wait=0"})
        assert (answer.status, (await answer.json())["status"]) == (201, "pending")


async def test_an_order_waits_until_it_stands(client: Client, world: World, cart: dict[str, Any]) -> None:
    with world.actors.pausing():
        placing = asyncio.create_task(client.post(URL, json=body(cart)))
        await world.actors.watched.wait()
    answer = await placing
    assert (answer.status, (await answer.json())["status"]) == (201, "open")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"cart_id": "unknown"}, 404, "not_found"),
        ({"cart_version": 0}, 422, "invalid"),
        ({"cart_version": 2**60}, 422, "invalid"),
        ({"payment": {"gateway": "paypal", "method": "ok"}}, 422, "gateway_unknown"),
        ({"payment": {"gateway": "sandbox", "method": ""}}, 422, "invalid"),
        ({"payment": {"gateway": "sandbox", "method": "o k"}}, 422, "invalid"),
        ({"payment": {"gateway": "sandbox", "method": "ok\n"}}, 422, "invalid"),
        ({"payment": {"gateway": "sandbox"}}, 422, "invalid"),
        ({"payment": None}, 422, "invalid"),
    ],
)
async def test_an_order_that_can_not_be_is_refused(
    client: Client, cart: dict[str, Any], changes: dict[str, Any], status: int, code: str
) -> None:
    await problem(await client.post(URL, json=body(cart, **changes)), status, code)


@pytest.mark.parametrize("query", ["cursor=broken", "cursor=%F0%9F%98%80"])
async def test_a_broken_cursor_is_refused(client: Client, query: str) -> None:
    await problem(await client.get(f"{URL}?{query}", headers=STAFF), 400, "malformed_cursor")


async def test_an_order_that_is_known_is_not_sent_again(client: Client, cart: dict[str, Any]) -> None:
    made = await client.post(URL, json=body(cart))
    answer = await client.get(made.headers["Location"], headers={"If-None-Match": made.headers["ETag"]})
    assert (answer.status, await answer.read()) == (304, b"")


async def test_an_unknown_order_is_not_found(client: Client) -> None:
    await problem(await client.get(f"{URL}/unknown"), 404, "not_found")
    await problem(await client.post(f"{URL}/unknown/cancel"), 404, "not_found")


async def test_staff_list_orders(client: Client, world: World, cart: dict[str, Any]) -> None:
    order = await (await client.post(URL, json=body(cart))).json()
    shown = await world.actors.read("order", order["id"])
    assert shown is not None
    world.orders.items.append(shown.value)
    url = f"{URL}?status=open&email=ada@example.com&since=2026-03-01T00:00:00Z&fields=id,number"
    answer = await client.get(url, headers=STAFF)
    assert await answer.json() == {"items": [{"id": order["id"], "number": order["number"]}], "next": None}
    (filters,) = world.orders.asked
    assert (filters.status, filters.email, filters.since.isoformat()) == (
        "open",
        "ada@example.com",
        "2026-03-01T00:00:00+00:00",
    )


@pytest.mark.parametrize(
    "query",
    [
        "status=lost",
        "since=yesterday",
        "since=2026-03-01T00:00:00",
        "since=0.5",
        "since=0001-01-01T00:00:00%2B23:59",
        "until=9999-12-31T23:59:59-23:59",
        "until=null",
        "number=",
    ],
)
async def test_a_list_of_orders_that_can_not_be_is_refused(client: Client, query: str) -> None:
    await problem(await client.get(f"{URL}?{query}", headers=STAFF), 422, "invalid_parameter")
