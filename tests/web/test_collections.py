from typing import Any

import pytest

from tests.web.fakes import UNAVAILABLE
from tests.web.world import STAFF, Client, World, problem
from ultramarket.messages.collection import ChangeCollection, CreateCollection

URL = "/api/v1/collections"
CHEAP = {"field": "price", "relation": "below", "value": "10.00"}


async def made(client: Client, title: str, **fields: Any) -> dict[str, Any]:
    answer = await client.post(URL, json={"title": title, "published": True, **fields}, headers=STAFF)
    assert answer.status == 201, await answer.text()
    collection: dict[str, Any] = await answer.json()
    return collection


async def test_a_collection_is_made_by_hand(client: Client, world: World) -> None:
    first, second = await world.product("A"), await world.product("B")
    gifts = await made(client, "Gifts", products=["handle-of-b", first], description="<p onclick='x()'>For you</p>")
    assert (gifts["handle"], gifts["products"], gifts["sort"]) == ("gifts", [second, first], "manual")
    assert gifts["description"] == "<p>For you</p>"
    again = await made(client, "Gifts")
    assert again["handle"].startswith("gifts-")
    answer = await client.post(URL, json={"title": "x", "products": [first, "nothing"]}, headers=STAFF)
    document = await problem(answer, 422, "invalid")
    assert document["errors"][0]["pointer"] == "/products/1"


async def test_a_product_is_placed_moved_and_taken_out(client: Client, world: World) -> None:
    first, second = await world.product("A"), await world.product("B")
    await made(client, "Gifts", products=[first])
    url = f"{URL}/gifts/products"
    answer = await client.post(url, json={"product": "handle-of-b", "position": 0}, headers=STAFF)
    assert (await answer.json())["products"] == [second, first]
    answer = await client.post(url, json={"product": second}, headers=STAFF)
    assert (await answer.json())["products"] == [second, first], "it stays where it is"
    document = await problem(await client.post(url, json={"product": "x"}, headers=STAFF), 422, "invalid")
    assert document["errors"][0]["pointer"] == "/product"
    answer = await client.delete(f"{url}/handle-of-a", headers={**STAFF, "If-Match": '"2"'})
    assert (await answer.json())["products"] == [second]
    await problem(await client.delete(f"{url}/{second}", headers={**STAFF, "If-Match": '"2"'}), 412, "version_mismatch")


async def test_a_list_of_a_collection_asks_for_what_it_chooses(client: Client, world: World) -> None:
    tea = await (await client.post("/api/v1/categories", json={"title": "Tea"}, headers=STAFF)).json()
    rules = [CHEAP, {"field": "category", "relation": "is", "value": "tea"}]
    cheap = await made(client, "Cheap", rules=rules, match="any", sort="price")
    await client.get("/api/v1/products?collection=cheap")
    asked = world.products.asked[-1]
    assert (asked.collection, asked.sort, asked.chosen.match, asked.chosen.currency) == (
        cheap["id"],
        "price",
        "any",
        "USD",
    )
    assert asked.chosen.categories == {"tea": (tea["id"],)}
    await client.get(f"/api/v1/products?collection={cheap['id']}&sort=title")
    assert world.products.asked[-1].sort == "title"
    await client.get("/api/v1/products")
    assert (world.products.asked[-1].sort, world.products.asked[-1].chosen) == (None, None)
    await problem(await client.get("/api/v1/products?collection=x"), 422, "invalid_parameter")


async def test_what_is_not_published_is_for_staff(client: Client, world: World) -> None:
    await made(client, "Secret", published=False)
    await problem(await client.get(f"{URL}/secret"), 404, "not_found")
    await problem(await client.get("/api/v1/products?collection=secret"), 422, "invalid_parameter")
    await problem(await client.get(f"{URL}?published=any"), 401, "credentials_required")
    assert (await client.get(f"{URL}/secret", headers=STAFF)).status == 200
    assert (await client.get("/api/v1/products?collection=secret", headers=STAFF)).status == 200
    assert (await client.get(f"{URL}?published=any", headers=STAFF)).status == 200
    assert world.collections.asked[-1].published is None


async def test_collections_are_listed(client: Client, world: World) -> None:
    await world.actors.ask("collection", "one", CreateCollection(handle="gifts", title={"en": "Gifts"}))
    shown = await world.actors.read("collection", "one")
    assert shown is not None
    world.collections.items.append(shown.value)
    answer = await client.get(f"{URL}?fields=handle,title")
    assert (await answer.json())["items"] == [{"handle": "gifts", "title": "Gifts"}]
    assert world.collections.asked[-1].published is True
    await problem(await client.get(f"{URL}?cursor=x"), 400, "malformed_cursor")


