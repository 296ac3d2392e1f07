from typing import Any

from tests.web.fakes import UNAVAILABLE
from tests.web.world import STAFF, Client, World, problem
from ultramarket.messages.category_tree import TREE, AddCategory, ChangeCategory
from web.category_finder import RECENT_SECONDS, CategoryFinder

URL = "/api/v1/categories"


async def made(client: Client, title: str, **fields: Any) -> dict[str, Any]:
    answer = await client.post(URL, json={"title": title, **fields}, headers=STAFF)
    assert answer.status == 201, await answer.text()
    category: dict[str, Any] = await answer.json()
    return category


async def test_a_category_is_made_with_a_handle_of_its_title(client: Client) -> None:
    home = await made(client, "Home & Living", description="<p onclick='x()'>Soft</p>")
    assert (home["handle"], home["description"]) == ("home-and-living", "<p>Soft</p>")
    assert (home["parent"], home["position"], home["path"], home["children"]) == (None, 0, [], [])
    again = await made(client, "Home & Living")
    assert again["handle"].startswith("home-and-living-")


async def test_a_category_shows_the_way_from_the_top_and_what_is_below(client: Client) -> None:
    home = await made(client, "Home")
    kitchen = await made(client, "Kitchen", parent="home")
    knives = await made(client, "Knives", parent=kitchen["id"])
    shown = await (await client.get(f"{URL}/kitchen")).json()
    assert shown["path"] == [{"id": home["id"], "handle": "home", "title": "Home"}]
    assert shown["children"] == [{"id": knives["id"], "handle": "knives", "title": "Knives"}]
    part = await (await client.get(f"{URL}/{kitchen['id']}?fields=handle,path.handle")).json()
    assert part == {"handle": "kitchen", "path": [{"handle": "home"}]}


async def test_the_tree_is_listed_as_a_menu_shows_it(client: Client) -> None:
    empty = await client.get(URL)
    assert (await empty.json(), empty.headers["ETag"]) == ({"version": 0, "items": []}, '"0"')
    for title, parent in (("Home", None), ("Garden", None), ("Kitchen", "home"), ("Knives", "kitchen")):
        await made(client, title, parent=parent)
    answer = await client.get(URL)
    tree = await answer.json()
    assert [(item["handle"], item["level"]) for item in tree["items"]] == [
        ("home", 1),
        ("kitchen", 2),
        ("knives", 3),
        ("garden", 1),
    ]
    assert (tree["version"], answer.headers["ETag"]) == (4, '"4"')
    top = await (await client.get(f"{URL}?depth=1&fields=handle")).json()
    assert top["items"] == [{"handle": "home"}, {"handle": "garden"}]
    same = await client.get(URL, headers={"If-None-Match": '"4"'})
    assert same.status == 304


async def test_texts_are_shown_in_the_reader_s_language(client: Client) -> None:
    await made(client, "Garden")
    patch = {"title": {"de": "Garten"}, "seo": {"title": {"de": "Alles für den Garten"}}}
    answer = await client.patch(f"{URL}/garden", json=patch, headers=STAFF)
    assert answer.status == 200, await answer.text()
    german = await (await client.get(f"{URL}/garden", headers={"Accept-Language": "de"})).json()
    assert (german["title"], german["seo"]["title"]) == ("Garten", "Alles für den Garten")
    assert (await (await client.get(f"{URL}/garden")).json())["title"] == "Garden"


async def test_a_patch_moves_a_category_with_all_below_it(client: Client) -> None:
    for title, parent in (("Home", None), ("Garden", None), ("Kitchen", "home"), ("Knives", "kitchen")):
        await made(client, title, parent=parent)
    patch = {"parent": "garden", "media": [{"url": "/k.jpg", "alt": "A kitchen"}]}
    answer = await client.patch(f"{URL}/kitchen", json=patch, headers={**STAFF, "Idempotency-Key": "move"})
    moved = await answer.json()
    assert [link["handle"] for link in moved["path"]] == ["garden"]
    assert moved["media"] == [{"url": "/k.jpg", "alt": "A kitchen"}]
    assert answer.headers["X-Consistency"].startswith("category_tree.")
    knives = await (await client.get(f"{URL}/knives")).json()
    assert [link["handle"] for link in knives["path"]] == ["garden", "kitchen"]
    await problem(await client.patch(f"{URL}/garden", json={"parent": "knives"}, headers=STAFF), 409, "category_cycle")
    document = await problem(await client.patch(f"{URL}/garden", json={"parent": "x"}, headers=STAFF), 422, "invalid")
    assert document["errors"][0]["pointer"] == "/parent"
    top = await client.patch(f"{URL}/kitchen", json={"parent": None, "position": 0}, headers=STAFF)
    assert (await top.json())["position"] == 0


async def test_an_old_etag_is_refused(client: Client) -> None:
    await made(client, "Home")
    await made(client, "Garden")
    headers = {**STAFF, "If-Match": '"1"'}
    await problem(await client.patch(f"{URL}/home", json={"title": "House"}, headers=headers), 412, "version_mismatch")
    await problem(await client.delete(f"{URL}/home", headers=headers), 412, "version_mismatch")


async def test_a_patch_of_texts_is_made_again_where_somebody_was_faster(client: Client, world: World) -> None:
    await made(client, "Home")
    answer = await client.get(URL)
    id = (await answer.json())["items"][0]["id"]

    async def faster() -> None:
        async def first() -> None:
            await world.actors.ask("category_tree", TREE, ChangeCategory(id=id, title={"en": "House", "de": "Haus"}))

        world.actors.before_ask = first  # the first question is for the texts, the second one the change

    world.actors.before_ask = faster
    answer = await client.patch(f"{URL}/home", json={"title": {"fr": "Maison"}}, headers=STAFF)
    assert answer.status == 200
    german = await (await client.get(f"{URL}/home", headers={"Accept-Language": "de"})).json()
    assert german["title"] == "Haus"


