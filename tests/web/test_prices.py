import asyncio
from typing import Any

from tests.web.fakes import UNAVAILABLE
from tests.web.world import STAFF, Client, World, problem
from ultramarket.messages.product import SetPrices

URL = "/api/v1/products/prices"


def usd(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "USD"}


def item(sku: str, amount: str = "9.90", **more: Any) -> dict[str, Any]:
    return {"sku": sku, "prices": {"USD": usd(amount)}, **more}


async def sent(client: Client, *items: Any, key: str | None = None) -> list[dict[str, Any]]:
    headers = {**STAFF, **({"Idempotency-Key": key} if key else {})}
    answer = await client.post(URL, json={"items": items}, headers=headers)
    assert answer.status == 200, await answer.text()
    found: list[dict[str, Any]] = (await answer.json())["items"]
    return found


async def test_each_item_has_a_result_of_its_own_in_its_place(client: Client, world: World) -> None:
    for sku in ("A", "B", "C"):
        await world.product(sku)
    results = await sent(client, item("A"), item("NONE"), item("B", "9.999"), item("C", "12.90"))
    assert [(one["sku"], one["status"], one["version"], one["changed"]) for one in results] == [
        ("A", 200, 2, True),
        ("NONE", 422, None, False),
        ("B", 422, None, False),
        ("C", 200, 1, False),
    ]
    assert [one["consistency"] for one in results] == ["product.07@2", None, None, None]
    assert [one["problem"] and one["problem"]["code"] for one in results] == [None, "sku_not_found", "invalid", None]
    assert results[2]["problem"]["errors"][0]["pointer"] == "/items/2"
    assert results[2]["problem"]["instance"].startswith("urn:request:")
    shown = await (await client.get("/api/v1/products/product-A")).json()
    assert shown["variants"][0]["price"] == usd("9.90")
    assert shown["variants"][0]["prices"]["EUR"] == {"amount": "11.90", "currency": "EUR"}


async def test_a_price_to_compare_with_is_set_kept_and_cleared(client: Client, world: World) -> None:
    await world.product("A")
    for sent_price, shown_price in (({"compare_at_price": usd("15.00")}, usd("15.00")), ({}, usd("15.00"))):
        assert [one["status"] for one in await sent(client, item("A", "10.00", **sent_price))] == [200]
        shown = await (await client.get("/api/v1/products/product-A")).json()
        assert shown["variants"][0]["compare_at_price"] == shown_price
    await sent(client, {"sku": "A", "compare_at_price": None})
    assert (await (await client.get("/api/v1/products/product-A")).json())["variants"][0]["compare_at_price"] is None


async def test_a_price_under_another_currency_is_the_items_own_problem(client: Client, world: World) -> None:
    await world.product("A")
    (result,) = await sent(client, {"sku": "A", "prices": {"EUR": usd("1.00")}})
    assert (result["status"], result["problem"]["code"]) == (422, "invalid")
    (result,) = await sent(client, {"sku": "A", "compare_at_price": {"amount": "1.00", "currency": "KWD"}})
    assert (result["status"], result["problem"]["errors"][0]["pointer"]) == (422, "/items/0")


async def test_what_is_wrong_with_the_whole_refuses_the_whole(client: Client, world: World) -> None:
    await world.product("A")
    for items in ([], [item("A")] * 2, [item(f"S{n}") for n in range(501)], [{"sku": "A", "price": usd("1.00")}]):
        await problem(await client.post(URL, json={"items": items}, headers=STAFF), 422, "invalid")
    await problem(await client.post(URL, json={"items": [item("A")]}), 401, "credentials_required")
    assert not any(isinstance(asked[2], SetPrices) for asked in world.actors.asked)


async def test_five_hundred_can_be_set_at_once(client: Client, world: World) -> None:
    for n in range(500):
        await world.product(f"S{n}", stock=0)
    results = await sent(client, *(item(f"S{n}") for n in range(500)))
    assert [(one["sku"], one["status"]) for one in results] == [(f"S{n}", 200) for n in range(500)]


async def test_the_same_key_and_body_set_nothing_twice(client: Client, world: World) -> None:
    await world.product("A")
    first = await sent(client, item("A"), item("NONE"), key="k")
    await sent(client, item("A", "20.00"))
    assert await sent(client, item("A"), item("NONE"), key="k") == first
    shown = await (await client.get("/api/v1/products/product-A")).json()
    assert shown["variants"][0]["price"] == usd("20.00")
    other = await client.post(URL, json={"items": [item("A", "1.00")]}, headers={**STAFF, "Idempotency-Key": "k"})
    await problem(other, 422, "idempotency_key_reused")


async def test_a_repeat_does_what_could_not_be_done_and_nothing_again(client: Client, world: World) -> None:
    await world.product("A")
    await world.product("B")

    async def fail_from_now_on() -> None:
        world.actors.failing["ask"] = UNAVAILABLE

    world.actors.before_ask = fail_from_now_on
    first = await sent(client, item("A"), item("B"), key="k")
    assert [(one["status"], one["problem"] and one["problem"]["code"]) for one in first] == [
        (200, None),
        (503, "mailbox_full"),
    ]
    world.actors.failing.clear()
    again = await sent(client, item("A"), item("B"), key="k")
    assert [(one["sku"], one["status"], one["version"]) for one in again] == [("A", 200, 2), ("B", 200, 2)]
    done = [asked[2].sku for asked in world.actors.asked if isinstance(asked[2], SetPrices)]
    assert done == ["A", "B"]


async def test_two_of_the_same_key_at_the_same_time_are_one(client: Client, world: World) -> None:
    await world.product("A")
    world.actors.gate = asyncio.Event()
    first = asyncio.create_task(sent(client, item("A"), key="k"))
    await world.actors.arrived.wait()
    headers = {**STAFF, "Idempotency-Key": "k"}
    await problem(await client.post(URL, json={"items": [item("A")]}, headers=headers), 409, "in_progress")
    world.actors.gate.set()
    assert [one["status"] for one in await first] == [200]


async def test_a_product_may_be_called_prices(client: Client, world: World) -> None:
    await world.product("A", handle="prices")
    assert (await client.get(URL)).status == 200
