"""A real server, and a shop on it that has one of everything."""

from collections.abc import AsyncIterator, Mapping, Sequence

import aiohttp
import pytest
import pytest_asyncio

from tests.e2e.catalogue import catalogue
from tests.e2e.server import Server
from tests.e2e.shopper import STAFF, Shopper, shopper

Known = Mapping[str, Sequence[str]]
CARTS = 9
"""So many that some are still open late in a run."""
ORDERS = 18
SOLD = ("TOTE-S", "TOTE-M", "MUG")
SPARE = ("SPARE-S", "SPARE-M")
"""Staff take these out of the shop, and there is still something to buy."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server with the default settings."""
    async with Server(tmp_path_factory.mktemp("shop") / "data") as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def known(running: Server) -> Known:
    """What the shop has, by the names of the dictionaries in the configuration."""
    async with shopper(running.url) as shop:
        return await _furnish(shop)


async def _furnish(shop: Shopper) -> Known:
    products = {
        sku: await shop.ok("POST", "/products", _product(sku), headers=STAFF, key=f"product-{sku}")
        for sku in (*SPARE, *SOLD)
    }
    for sku in products:
        adjustment = {"delta": 1_000_000, "reason": "received"}
        await shop.ok("POST", f"/inventory/{sku}/adjustments", adjustment, headers=STAFF)
    orders = []
    for number in range(ORDERS):
        answer = await shop.order(await shop.filled_cart(*SOLD), ("requires_action", "ok", "declined")[number % 3])
        assert answer.status == 201, answer.body
        orders.append(answer.json)
    return {
        "skus": SOLD,
        "products": [products[sku][name] for sku in SPARE for name in ("id", "handle")],
        "orders": [order["id"] for order in orders],
        "payments": [order["payment"]["id"] for order in orders],
        "carts": await _carts(shop),
        "ready": await _carts(shop),
        "sources": await _carts(shop),
        "imports": [await _import(shop)],
        "reviews": [await _review(shop, products[sku]["id"], status) for sku in SOLD for status in (None, "published")],
    }


async def _carts(shop: Shopper) -> Sequence[str]:
    """The ids of carts that can be ordered, at version 5."""
    return [(await shop.filled_cart(*SOLD))["id"] for _ in range(CARTS)]


async def _review(shop: Shopper, product: str, status: str | None) -> str:
    """The id of a review of this product, judged by staff where a status is given."""
    review = await shop.ok("POST", f"/products/{product}/reviews", {"rating": 4, "author": "Ada"})
    if status is not None:
        await shop.ok("PATCH", f"/reviews/{review['id']}", {"status": status}, headers=STAFF)
    id: str = review["id"]
    return id


def _product(sku: str) -> dict[str, object]:
    price = {"amount": "12.90", "currency": "USD"}
    return {"title": f"Goods {sku}", "status": "published", "variants": [{"sku": sku, "price": price}]}


async def _import(shop: Shopper) -> str:
    """The id of an import that ran."""
    form = aiohttp.BytesPayload(catalogue(30, "imported"), content_type="text/csv")
    async with shop.session.post(f"{shop.url}/api/v1/imports", data=form, headers=STAFF) as answer:
        assert answer.status == 202, await answer.text()
        id: str = (await answer.json())["id"]
    await shop.until(f"/imports/{id}", status="done")
    return id
