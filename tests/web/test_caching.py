from typing import Any

import pytest

from tests.web.world import STAFF, Client, World
from web.caching import Caching

PUBLIC = "public, max-age=10, stale-while-revalidate=60"
PRIVATE = "private, no-store"


async def test_guests_see_the_catalogue_as_caches_may_keep_it(client: Client, world: World) -> None:
    id = await world.product()
    for url, keys in (
        (f"/api/v1/products/{id}", ["products", f"product-{id}"]),
        ("/api/v1/products/handle-of-tote?fields=id", ["products", f"product-{id}"]),
        ("/api/v1/products", ["products"]),
        ("/api/v1/products?category=bags", ["products", "category-bags"]),
        (f"/api/v1/products/{id}/reviews", ["reviews", f"product-{id}"]),
    ):
        headers = (await client.get(url)).headers
        assert headers["Cache-Control"] == PUBLIC, url
        assert headers["Surrogate-Key"].split(" ") == keys, url
        assert headers["Cache-Tag"].split(",") == keys, url
        assert {"Accept-Encoding", "Accept-Language", "Authorization"} <= set(headers["Vary"].split(", ")), url
    odd = await client.get("/api/v1/products?category=a%0d%0aSet-Cookie:%20b,c")
    assert (odd.status, odd.headers["Surrogate-Key"], "Set-Cookie" in odd.headers) == (200, "products", False)
    known = await client.get(f"/api/v1/products/{id}", headers={"If-None-Match": '"1"'})
    assert (known.status, known.headers["Cache-Control"]) == (304, PUBLIC)


async def test_what_staff_see_is_kept_nowhere(client: Client, world: World) -> None:
    id = await world.product()
    for url in (
        f"/api/v1/products/{id}",
        "/api/v1/products",
        "/api/v1/orders",
        "/api/v1/products?fields=id",
        f"/api/v1/products/{id}/reviews",
    ):
        headers = (await client.get(url, headers=STAFF)).headers
        assert (headers["Cache-Control"], "Surrogate-Key" in headers) == (PRIVATE, False), url


async def test_a_product_that_staff_see_is_not_what_guests_get(client: Client, world: World) -> None:
    id = await world.product()
    url = f"/api/v1/products/{id}"
    for headers, expected in (({}, PUBLIC), (STAFF, PRIVATE), ({}, PUBLIC)):
        assert (await client.get(url, headers=headers)).headers["Cache-Control"] == expected


async def test_carts_and_orders_are_kept_nowhere(client: Client, cart: dict[str, Any]) -> None:
    url = f"/api/v1/carts/{cart['id']}"
    assert (await client.get(url)).headers["Cache-Control"] == PRIVATE
    added = await client.post(f"{url}/lines", json={"sku": "TOTE"})
    assert added.headers["Cache-Control"] == PRIVATE
    body = {
        "cart_id": cart["id"],
        "cart_version": (await added.json())["version"],
        "payment": {"gateway": "sandbox", "method": "ok"},
    }
    placed = await client.post("/api/v1/orders", json=body)
    assert placed.status == 201
    for url in (placed.headers["Location"], "/api/v1/inventory/TOTE"):
        assert (await client.get(url)).headers["Cache-Control"] == PRIVATE


async def test_a_list_asked_with_a_token_is_kept_nowhere_and_never_comes_from_a_cache(client: Client) -> None:
    answer = await client.get("/api/v1/products", headers={"Prefer": "Consistency=product.07@3"})
    assert (answer.status, answer.headers["Cache-Control"]) == (200, PRIVATE)
    answer = await client.get("/api/v1/products")
    assert "Prefer" in answer.headers["Vary"].split(", ")


@pytest.mark.parametrize(
    ("caching", "control"),
    [
        (Caching(max_age=0), "public, no-cache"),
        (Caching(max_age=5, stale_while_revalidate=0), "public, max-age=5, stale-while-revalidate=0"),
    ],
)
def test_the_settings_say_how_long(caching: Caching, control: str) -> None:
    assert caching.public("products")["Cache-Control"] == control


def test_answers_differ_by_origin_where_pages_elsewhere_may_read_them() -> None:
    assert Caching(origins=True).public("a", "b", vary="Prefer") == {
        "Cache-Control": PUBLIC,
        "Vary": "Accept-Encoding, Accept-Language, Authorization, Origin, Prefer",
        "Surrogate-Key": "a b",
        "Cache-Tag": "a,b",
    }
