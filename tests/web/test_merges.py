"""Merging carts over HTTP: what is told when it works, when it is undone, and when the answer does not come in time."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from tests.web.world import Client, World, problem
from ultramarket.domain.money import Money
from ultramarket.messages.cart import CartLine, Quote
from ultramarket.messages.cart_transfer import GiveLines, TakeLines
from ultramarket.messages.product import ArchiveProduct

KEY = {"Idempotency-Key": "a-key-of-a-guest-0123456789"}


async def guest_cart(client: Client, **lines: int) -> str:
    made = await (await client.post("/api/v1/carts")).json()
    for sku, quantity in lines.items():
        answer = await client.post(f"/api/v1/carts/{made['id']}/lines", json={"sku": sku, "quantity": quantity})
        assert answer.status == 200, await answer.text()
    return str(made["id"])


async def held(client: Client, cart: str) -> dict[str, int]:
    shown = await (await client.get(f"/api/v1/carts/{cart}")).json()
    return {line["sku"]: line["quantity"] for line in shown["lines"]}


async def merge(client: Client, target: str, source: str, headers: dict[str, str] | None = None) -> Any:
    return await client.post(f"/api/v1/carts/{target}/merge", json={"from": source}, headers=headers)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the shop in memory has no event for each of its steps
            await asyncio.sleep(0)


async def order(client: Client, cart: str) -> str:
    """The cart is being paid; gives the order's address."""
    version = (await (await client.get(f"/api/v1/carts/{cart}")).json())["version"]
    payment = {"gateway": "sandbox", "method": "requires_action"}
    body = {"cart_id": cart, "cart_version": version, "payment": payment}
    made = await (await client.post("/api/v1/orders", json=body)).json()
    assert made["status"] == "awaiting_payment", made
    return f"/api/v1/orders/{made['id']}"


async def test_a_merge_adds_up_and_says_what_changed(client: Client, world: World, cart: dict[str, Any]) -> None:
    await world.product("MUG", stock=3)
    await world.product("GONE")
    guest = await guest_cart(client, TOTE=1, MUG=5, GONE=1)
    await world.actors.ask("product", "product-GONE", ArchiveProduct())
    answer = await merge(client, cart["id"], guest)
    merged = await answer.json()
    assert {line["sku"]: line["quantity"] for line in merged["lines"]} == {"TOTE": 3, "MUG": 3}
    assert merged["changes"] == [
        {"sku": "TOTE", "before": 2, "after": 3, "reason": "merged"},
        {"sku": "MUG", "before": 0, "after": 3, "reason": "capped_by_stock"},
        {"sku": "GONE", "before": 0, "after": 0, "reason": "dropped"},
    ]
    assert merged["id"] == cart["id"]
    assert answer.headers["ETag"] == f'"{merged["version"]}"'
    assert await held(client, guest) == {}


async def test_a_cart_in_another_currency_is_quoted_anew(client: Client, world: World) -> None:
    await world.product()
    euros = (await (await client.post("/api/v1/carts", json={"currency": "EUR"})).json())["id"]
    merged = await (await merge(client, euros, await guest_cart(client, TOTE=2))).json()
    assert merged["lines"][0]["total"] == {"amount": "23.80", "currency": "EUR"}


async def test_a_refilled_cart_is_merged_again_and_an_empty_one_changes_nothing(
    client: Client, world: World, cart: dict[str, Any]
) -> None:
    await world.product("MUG")
    guest = await guest_cart(client, TOTE=1)
    assert (await merge(client, cart["id"], guest)).status == 200
    await client.post(f"/api/v1/carts/{guest}/lines", json={"sku": "MUG", "quantity": 2})
    again = await (await merge(client, cart["id"], guest)).json()
    assert again["changes"] == [{"sku": "MUG", "before": 0, "after": 2, "reason": "merged"}]
    nothing = await (await merge(client, cart["id"], guest)).json()
    assert (nothing["changes"], nothing["version"]) == ([], again["version"])
    assert await held(client, cart["id"]) == {"TOTE": 3, "MUG": 2}


async def test_a_repeat_with_the_key_is_the_same_merge(client: Client, cart: dict[str, Any]) -> None:
    guest = await guest_cart(client, TOTE=1)
    first = await merge(client, cart["id"], guest, KEY)
    assert "Idempotency-Replayed" not in first.headers
    await client.post(f"/api/v1/carts/{guest}/lines", json={"sku": "TOTE", "quantity": 4})
    again = await merge(client, cart["id"], guest, KEY)
    assert (again.status, await again.read()) == (200, await first.read())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (await held(client, cart["id"]), await held(client, guest)) == ({"TOTE": 3}, {"TOTE": 4})


async def test_a_key_that_was_used_for_another_source_is_refused(client: Client, cart: dict[str, Any]) -> None:
    first, second = await guest_cart(client, TOTE=1), await guest_cart(client, TOTE=4)
    await merge(client, cart["id"], first, KEY)
    await problem(await merge(client, cart["id"], second, KEY), 422, "idempotency_key_reused")
    assert await held(client, second) == {"TOTE": 4}


async def test_when_the_answer_is_late_the_same_key_tells_it_later(
    client: Client, world: World, cart: dict[str, Any]
) -> None:
    guest = await guest_cart(client, TOTE=1)
    seconds = world.shop.request_seconds
    with world.actors.pausing():
        object.__setattr__(world.shop, "request_seconds", 0.1)
        for _ in range(2):
            document = await problem(await merge(client, cart["id"], guest, KEY), 503, "deadline_exceeded")
            assert "Repeat it with its key" in document["detail"]
        object.__setattr__(world.shop, "request_seconds", seconds)
        assert (await held(client, cart["id"]), await held(client, guest)) == ({"TOTE": 2}, {})
        await client.post(f"/api/v1/carts/{guest}/lines", json={"sku": "TOTE", "quantity": 4})
    again = await merge(client, cart["id"], guest, KEY)
    merged = await again.json()
    assert merged["changes"] == [{"sku": "TOTE", "before": 2, "after": 3, "reason": "merged"}]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (await held(client, cart["id"]), await held(client, guest)) == ({"TOTE": 3}, {"TOTE": 4})


