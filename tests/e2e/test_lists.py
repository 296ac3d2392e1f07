"""Lists that guests are given again and again follow the catalogue and the stock all the same."""

import asyncio
from pathlib import Path

import pytest

from tests.e2e.server import Server
from tests.e2e.shopper import STAFF, Shopper, shopper
from tests.services.given import url_of

ROUNDS = 12


async def in_stock(shop: Shopper, sku: str, **headers: str) -> bool:
    """Whether the list says that there is something left."""
    (item,) = (await shop.ok("GET", f"/products?q={sku}", headers=headers))["items"]
    shown: bool = item["in_stock"]
    return shown


async def change(shop: Shopper, sku: str, delta: int) -> str:
    """Staff change the stock; gives the preference that waits for it."""
    path = f"/inventory/{sku}/adjustments"
    answer = await shop.call("POST", path, {"delta": delta, "reason": "counted"}, headers=STAFF)
    assert answer.status == 200, answer.body
    return f"consistency={answer.headers['X-Consistency']}"


async def follows(shop: Shopper, sku: str) -> None:
    """Stock goes and comes; one waits for it by its token and sees it, and so does everybody after him."""
    await shop.stock(sku, 1)
    for number in range(ROUNDS):
        there = number % 2 == 1
        token = await change(shop, sku, 1 if there else -1)
        assert await in_stock(shop, sku, Prefer=token) is there
        assert await asyncio.gather(*(in_stock(shop, sku) for _ in range(8))) == [there] * 8


@pytest.mark.asyncio(loop_scope="module")
async def test_a_kept_list_is_never_older_than_what_somebody_has_seen(shop: Shopper) -> None:
    await follows(shop, "LST-1")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_list_that_nothing_happened_to_is_known_in_each_coding(shop: Shopper) -> None:
    await shop.stock("LST-2", 1)
    await shop.ok("GET", "/products", headers={"Prefer": await change(shop, "LST-2", 1)})
    coded = [await shop.call("GET", "/products", headers={"Accept-Encoding": "br"}) for _ in range(3)]
    (tag,) = {answer.headers["ETag"] for answer in coded}
    plain = await shop.call("GET", "/products", headers={"Accept-Encoding": "identity"})
    assert plain.headers["ETag"] == tag.replace("-br", "")
    assert plain.body == coded[0].body
    for known in (tag, plain.headers["ETag"]):
        assert (await shop.call("GET", "/products", headers={"If-None-Match": known})).status == 304


async def test_the_same_holds_with_the_lists_in_redis(tmp_path: Path) -> None:
    settings = {"ULTRAMARKET_REDIS_URL": url_of("ULTRAMARKET_TEST_REDIS_URL")}
    async with Server(tmp_path / "data", settings=settings) as server, shopper(server.url) as shop:
        await follows(shop, "LST-1")
