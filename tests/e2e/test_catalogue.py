"""A catalogue as staff keep it and buyers browse it: categories, collections, and addresses that changed."""

from typing import Any

import pytest

from tests.e2e.shopper import STAFF, Shopper

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def written(shop: Shopper, method: str, path: str, body: Any = None) -> tuple[Any, dict[str, str]]:
    """A write by staff; gives what it shows, and the header that makes a list wait for it."""
    answer = await shop.call(method, path, body, headers=STAFF)
    assert 200 <= answer.status < 300, answer.body
    return answer.json, {"Prefer": f"consistency={answer.headers['X-Consistency']}"}


async def handles(shop: Shopper, query: str, headers: dict[str, str]) -> list[str]:
    found = await shop.ok("GET", f"/products?{query}", headers=headers)
    return [item["handle"] for item in found["items"]]


async def test_products_are_found_in_a_category_and_all_above_it_and_move_with_it(shop: Shopper) -> None:
    for title, parent in (("Home", None), ("Garden", None), ("Kitchen", "home"), ("Knives", "kitchen")):
        await written(shop, "POST", "/categories", {"title": title, "parent": parent})
    knife = await shop.stock("KNIFE", 5)
    _, seen = await written(shop, "PATCH", f"/products/{knife['id']}", {"categories": ["knives"]})
    for category, found in (("home", [knife["handle"]]), ("knives", [knife["handle"]]), ("garden", [])):
        assert await handles(shop, f"category={category}", seen) == found
    moved, seen = await written(shop, "PATCH", "/categories/kitchen", {"parent": "garden"})
    assert [link["handle"] for link in moved["path"]] == ["garden"]
    assert await handles(shop, "category=home", seen) == []
    assert await handles(shop, "category=garden", seen) == [knife["handle"]]
    tree = await shop.ok("GET", "/categories?fields=handle,level")
    assert [(item["level"], item["handle"]) for item in tree["items"]] == [
        (1, "home"),
        (1, "garden"),
        (2, "kitchen"),
        (3, "knives"),
    ]


async def test_a_collection_by_rules_follows_prices_and_stock(shop: Shopper) -> None:
    rules = [
        {"field": "vendor", "relation": "is", "value": "Bolt"},
        {"field": "price", "relation": "below", "value": "10.00"},
        {"field": "in_stock", "relation": "is", "value": "true"},
    ]
    await written(shop, "POST", "/collections", {"title": "Cheap", "rules": rules, "published": True})
    mug = await shop.stock("CHEAP-MUG", 1, price="12.00")
    variant = {"sku": "CHEAP-MUG", "price": {"amount": "9.00", "currency": "USD"}}
    _, seen = await written(shop, "PATCH", f"/products/{mug['id']}", {"vendor": "Bolt"})
    assert await handles(shop, "collection=cheap", seen) == []
    _, seen = await written(shop, "PATCH", f"/products/{mug['id']}", {"variants": [variant]})
    assert await handles(shop, "collection=cheap", seen) == [mug["handle"]]
    _, seen = await written(shop, "POST", "/inventory/CHEAP-MUG/adjustments", {"delta": -1, "reason": "broken"})
    assert await handles(shop, "collection=cheap", seen) == []


async def test_a_collection_by_hand_keeps_its_order(shop: Shopper) -> None:
    for sku in ("H-1", "H-2", "H-3"):
        product = await shop.stock(sku, 1)
        _, seen = await written(shop, "PATCH", f"/products/{product['id']}", {"vendor": "Hand"})
        await shop.ok("GET", "/products?limit=1", headers=seen)
    body = {"title": "Gifts", "published": True, "products": ["goods-h-3", "goods-h-1"]}
    await written(shop, "POST", "/collections", body)
    _, seen = await written(shop, "POST", "/collections/gifts/products", {"product": "goods-h-2", "position": 1})
    assert await handles(shop, "collection=gifts", seen) == ["goods-h-3", "goods-h-2", "goods-h-1"]
    listed = await shop.ok("GET", "/collections?fields=handle", headers=seen)
    assert {"handle": "gifts"} in listed["items"]


async def test_an_old_handle_leads_on_until_another_product_takes_it(shop: Shopper) -> None:
    await shop.stock("OLD", 1, handle="first")
    old = await shop.ok("GET", "/products/first")
    await written(shop, "PATCH", "/products/first", {"handle": "second"})
    _, seen = await written(shop, "PATCH", "/products/second", {"handle": "third"})
    await shop.ok("GET", "/products", headers=seen)
    for handle in ("first", "second"):
        answer = await shop.session.get(f"{shop.url}/api/v1/products/{handle}", allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (308, "/api/v1/products/third")
        assert (await answer.json())["id"] == old["id"]
    other = await shop.stock("NEW", 1, handle="first")
    assert (await shop.ok("GET", "/products/first"))["id"] == other["id"]
    # Both had it once: it leads to the last one.
    _, seen = await written(shop, "PATCH", f"/products/{other['id']}", {"handle": "fourth"})
    await shop.ok("GET", "/products", headers=seen)
    assert (await shop.ok("GET", "/products/first"))["id"] == other["id"]


async def test_staff_lead_an_old_address_to_a_new_one(shop: Shopper) -> None:
    redirect, seen = await written(shop, "POST", "/redirects", {"from": "/old-shop/tote", "to": "/health/live"})
    listed = await shop.ok("GET", "/redirects?path=/old-shop/tote", headers={**STAFF, **seen})
    assert [item["to"] for item in listed["items"]] == ["/health/live"]
    answer = await shop.session.get(f"{shop.url}/old-shop/tote")
    assert (answer.status, answer.url.path) == (200, "/health/live")
    _, seen = await written(shop, "DELETE", f"/redirects/{redirect['id']}")
    assert (await shop.ok("GET", "/redirects", headers={**STAFF, **seen}))["items"] == []
    assert (await shop.session.get(f"{shop.url}/old-shop/tote")).status == 404
