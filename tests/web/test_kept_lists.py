import asyncio
from typing import Any

import brotli
import msgspec
import pytest
from aiohttp import web

from tests.web.fakes import UNAVAILABLE
from tests.web.world import STAFF, Client, World, problem
from ultramarket.adapters.memory_cache import MemoryCache
from ultramarket.errors import Unavailable
from ultramarket.messages.product import ChangeProduct
from web.kept_lists import KeptLists

LIST = "/api/v1/products"


@pytest.fixture
def world() -> World:
    """A shop that keeps its lists."""
    world = World()
    world.products.stands = "products.1@0"
    object.__setattr__(world.shop, "cache", MemoryCache())
    return world


async def titles(client: Client, query: str = "", **headers: str) -> list[str]:
    answer = await client.get(f"{LIST}{query}", headers=headers)
    assert answer.status == 200, await answer.text()
    return [item["title"] for item in (await answer.json())["items"]]


async def test_a_list_is_made_once_and_given_again_byte_for_byte(client: Client, world: World) -> None:
    await world.product()
    first = await client.get(LIST)
    again = await client.get(LIST)
    assert await again.read() == await first.read()
    for name in ("ETag", "Cache-Control", "Surrogate-Key", "Vary", "Content-Type"):
        assert again.headers[name] == first.headers[name]
    assert again.headers["X-Request-Id"] != first.headers["X-Request-Id"]
    assert len(world.products.asked) == 1
    known = await client.get(LIST, headers={"If-None-Match": first.headers["ETag"]})
    assert (known.status, len(world.products.asked)) == (304, 1)


async def test_a_list_is_made_anew_when_the_view_has_moved_on(client: Client, world: World) -> None:
    await world.product("TOTE")
    assert await titles(client) == ["Tote TOTE"]
    await world.product("MUG")
    assert await titles(client) == ["Tote TOTE"]
    world.products.stands = "products.1@1"
    assert await titles(client) == ["Tote TOTE", "Tote MUG"]


async def test_who_asks_with_a_token_never_gets_a_kept_list(client: Client, world: World) -> None:
    await world.product("TOTE")
    assert await titles(client) == ["Tote TOTE"]
    await world.product("MUG")
    assert await titles(client, Prefer="consistency=product.03@7") == ["Tote TOTE", "Tote MUG"]
    assert world.products.waited == [("product", 3, 7)]


async def test_staff_never_get_a_kept_list_nor_leave_one(client: Client, world: World) -> None:
    id = await world.product("TOTE")
    assert await titles(client, **STAFF) == ["Tote TOTE"]
    await world.actors.ask("product", id, ChangeProduct(title={"en": "Bag"}), principal="staff")
    world.products.items.clear()
    await world.product("MUG")
    assert await titles(client) == ["Tote MUG"]
    world.products.items.clear()
    assert await titles(client, **STAFF) == []
    await problem(await client.get(f"{LIST}?status=draft"), 401, "credentials_required")


async def test_every_query_language_and_coding_has_its_own(client: Client, world: World) -> None:
    await world.product("TOTE", description={"en": "Long. " * 300})
    await world.product("MUG")
    assert await titles(client) == ["Tote TOTE", "Tote MUG"]
    assert await titles(client, "?limit=1") == ["Tote TOTE"]
    assert await titles(client, **{"Accept-Language": "de"}) == ["Tasche TOTE", "Tasche MUG"]
    plain = await (await client.get(LIST)).read()
    for _ in range(2):
        headers = {"Accept-Encoding": "br"}
        async with client.session.get(client.make_url(LIST), headers=headers, auto_decompress=False) as coded:
            assert coded.headers["Content-Encoding"] == "br"
            assert brotli.decompress(await coded.read()) == plain
    assert len(world.products.asked) == 4


async def test_where_the_view_stands_unknown_nothing_is_kept(client: Client, world: World) -> None:
    world.products.stands = None
    await world.product()
    for _ in range(3):
        await titles(client)
    assert len(world.products.asked) == 3


async def test_a_list_that_is_refused_is_refused_each_time(client: Client, world: World) -> None:
    for _ in range(2):
        await problem(await client.get(f"{LIST}?cursor=nonsense"), 400, "malformed_cursor")
        await problem(await client.get(f"{LIST}?price_min=x"), 422, "invalid_parameter")
    assert world.products.asked == []


def page(body: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json", headers={"ETag": '"a"'})


class Kitchen:
    """Makes answers when it is let."""

    def __init__(self) -> None:
        self.made = 0
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.fault: Exception | None = None

    async def make(self) -> web.Response:
        self.made += 1
        self.begun.set()
        await self.go_on.wait()
        if self.fault is not None:
            raise self.fault
        return page({"made": self.made})


async def test_however_many_ask_at_once_one_makes_it() -> None:
    kitchen, lists = Kitchen(), KeptLists(MemoryCache(), 30)
    waiting = [asyncio.create_task(lists.answer("k", "", kitchen.make)) for _ in range(100)]
    await kitchen.begun.wait()
    kitchen.go_on.set()
    assert {answer.body for answer in await asyncio.gather(*waiting)} == {b'{"made":1}'}
    assert kitchen.made == 1
    assert (await lists.answer("k", "", kitchen.make)).headers["ETag"] == '"a"'
    assert kitchen.made == 1


async def test_the_one_who_asked_first_may_go_away() -> None:
    kitchen, lists = Kitchen(), KeptLists(MemoryCache(), 30)
    first = asyncio.create_task(lists.answer("k", "", kitchen.make))
    await kitchen.begun.wait()
    second = asyncio.create_task(lists.answer("k", "", kitchen.make))
    first.cancel()
    kitchen.go_on.set()
    assert (await second).body == b'{"made":1}'
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_what_goes_wrong_is_told_to_all_who_wait_and_tried_again() -> None:
    kitchen, lists = Kitchen(), KeptLists(MemoryCache(), 30)
    kitchen.fault = UNAVAILABLE
    waiting = [asyncio.create_task(lists.answer("k", "", kitchen.make)) for _ in range(3)]
    await kitchen.begun.wait()
    kitchen.go_on.set()
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in told] == [Unavailable] * 3
    kitchen.fault = None
    assert (await lists.answer("k", "", kitchen.make)).body == b'{"made":2}'


async def test_without_a_cache_each_is_made_anew() -> None:
    kitchen, lists = Kitchen(), KeptLists(None, 30)
    kitchen.go_on.set()
    assert [(await lists.answer("k", "", kitchen.make)).body for _ in range(2)] == [b'{"made":1}', b'{"made":2}']


async def test_each_answer_has_headers_of_its_own() -> None:
    kitchen, lists = Kitchen(), KeptLists(MemoryCache(), 30)
    kitchen.go_on.set()
    first = await lists.answer("k", "", kitchen.make)
    first.headers["X-Request-Id"] = "mine"
    assert "X-Request-Id" not in (await lists.answer("k", "", kitchen.make)).headers
