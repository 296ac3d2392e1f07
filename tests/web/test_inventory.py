from typing import Any

import pytest

from tests.web.world import STAFF, Client, World, problem

URL = "/api/v1/inventory/TOTE"


async def test_a_sku_that_was_never_stocked_has_zeros(client: Client, world: World) -> None:
    await world.product(stock=0)
    answer = await client.get(URL)
    assert await answer.json() == {"sku": "TOTE", "on_hand": 0, "held": 0, "available": 0, "version": 0}
    assert answer.headers["ETag"] == '"0"'


async def test_the_stock_of_what_is_not_sold_is_for_staff(client: Client, world: World) -> None:
    await world.product(status="draft")
    await problem(await client.get(URL), 404, "not_found")
    assert (await (await client.get(URL, headers=STAFF)).json())["available"] == 10


async def test_a_sku_that_no_product_has_is_not_found(client: Client) -> None:
    await problem(await client.get(URL), 404, "not_found")
    body = {"delta": 1, "reason": "received"}
    await problem(await client.post(f"{URL}/adjustments", json=body, headers=STAFF), 404, "not_found")


async def test_staff_adjust_the_stock(client: Client, world: World) -> None:
    await world.product(stock=0)
    body = {"delta": 5, "reason": "received"}
    await problem(await client.post(f"{URL}/adjustments", json=body), 401, "credentials_required")
    answer = await client.post(f"{URL}/adjustments", json=body, headers=STAFF)
    assert await answer.json() == {"sku": "TOTE", "on_hand": 5, "held": 0, "available": 5, "version": 1}
    assert (answer.headers["ETag"], answer.headers["X-Consistency"]) == ('"1"', "inventory.07@1")
    assert await (await client.get(URL)).json() == await answer.json()


@pytest.mark.parametrize(
    "body",
    [
        {"delta": 0, "reason": "r"},
        {"delta": 10**10, "reason": "r"},
        {"delta": 1.5, "reason": "r"},
        {"delta": 1},
        {"delta": 1, "reason": ""},
        {"delta": 1, "reason": "re\nceived"},
        {"delta": 1, "reason": "received", "location": "ma\tin"},
    ],
)
async def test_an_adjustment_that_can_not_be_is_refused(client: Client, world: World, body: dict[str, Any]) -> None:
    await world.product()
    await problem(await client.post(f"{URL}/adjustments", json=body, headers=STAFF), 422, "invalid")


async def test_more_than_is_there_is_not_taken(client: Client, world: World) -> None:
    await world.product(stock=3)
    answer = await client.post(f"{URL}/adjustments", json={"delta": -4, "reason": "lost"}, headers=STAFF)
    await problem(answer, 409, "negative_stock")


async def test_if_match_guards_an_adjustment(client: Client, world: World) -> None:
    await world.product(stock=3)
    body = {"delta": 1, "reason": "found"}
    stale = await client.post(f"{URL}/adjustments", json=body, headers={**STAFF, "If-Match": '"9"'})
    await problem(stale, 412, "version_mismatch")
    assert (await client.post(f"{URL}/adjustments", json=body, headers={**STAFF, "If-Match": '"1"'})).status == 200