async def test_a_collection_is_changed_by_a_patch(client: Client, world: World) -> None:
    gifts = await made(client, "Gifts")
    world.actors.before_ask = lambda: world.actors.ask(
        "collection", gifts["id"], ChangeCollection(title={"en": "Gifts", "de": "Geschenke"})
    )
    patch = {"title": {"fr": "Cadeaux"}, "rules": [CHEAP], "sort": "newest", "seo": {"title": "Gifts for all"}}
    answer = await client.patch(f"{URL}/gifts", json=patch, headers=STAFF)
    changed = await answer.json()
    assert (changed["rules"], changed["sort"], changed["seo"]["title"]) == ([CHEAP], "newest", "Gifts for all")
    german = await client.get(f"{URL}/gifts", headers={"Accept-Language": "de"})
    assert (await german.json())["title"] == "Geschenke"
    same = await client.get(f"{URL}/gifts", headers={"If-None-Match": german.headers["ETag"]})
    assert same.status == 304
    wrong = {"rules": [{**CHEAP, "relation": "is"}]}
    document = await problem(await client.patch(f"{URL}/gifts", json=wrong, headers=STAFF), 422, "invalid")
    assert document["errors"][0]["pointer"] == "/rules/0/relation"
    headers = {**STAFF, "If-Match": '"1"'}
    await problem(await client.patch(f"{URL}/gifts", json={"title": "x"}, headers=headers), 412, "version_mismatch")


async def test_a_removed_collection_is_gone_and_its_handle_free(client: Client) -> None:
    gifts = await made(client, "Gifts")
    headers = {**STAFF, "Idempotency-Key": "gone"}
    answer = await client.delete(f"{URL}/gifts", headers=headers)
    assert (answer.status, (await answer.json())["id"]) == (200, gifts["id"])
    again = await client.delete(f"{URL}/gifts", headers=headers)
    assert (again.status, again.headers["Idempotency-Replayed"]) == (200, "true")
    await problem(await client.get(f"{URL}/{gifts['id']}"), 404, "not_found")
    assert (await made(client, "Gifts"))["handle"] == "gifts"


async def test_a_repeat_of_a_removal_whose_answer_was_not_kept_is_answered(client: Client, world: World) -> None:
    gifts = await made(client, "Gifts")
    headers = {**STAFF, "Idempotency-Key": "gone"}
    world.actors.failing["keep"] = UNAVAILABLE
    assert (await client.delete(f"{URL}/{gifts['id']}", headers=headers)).status == 200
    again = await client.delete(f"{URL}/{gifts['id']}", headers=headers)
    assert (again.status, (await again.json())["id"]) == (200, gifts["id"])
    await problem(await client.delete(f"{URL}/{gifts['id']}", headers=STAFF), 404, "not_found")


async def test_an_old_handle_leads_to_the_new_one(client: Client, world: World) -> None:
    gifts = await made(client, "Gifts", handle="presents")
    world.redirects.handles["collection", "gifts"] = gifts["id"]
    answer = await client.get(f"{URL}/gifts", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (308, "/api/v1/collections/presents")
    await client.patch(f"{URL}/presents", json={"published": False}, headers=STAFF)
    await problem(await client.get(f"{URL}/gifts"), 404, "not_found")


async def test_a_repeat_makes_no_second_collection_and_a_faster_one_keeps_the_handle(
    client: Client, world: World
) -> None:
    faster = CreateCollection(handle="gifts", title={"en": "Gifts"})
    world.actors.before_ask = lambda: world.actors.ask("collection", "other", faster)
    headers = {**STAFF, "Idempotency-Key": "once"}
    first = await client.post(URL, json={"title": "Gifts"}, headers=headers)
    assert (await first.json())["handle"].startswith("gifts-")
    second = await client.post(URL, json={"title": "Gifts"}, headers=headers)
    assert (second.status, await second.read()) == (201, await first.read())


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", ""), ("PATCH", "/x"), ("DELETE", "/x"), ("POST", "/x/products"), ("DELETE", "/x/products/y")],
)
async def test_guests_change_nothing(client: Client, method: str, path: str) -> None:
    await problem(await client.request(method, URL + path, json={}), 401, "credentials_required")