async def test_a_merge_that_is_undone_is_refused_again_under_its_key(
    client: Client, world: World, cart: dict[str, Any]
) -> None:
    guest = await guest_cart(client, TOTE=1)
    with world.actors.pausing():
        merging = asyncio.create_task(merge(client, cart["id"], guest, KEY))
        await until(lambda: len(world.actors.messages) == 1)
        placing = asyncio.create_task(order(client, cart["id"]))
        await until(lambda: len(world.actors.messages) == 2)
        world.actors.messages.rotate(1)  # the order's freeze goes first
    document = await problem(await merging, 409, "cart_frozen")
    assert document["order"] == await placing
    assert (await held(client, guest), await held(client, cart["id"])) == ({"TOTE": 1}, {"TOTE": 2})
    again = await merge(client, cart["id"], guest, KEY)
    assert again.headers["Idempotency-Replayed"] == "true"
    await problem(again, 409, "cart_frozen")


async def test_the_second_of_two_merges_of_one_cart_waits_for_the_first(
    client: Client, world: World, cart: dict[str, Any]
) -> None:
    guest, other = await guest_cart(client, TOTE=1), await guest_cart(client)
    with world.actors.pausing():
        both = [asyncio.create_task(merge(client, target, guest, KEY)) for target in (cart["id"], other)]
        await until(lambda: sum(isinstance(asked[2], GiveLines) for asked in world.actors.asked) == 2)
    first, second = [await (await answer).json() for answer in both]
    assert sorted([len(first["changes"]), len(second["changes"])]) == [0, 1]
    assert [sum((await held(client, id)).values()) for id in (cart["id"], other)] in ([3, 0], [2, 1])
    assert await held(client, guest) == {}
    again = await (await merge(client, other, guest, KEY)).json()
    assert again == second


async def test_an_end_that_is_forgotten_is_not_made_up(client: Client, world: World, cart: dict[str, Any]) -> None:
    guest = await guest_cart(client, TOTE=1)
    world.actors.failing["keep"] = RuntimeError("the process ends before the answer is kept")
    assert (await merge(client, cart["id"], guest, KEY)).status == 500
    del world.actors.failing["keep"]
    for _ in range(4):
        await client.post(f"/api/v1/carts/{guest}/lines", json={"sku": "TOTE"})
        assert (await merge(client, cart["id"], guest)).status == 200
    document = await problem(await merge(client, cart["id"], guest, KEY), 404, "not_found")
    assert document["detail"] == "This merge ended, but how is not known any more: look at the carts."


async def test_an_old_etag_is_refused_and_nothing_leaves_the_source(client: Client, cart: dict[str, Any]) -> None:
    guest = await guest_cart(client, TOTE=1)
    answer = await merge(client, cart["id"], guest, {"If-Match": '"1"'})
    await problem(answer, 412, "version_mismatch")
    assert await held(client, guest) == {"TOTE": 1}
    assert (await merge(client, cart["id"], guest, {"If-Match": f'"{cart["version"]}"'})).status == 200


async def test_lines_that_do_not_fit_stay_in_the_source(client: Client, world: World, cart: dict[str, Any]) -> None:
    limit = world.shop.rules.limits.max_lines
    quote = Quote(
        sku="TOTE",
        product="product-TOTE",
        product_version=1,
        title={"en": "Tote"},
        price=Money(1290, "USD"),
        locked_until=world.actors.now(),
    )
    lines = tuple(
        CartLine(id=f"line {number}", quote=replace(quote, sku=f"SKU-{number}"), quantity=1)
        for number in range(limit - 1)
    )
    await world.actors.ask("cart", cart["id"], TakeLines(transfer="t", source="nobody", lines=lines))
    await world.product("MUG")
    guest = await guest_cart(client, MUG=1)
    await problem(await merge(client, cart["id"], guest), 422, "too_many_lines")
    assert await held(client, guest) == {"MUG": 1}
    assert len(await held(client, cart["id"])) == limit


async def test_a_cart_that_is_being_paid_is_not_merged(client: Client, cart: dict[str, Any]) -> None:
    address = await order(client, cart["id"])
    other = await guest_cart(client)
    document = await problem(await merge(client, other, cart["id"]), 409, "cart_frozen")
    assert (document["order"], document["errors"][0]["pointer"]) == (address, "/from")
    document = await problem(await merge(client, cart["id"], other), 409, "cart_frozen")
    assert document["order"] == address


async def test_a_cart_is_not_merged_into_itself_nor_with_one_that_is_not_there(
    client: Client, cart: dict[str, Any]
) -> None:
    await problem(await merge(client, cart["id"], cart["id"]), 422, "same_cart")
    document = await problem(await merge(client, cart["id"], "unknown"), 404, "not_found")
    assert document["errors"][0]["pointer"] == "/from"
    await problem(await merge(client, "unknown", cart["id"]), 404, "not_found")


@pytest.mark.parametrize("body", [{}, {"from": ""}, {"from": "x", "to": "y"}, {"from": 5}])
async def test_a_merge_names_its_source_and_nothing_else(
    client: Client, cart: dict[str, Any], body: dict[str, Any]
) -> None:
    await problem(await client.post(f"/api/v1/carts/{cart['id']}/merge", json=body), 422, "invalid")
