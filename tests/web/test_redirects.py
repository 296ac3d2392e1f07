import pytest

from tests.web.world import STAFF, Client, World, problem
from ultramarket.messages.product import ChangeProduct
from ultramarket.views.redirects import FoundRedirect

URL = "/api/v1/redirects"


async def test_a_redirect_is_added_shown_and_removed(client: Client) -> None:
    headers = {**STAFF, "Idempotency-Key": "one"}
    answer = await client.post(URL, json={"from": "/old%20shop/caf%C3%A9", "to": "/cafe"}, headers=headers)
    await problem(answer, 422, "invalid")
    answer = await client.post(URL, json={"from": "/old/caf%C3%A9", "to": "/cafe"}, headers=STAFF)
    assert answer.status == 201, await answer.text()
    redirect = await answer.json()
    assert (redirect["from"], redirect["to"], redirect["active"]) == ("/old/café", "/cafe", True)
    address = answer.headers["Location"]
    shown = await client.get(address, headers=STAFF)
    assert await shown.json() == redirect
    same = await client.get(address, headers={**STAFF, "If-None-Match": shown.headers["ETag"]})
    assert same.status == 304
    other = await client.post(URL, json={"from": "/old/café", "to": "/other"}, headers=STAFF)
    await problem(other, 409, "taken")
    await problem(await client.delete(address, headers={**STAFF, "If-Match": '"7"'}), 412, "version_mismatch")
    removed = await client.delete(address, headers=STAFF)
    assert (await removed.json())["active"] is False
    await problem(await client.delete(address, headers=STAFF), 404, "not_found")


async def test_redirects_are_listed_for_staff(client: Client, world: World) -> None:
    world.redirects.items.append(FoundRedirect(id="x", source="/a", target="/b", created_at=world.actors.now()))
    answer = await client.get(f"{URL}?path=/a", headers=STAFF)
    assert (await answer.json())["items"] == [
        {"id": "x", "from": "/a", "to": "/b", "created_at": "2026-03-01T12:00:00Z"}
    ]
    assert world.redirects.asked[-1].source == "/a"
    await problem(await client.get(f"{URL}?cursor=x", headers=STAFF), 400, "malformed_cursor")


async def test_redirects_are_for_staff(client: Client) -> None:
    await problem(await client.get(URL), 401, "credentials_required")
    await problem(await client.post(URL, json={"from": "/a", "to": "/b"}), 401, "credentials_required")
    await problem(await client.get(f"{URL}/x", headers=STAFF), 404, "not_found")
    await problem(await client.get(f"{URL}/x"), 401, "credentials_required")
    await problem(await client.delete(f"{URL}/x"), 401, "credentials_required")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_address_where_nothing_is_leads_on(client: Client, world: World, method: str) -> None:
    world.redirects.targets["/alte/töpfe"] = "/töpfe?von=alt&x=%C3%B6"
    answer = await client.request(method, "/alte/töpfe", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (308, "/t%C3%B6pfe?von=alt&x=%C3%B6")
    assert answer.headers["X-Request-Id"]


async def test_a_redirect_hides_nothing_that_is_there(client: Client, world: World) -> None:
    world.redirects.targets |= {"/health/live": "/", "/elsewhere": "/"}
    assert (await client.get("/health/live", allow_redirects=False)).status == 200
    await problem(await client.post("/elsewhere"), 404, "not_found")
    await problem(await client.get("/nowhere"), 404, "not_found")


async def test_the_old_handle_of_a_product_leads_to_the_new_one(client: Client, world: World) -> None:
    id = await world.product(handle="old")
    await world.actors.ask("product", id, ChangeProduct(handle="new"))
    world.redirects.handles["product", "old"] = id
    answer = await client.get("/api/v1/products/old?fields=id", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (308, "/api/v1/products/new?fields=id")
    assert (await answer.json())["handle"] == "new"
    followed = await client.get("/api/v1/products/old?fields=handle")
    assert await followed.json() == {"handle": "new"}
    await world.product("OTHER", handle="old")
    assert (await (await client.get("/api/v1/products/old")).json())["id"] == "product-OTHER"


async def test_the_old_handle_of_a_product_that_nobody_may_see_leads_nowhere(client: Client, world: World) -> None:
    id = await world.product(handle="new", status="draft")
    world.redirects.handles["product", "old"] = id
    await problem(await client.get("/api/v1/products/old"), 404, "not_found")
    answer = await client.get("/api/v1/products/old", headers=STAFF, allow_redirects=False)
    assert answer.status == 308