async def test_a_handle_that_is_made_gives_way_to_somebody_who_was_faster(client: Client, world: World) -> None:
    faster = AddCategory(id="other", handle="tea", title={"en": "Tea"})
    world.actors.before_ask = lambda: world.actors.ask("category_tree", TREE, faster)
    assert (await made(client, "Tea"))["handle"].startswith("tea-")


async def test_only_an_empty_category_goes_unless_those_below_move_up(client: Client) -> None:
    await made(client, "Home")
    await made(client, "Kitchen", parent="home")
    await problem(await client.delete(f"{URL}/home", headers=STAFF), 409, "category_not_empty")
    headers = {**STAFF, "Idempotency-Key": "gone"}
    answer = await client.delete(f"{URL}/home?children=up", headers=headers)
    assert [(item["handle"], item["level"]) for item in (await answer.json())["items"]] == [("kitchen", 1)]
    again = await client.delete(f"{URL}/home?children=up", headers=headers)
    assert (again.status, again.headers["Idempotency-Replayed"]) == (200, "true")
    await problem(await client.get(f"{URL}/home"), 404, "not_found")


async def test_a_repeat_of_a_removal_whose_answer_was_not_kept_is_answered(client: Client, world: World) -> None:
    home = await made(client, "Home")
    headers = {**STAFF, "Idempotency-Key": "gone"}
    world.actors.failing["keep"] = UNAVAILABLE
    assert (await client.delete(f"{URL}/{home['id']}", headers=headers)).status == 200
    again = await client.delete(f"{URL}/{home['id']}", headers=headers)
    assert (again.status, (await again.json())["items"]) == (200, [])
    await problem(await client.delete(f"{URL}/{home['id']}", headers=STAFF), 404, "not_found")


async def test_a_repeat_makes_no_second_category(client: Client) -> None:
    headers = {**STAFF, "Idempotency-Key": "once"}
    first = await client.post(URL, json={"title": "Home"}, headers=headers)
    second = await client.post(URL, json={"title": "Home"}, headers=headers)
    assert (second.status, await second.read()) == (201, await first.read())
    assert len((await (await client.get(URL)).json())["items"]) == 1


async def test_an_old_handle_leads_to_the_new_one(client: Client) -> None:
    home = await made(client, "Home")
    await client.patch(f"{URL}/home", json={"handle": "wohnen-ä"}, headers=STAFF)
    answer = await client.get(f"{URL}/home?fields=id", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (308, "/api/v1/categories/wohnen-%C3%A4?fields=id")
    assert await answer.json() == {
        "id": home["id"],
        "handle": "wohnen-ä",
        "location": "/api/v1/categories/wohnen-%C3%A4?fields=id",
    }
    await made(client, "Home")
    assert (await client.get(f"{URL}/home", allow_redirects=False)).status == 200


async def test_guests_change_nothing(client: Client) -> None:
    await made(client, "Home")
    for call in (
        client.post(URL, json={"title": "x"}),
        client.patch(f"{URL}/home", json={"title": "x"}),
        client.delete(f"{URL}/home"),
    ):
        await problem(await call, 401, "credentials_required")


async def test_a_list_reads_the_tree_again_only_after_a_while(client: Client, world: World) -> None:
    await made(client, "Home")
    now = 100.0
    finder = CategoryFinder(world.actors, lambda: now)
    assert (await finder.recent()).version == 1
    await made(client, "Garden")
    now += RECENT_SECONDS / 2
    assert (await finder.recent()).version == 1
    assert (await finder.all()).version == 2
    await made(client, "Bath")
    now += RECENT_SECONDS
    assert (await finder.recent()).version == 3


async def test_a_product_names_its_categories_by_id_or_handle(client: Client) -> None:
    home, garden = await made(client, "Home"), await made(client, "Garden")
    body = {"title": "Spade", "categories": ["garden", home["id"], garden["id"]]}
    answer = await client.post("/api/v1/products", json=body, headers=STAFF)
    spade = await answer.json()
    assert spade["categories"] == [garden["id"], home["id"]]
    wrong = {"categories": ["garden", "nowhere"]}
    document = await problem(
        await client.patch(f"/api/v1/products/{spade['id']}", json=wrong, headers=STAFF), 422, "invalid"
    )
    assert document["errors"][0]["pointer"] == "/categories/1"
    await client.delete(f"{URL}/home", headers=STAFF)
    # What it names already and is gone meanwhile is left out.
    answer = await client.patch(
        f"/api/v1/products/{spade['id']}", json={"categories": spade["categories"]}, headers=STAFF
    )
    assert (await answer.json())["categories"] == [garden["id"]]
    cleared = await client.patch(f"/api/v1/products/{spade['id']}", json={"categories": None}, headers=STAFF)
    assert (await cleared.json())["categories"] == []


async def test_a_list_of_a_category_has_what_is_in_those_below_it(client: Client, world: World) -> None:
    home = await made(client, "Home")
    kitchen = await made(client, "Kitchen", parent="home")
    await client.get("/api/v1/products?category=home")
    assert world.products.asked[-1].categories == (home["id"], kitchen["id"])
    await client.get(f"/api/v1/products?category={kitchen['id']}")
    assert world.products.asked[-1].categories == (kitchen["id"],)
    await client.get("/api/v1/products?category=Shirts")
    assert (world.products.asked[-1].category, world.products.asked[-1].categories) == ("Shirts", ())
