import csv
import io
from typing import Any

import aiohttp
import pytest

from tests.web.world import STAFF, Client, World, problem
from ultramarket.domain.money import Money
from ultramarket.errors import Unavailable
from ultramarket.messages.product import Option, Variant
from ultramarket.views.pages import Page

URL = "/api/v1/exports/products"


async def shirt(world: World) -> None:
    """A product in two sizes that the list shows, one of them in stock."""
    await world.product(
        "SHIRT-S",
        stock=4,
        handle="shirt",
        title={"en": "Shirt", "de": "Hemd"},
        status="draft",
        media=(),
        options=(Option(name="Size", values=("S", "M")),),
        variants=(
            Variant(sku="SHIRT-S", options={"Size": "S"}, prices=(Money(1290, "USD"), Money(1900, "JPY"))),
            Variant(sku="SHIRT-M", options={"Size": "M"}, prices=(Money(1290, "USD"),)),
        ),
    )


async def rows(client: Client, query: str = "") -> list[dict[str, str]]:
    answer = await client.get(f"{URL}{query}", headers=STAFF)
    assert answer.status == 200, await answer.text()
    return list(csv.DictReader(io.StringIO(await answer.text(), newline="")))


async def test_products_come_as_a_file_with_what_is_on_hand(client: Client, world: World) -> None:
    await shirt(world)
    answer = await client.get(URL, headers=STAFF)
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="products.csv"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    first, second = await rows(client)
    assert (first["Handle"], first["Title"], first["Status"], first["Published"]) == (
        *("shirt", "Shirt", "draft", "FALSE"),
    )
    assert (first["Option1 Name"], first["Option1 Value"], second["Option1 Value"]) == ("Size", "S", "M")
    assert (first["Variant Price"], first["Variant Inventory Qty"], first["Variant Inventory Tracker"]) == (
        *("12.90", "4", "shopify"),
    )
    assert second["Variant Inventory Qty"] == ""


async def test_prices_are_in_the_currency_that_is_asked_for(client: Client, world: World) -> None:
    await shirt(world)
    assert [row["Variant Price"] for row in await rows(client, "?currency=JPY")] == ["1900", ""]
    refused = await client.get(f"{URL}?currency=XYZ", headers=STAFF)
    await problem(refused, 422, "currency_unknown")


async def test_it_asks_for_all_products_unless_a_status_is_named(client: Client, world: World) -> None:
    await rows(client)
    await rows(client, "?status=published")
    assert [filters.status for filters in world.products.asked] == [None, "published"]


async def test_it_is_for_staff(client: Client) -> None:
    await problem(await client.get(URL), 401, "credentials_required")


async def test_a_view_that_can_not_be_read_is_said_before_the_file_begins(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Page[Any]:
        raise Unavailable("database_unavailable", "away")

    monkeypatch.setattr(world.products, "find", away)
    await problem(await client.get(URL, headers=STAFF), 503, "database_unavailable")


async def test_a_file_that_breaks_off_can_not_be_taken_for_a_whole_one(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shirt(world)
    items = tuple(world.products.items)

    async def pages(_filters: Any, _limit: int, cursor: str | None = None) -> Page[Any]:
        if cursor is not None:
            raise Unavailable("database_unavailable", "away")
        return Page(items=items, next="more")

    monkeypatch.setattr(world.products, "find", pages)
    with pytest.raises(aiohttp.ClientError):
        await (await client.get(URL, headers=STAFF)).read()
