import re
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from tests.web.world import STAFF, Client, World, problem
from ultramarket.messages.product import ChangeProduct
from web.routes import LIVE, PAGES, ROUTES

LIST = "/api/v1/products"
SHOP = "https://shop.example"


def templates() -> Iterator[tuple[str, str]]:
    """Every route's path and method."""
    for route in ROUTES:
        yield route.path, route.method
    for page in PAGES:
        if isinstance(page, web.RouteDef):
            yield page.path, page.method
    yield "/static/site.css", "GET"


def addresses() -> dict[str, set[str]]:
    """An address for every route, with the methods of all routes that it leads to."""
    return {
        re.sub("{[a-z]+}", "x", path): {
            method
            for template, method in templates()
            if re.fullmatch(re.sub("{[a-z]+}", "[^/]+", template), re.sub("{[a-z]+}", "x", path))
        }
        for path, _ in templates()
    }


@pytest.mark.parametrize("path", addresses())
async def test_every_address_tells_its_methods_and_refuses_others(client: Client, path: str) -> None:
    methods = addresses()[path]
    headed = {"HEAD"} if "GET" in methods and path != LIVE else set()  # a handshake has no head
    allowed = ", ".join(sorted(methods | {"OPTIONS"} | headed))
    answer = await client.options(path)
    assert (answer.status, answer.headers["Allow"], await answer.read()) == (204, allowed, b"")
    for method in {"PUT", "PATCH", "DELETE"} - methods:
        answer = await client.request(method, path)
        await problem(answer, 405, "method_not_allowed")
        assert answer.headers["Allow"] == allowed


async def test_a_list_that_is_as_it_was_is_not_sent_again(client: Client, world: World) -> None:
    id = await world.product()
    first = await client.get(LIST)
    tag = first.headers["ETag"]
    again = await client.get(LIST, headers={"If-None-Match": tag})
    assert (again.status, again.headers["ETag"], await again.read()) == (304, tag, b"")
    for name in ("Cache-Control", "Vary", "Surrogate-Key"):
        assert again.headers[name] == first.headers[name]
    world.products.items.clear()
    await world.actors.ask("product", id, ChangeProduct(vendor="Acme"), principal="staff")
    changed = await client.get(LIST, headers={"If-None-Match": tag})
    assert (changed.status, changed.headers["ETag"] == tag) == (200, False)


async def test_a_problem_is_never_taken_for_what_the_client_has(client: Client) -> None:
    answer = await client.get("/api/v1/products/none", headers={"If-None-Match": "*"})
    await problem(answer, 404, "not_found")
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_write_is_answered_in_short_where_that_is_asked_for(client: Client, cart: dict[str, Any]) -> None:
    url = f"/api/v1/carts/{cart['id']}"
    headers = {"Prefer": "return=minimal"}
    answer = await client.post(f"{url}/lines", json={"sku": "TOTE"}, headers=headers)
    assert (answer.status, await answer.read()) == (204, b"")
    assert answer.headers["Preference-Applied"] == "return=minimal"
    assert answer.headers["ETag"] == f'"{cart["version"] + 1}"'
    assert answer.headers["X-Consistency"] == f"cart.07@{cart['version'] + 1}"
    assert "Content-Type" not in answer.headers
    for given in ("return=representation", "wait=1", 'return="maximal"'):
        answer = await client.post(f"{url}/lines", json={"sku": "TOTE"}, headers={"Prefer": given})
        assert (answer.status, "Preference-Applied" in answer.headers) == (200, False)
        assert (await answer.json())["id"] == cart["id"]


async def test_what_was_made_is_told_by_its_address_alone(client: Client) -> None:
    answer = await client.post("/api/v1/carts", headers={"Prefer": "wait=1, return=minimal"})
    assert (answer.status, await answer.read()) == (201, b"")
    assert (await client.get(answer.headers["Location"])).status == 200


async def test_a_repeat_may_ask_for_the_whole_answer(client: Client) -> None:
    headers = {"Idempotency-Key": "a-key-of-at-least-22-characters"}
    short = await client.post("/api/v1/carts", headers={**headers, "Prefer": "return=minimal"})
    whole = await client.post("/api/v1/carts", headers=headers)
    assert (whole.status, whole.headers["Idempotency-Replayed"]) == (201, "true")
    assert (await whole.json())["id"] == short.headers["Location"].rpartition("/")[2]
    again = await client.post("/api/v1/carts", headers={**headers, "Prefer": "return=minimal"})
    assert (again.status, again.headers["Idempotency-Replayed"], await again.read()) == (201, "true", b"")


async def test_a_refused_write_is_a_whole_problem_all_the_same(client: Client) -> None:
    answer = await client.post("/api/v1/carts/none/lines", json={"sku": "X"}, headers={"Prefer": "return=minimal"})
    document = await problem(answer, 404, "not_found")
    assert document["detail"]


@pytest.fixture
def open_to_shop(world: World) -> None:
    object.__setattr__(world.shop, "allowed_origins", frozenset({SHOP}))


@pytest.mark.usefixtures("open_to_shop")
async def test_a_page_of_an_allowed_origin_may_ask_and_read(client: Client, cart: dict[str, Any]) -> None:
    headers = {
        "Origin": SHOP,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "content-type,if-match",
    }
    url = f"/api/v1/carts/{cart['id']}"
    preflight = await client.options(url, headers=headers)
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == SHOP
    assert preflight.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS, PATCH"
    allowed = {name.strip().lower() for name in preflight.headers["Access-Control-Allow-Headers"].split(",")}
    assert allowed >= {"content-type", "if-match", "idempotency-key", "prefer", "authorization"}
    assert preflight.headers["Access-Control-Max-Age"] == "600"
    answer = await client.get(url, headers={"Origin": SHOP})
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP
    assert "Origin" in answer.headers["Vary"]
    assert {"ETag", "X-Consistency", "Location"} <= set(answer.headers["Access-Control-Expose-Headers"].split(", "))
    refused = await client.get("/api/v1/carts/none", headers={"Origin": SHOP})
    assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (404, SHOP)


@pytest.mark.usefixtures("open_to_shop")
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://shop.example.evil.example", SHOP.upper()])
async def test_a_page_of_another_origin_may_not(client: Client, origin: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    for answer in (await client.options(LIST, headers=headers), await client.get(LIST, headers=headers)):
        assert [name for name in answer.headers if name.startswith("Access-Control-")] == []


async def test_without_the_setting_no_page_elsewhere_may_read(client: Client) -> None:
    answer = await client.get(LIST, headers={"Origin": SHOP})
    assert (answer.status, "Access-Control-Allow-Origin" in answer.headers) == (200, False)


async def test_fields_leave_out_what_takes_long_and_show_the_rest_as_it_is(client: Client, world: World) -> None:
    await world.product()
    whole = (await (await client.get(LIST)).json())["items"][0]
    for fields in ("id", "title,variants.sku", "variants.price.amount,seo", "description,in_stock", "media,options"):
        part = (await (await client.get(f"{LIST}?fields={fields}")).json())["items"][0]
        names = [field.partition(".")[0] for field in fields.split(",")]
        assert list(part) == names
        for name in names:
            if "." not in fields or name == "seo":
                assert part[name] == whole[name]
    part = (await (await client.get(f"{LIST}?fields=variants.sku,variants.prices.USD")).json())["items"][0]
    assert part == {"variants": [{"sku": "TOTE", "prices": {"USD": {"amount": "12.90", "currency": "USD"}}}]}
    orders = await client.get("/api/v1/orders?fields=id", headers=STAFF)
    assert orders.status == 200
