from datetime import timedelta
from typing import Any

import pytest

from tests.web.world import Client, World, problem
from ultramarket.messages.cart import AddLine, PatchCart
from ultramarket.messages.common import Sealed
from ultramarket.messages.product import ArchiveProduct

ADDRESS = {"name": "Ada", "line1": "1 Main St", "city": "Springfield", "postal_code": "62701", "country": "US"}


async def test_a_cart_is_made_with_the_channels_currency(client: Client) -> None:
    answer = await client.post("/api/v1/carts")
    cart = await answer.json()
    assert (answer.status, answer.headers["Location"]) == (201, f"/api/v1/carts/{cart['id']}")
    assert (cart["currency"], cart["channel"], cart["lines"], cart["version"]) == ("USD", "default", [], 1)
    assert answer.headers["ETag"] == '"1"'
    assert answer.headers["X-Consistency"] == "cart.07@1"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({"currency": "XXX"}, "/currency"), ({"currency": "eur"}, "/currency"), ({"channel": "moon"}, "/channel")],
)
async def test_a_cart_needs_a_currency_and_a_channel_that_exist(
    client: Client, body: dict[str, str], pointer: str
) -> None:
    document = await problem(await client.post("/api/v1/carts", json=body), 422, "invalid")
    assert document["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_an_unknown_cart_is_not_found(client: Client, method: str) -> None:
    answer = await client.request(method, "/api/v1/carts/unknown", json={} if method == "PATCH" else None)
    await problem(answer, 404, "not_found")


async def test_a_line_takes_the_quote_of_the_carts_currency(client: Client, world: World) -> None:
    await world.product()
    cart = await (await client.post("/api/v1/carts", json={"currency": "EUR"})).json()
    answer = await client.post(f"/api/v1/carts/{cart['id']}/lines", json={"sku": "TOTE", "quantity": 3})
    (line,) = (await answer.json())["lines"]
    assert (line["title"], line["unit_price"]) == ("Tote TOTE", {"amount": "11.90", "currency": "EUR"})
    assert line["total"] == {"amount": "35.70", "currency": "EUR"}
    _, _, command, _, _ = world.actors.asked[-1]
    assert isinstance(command, AddLine)
    assert command.quote.locked_until == world.actors.now() + timedelta(seconds=900)


async def test_titles_are_in_the_readers_language(client: Client, cart: dict[str, Any]) -> None:
    for wanted, title in (("de", "Tasche TOTE"), ("de-AT,en;q=0.5", "Tasche TOTE"), ("fr", "Tote TOTE")):
        answer = await client.get(f"/api/v1/carts/{cart['id']}", headers={"Accept-Language": wanted})
        assert (await answer.json())["lines"][0]["title"] == title


async def test_what_is_not_sold_does_not_go_in(client: Client, world: World, cart: dict[str, Any]) -> None:
    await world.product("DRAFT", status="draft")
    for sku in ("NOBODY", "DRAFT"):
        document = await problem(
            await client.post(f"/api/v1/carts/{cart['id']}/lines", json={"sku": sku}), 422, "sku_not_found"
        )
        assert document["errors"][0]["pointer"] == "/sku"


async def test_what_has_no_price_in_the_carts_currency_does_not_go_in(client: Client, world: World) -> None:
    await world.product()
    cart = await (await client.post("/api/v1/carts", json={"currency": "JPY"})).json()
    answer = await client.post(f"/api/v1/carts/{cart['id']}/lines", json={"sku": "TOTE"})
    await problem(answer, 422, "price_missing")


async def test_a_sku_that_moved_to_another_product_is_found_there(
    client: Client, world: World, cart: dict[str, Any]
) -> None:
    await client.patch(
        "/api/v1/products/product-TOTE",
        json={"variants": [{"sku": "OTHER", "price": {"amount": "1", "currency": "USD"}}]},
        headers={"Authorization": "Bearer staff-key-of-the-tests"},
    )
    answer = await client.post(f"/api/v1/carts/{cart['id']}/lines", json={"sku": "TOTE"})
    await problem(answer, 422, "sku_not_found")
    await world.product("TOTE", id="product-new", handle="new-home")
    answer = await client.post(f"/api/v1/carts/{cart['id']}/lines", json={"sku": "TOTE"})
    assert (await answer.json())["lines"][0]["product"] == "product-new"


@pytest.mark.parametrize("by", ["sku", "id"])
async def test_a_line_is_set_and_removed_by_its_sku_or_id(client: Client, cart: dict[str, Any], by: str) -> None:
    url = f"/api/v1/carts/{cart['id']}/lines/{cart['lines'][0][by]}"
    assert (await (await client.patch(url, json={"quantity": 5})).json())["lines"][0]["quantity"] == 5
    assert (await (await client.delete(url)).json())["lines"] == []
    await problem(await client.patch(url, json={"quantity": 1}), 404, "line_not_found")
    await problem(await client.delete(url), 404, "line_not_found")


async def test_quantity_zero_removes_a_line(client: Client, cart: dict[str, Any]) -> None:
    answer = await client.patch(f"/api/v1/carts/{cart['id']}/lines/TOTE", json={"quantity": 0})
    assert (await answer.json())["lines"] == []


async def test_a_line_of_a_product_that_left_keeps_its_quote(
    client: Client, world: World, cart: dict[str, Any]
) -> None:
    await world.actors.ask("product", "product-TOTE", ArchiveProduct())
    answer = await client.patch(f"/api/v1/carts/{cart['id']}/lines/TOTE", json={"quantity": 1})
    assert (await answer.json())["lines"][0]["unit_price"]["amount"] == "12.90"


async def test_personal_fields_go_to_the_actor_sealed(client: Client, world: World) -> None:
    cart = await (await client.post("/api/v1/carts")).json()
    patch = {"email": "ada@example.com", "billing_address": {**ADDRESS, "phone": "+1 555", "region": "IL"}}
    answer = await client.patch(f"/api/v1/carts/{cart['id']}", json=patch)
    assert (await answer.json())["billing_address"] == {**ADDRESS, "line2": None, "phone": "+1 555", "region": "IL"}
    _, _, command, _, _ = world.actors.asked[-1]
    assert isinstance(command, PatchCart)
    assert command.email == Sealed(f"cart:{cart['id']}", "ada@example.com")
    assert command.billing_address is not None
    assert isinstance(command.billing_address.name, Sealed)
    assert command.billing_address.postal_prefix == "627"


async def test_null_clears_and_what_is_not_sent_stays(client: Client, cart: dict[str, Any]) -> None:
    answer = await client.patch(f"/api/v1/carts/{cart['id']}", json={"email": None})
    found = await answer.json()
    assert (found["email"], found["shipping_method"]) == (None, "standard")


@pytest.mark.parametrize(
    ("patch", "code", "pointer"),
    [
        ({"email": "ada"}, "invalid", "/email"),
        ({"email": "ada@example"}, "invalid", "/email"),
        ({"email": "a b@example.com"}, "invalid", "/email"),
        ({"email": "a@" + "b" * 250 + ".com"}, "invalid", "/email"),
        ({"email": 5}, "invalid", "/email"),
        ({"shipping_address": {**ADDRESS, "country": "XX"}}, "invalid", "/shipping_address/country"),
        ({"shipping_address": {**ADDRESS, "country": "us"}}, "invalid", "/shipping_address/country"),
        ({"shipping_address": {**ADDRESS, "name": "  "}}, "invalid", "/shipping_address/name"),
        ({"shipping_address": {**ADDRESS, "name": "Ada\nL."}}, "invalid", "/shipping_address/name"),
        ({"billing_address": {**ADDRESS, "phone": "1\x1b2"}}, "invalid", "/billing_address/phone"),
        ({"shipping_address": {**ADDRESS, "city": "x" * 201}}, "invalid", "/shipping_address/city"),
        ({"shipping_address": {"name": "Ada"}}, "invalid", "/shipping_address/line1"),
        ({"billing_address": {**ADDRESS, "planet": "Mars"}}, "invalid", "/billing_address/planet"),
        ({"shipping_method": "teleport"}, "shipping_method_unknown", "/shipping_method"),
        ({"coupons": ["SAVE"]}, "coupon_unknown", "/coupons/0"),
        ({"colour": "red"}, "invalid", "/colour"),
    ],
)
async def test_a_patch_that_can_not_be_is_refused(
    client: Client, cart: dict[str, Any], patch: dict[str, Any], code: str, pointer: str
) -> None:
    document = await problem(await client.patch(f"/api/v1/carts/{cart['id']}", json=patch), 422, code)
    assert document["errors"][0]["pointer"] == pointer


async def test_no_coupons_are_accepted(client: Client, cart: dict[str, Any]) -> None:
    assert (await client.patch(f"/api/v1/carts/{cart['id']}", json={"coupons": []})).status == 200


@pytest.mark.parametrize(
    ("given", "status"), [('"{}"', 200), ("*", 200), ('"1"', 412), ('W/"{}"', 412), ('"not-a-version"', 412)]
)
async def test_if_match_is_decided_by_the_cart(client: Client, cart: dict[str, Any], given: str, status: int) -> None:
    headers = {"If-Match": given.format(cart["version"])}
    answer = await client.patch(f"/api/v1/carts/{cart['id']}", json={"email": "b@example.com"}, headers=headers)
    assert answer.status == status
    if status == 412:
        await problem(answer, 412, "version_mismatch")


@pytest.mark.parametrize("given", ["7", "", '"7', '"7", "8"', "W/7"])
async def test_if_match_that_is_no_etag_is_refused(client: Client, cart: dict[str, Any], given: str) -> None:
    answer = await client.delete(f"/api/v1/carts/{cart['id']}/lines/TOTE", headers={"If-Match": given})
    await problem(answer, 400, "malformed_header")


@pytest.mark.parametrize(
    ("given", "status"), [('"{}"', 304), ('W/"{}"', 304), ('"1", "{}"', 304), ("*", 304), ('"1"', 200), ("x", 200)]
)
async def test_a_cart_that_is_known_is_not_sent_again(
    client: Client, cart: dict[str, Any], given: str, status: int
) -> None:
    headers = {"If-None-Match": given.format(cart["version"])}
    answer = await client.get(f"/api/v1/carts/{cart['id']}", headers=headers)
    assert (answer.status, answer.headers["ETag"]) == (status, f'"{cart["version"]}"')
