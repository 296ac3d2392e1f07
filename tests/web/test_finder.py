from multidict import CIMultiDict

from tests.web.world import Client, World
from ultramarket.messages.product import ChangeProduct
from web.finder import BESIDE, KeptBodies, KeptBody, ProductFinder


async def test_a_product_is_found_by_id_and_by_handle(world: World) -> None:
    id = await world.product("TOTE")
    finder = ProductFinder(world.actors)
    for wanted in (id, "handle-of-tote", "handle-of-tote"):
        found = await finder.find(wanted)
        assert found is not None
        assert found.id == id
    assert await finder.find("nobody") is None


async def test_a_handle_that_moved_to_another_product_is_found_there(world: World) -> None:
    first, second = await world.product("TOTE"), await world.product("MUG")
    finder = ProductFinder(world.actors)
    assert (await finder.find("handle-of-tote")).id == first  # type: ignore[union-attr]  # it is there
    await world.actors.ask("product", first, ChangeProduct(handle="another"), principal="staff")
    assert await finder.find("handle-of-tote") is None
    await world.actors.ask("product", second, ChangeProduct(handle="handle-of-tote"), principal="staff")
    assert (await finder.find("handle-of-tote")).id == second  # type: ignore[union-attr]  # it is there


async def test_a_changed_product_is_shown_changed_in_each_language(client: Client, world: World) -> None:
    id = await world.product("TOTE")
    for language, title in (("en", "Tote TOTE"), ("de", "Tasche TOTE"), ("en", "Tote TOTE")):
        answer = await client.get("/api/v1/products/handle-of-tote", headers={"Accept-Language": language})
        assert (await answer.json())["title"] == title
    await world.actors.ask("product", id, ChangeProduct(vendor="Another"), principal="staff")
    answer = await client.get("/api/v1/products/handle-of-tote")
    assert (await answer.json())["vendor"] == "Another"
    assert answer.headers["ETag"] == f'"{(await answer.json())["version"]}"'


def test_bodies_are_kept_within_their_bound_the_least_recently_used_leave() -> None:
    kept = KeptBodies(limit=3 * (100 + BESIDE))
    body = KeptBody(b"x" * 100, CIMultiDict({"ETag": '"1"'}))
    for id in "abc":
        kept.put((id, 1, (), ""), body)
        kept.put((id, 1, (), ""), body)
    assert kept.get(("a", 1, (), "")) == body
    kept.put(("d", 1, (), ""), body)
    assert [id for id in "abcd" if kept.get((id, 1, (), ""))] == ["a", "c", "d"]
    assert kept.get(("a", 1, ("de",), "")) is None
    assert kept.get(("a", 1, (), "br")) is None
