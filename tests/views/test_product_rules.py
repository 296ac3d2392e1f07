from datetime import timedelta
from typing import Any

import pytest

from tests.views.test_products import NOON, Shop, product, stock, variant
from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.messages.collection import Rule
from ultramarket.ports.search import Chosen
from ultramarket.views.products import ProductFilters


@pytest.fixture
async def shop(database: PostgresDatabase, forms: Any) -> Shop:
    """A mug, a cup and a bowl, the newest last."""
    shop = Shop(database, forms)
    await shop.put(
        product(
            "mug", "Blue Mug", variant("M", "8.00"), vendor="Acme", type="Cups", tags=("sale", "50%"), created_at=NOON
        ),
        product(
            "cup",
            "Tea_cup é",
            variant("C", prices={"USD": "12.00", "EUR": "1.00"}, options={"Size": "M"}),
            vendor="Bolt",
            type="Cups",
            categories=("tea",),
            created_at=NOON + timedelta(days=1),
        ),
        product(
            "bowl", "Bowl", variant("B", "20.00"), vendor="Acme", tags=("new",), created_at=NOON + timedelta(days=2)
        ),
        stock("C", 3),
    )
    return shop


async def chosen(shop: Shop, *rules: tuple[str, str, str], match: Any = "all", **fields: Any) -> list[str]:
    asked: Any = [Rule(field=field, relation=relation, value=value) for field, relation, value in rules]  # type: ignore[arg-type]  # literals
    facts = Chosen(match=match, rules=tuple(asked), currency="USD", **fields)
    return await shop.ids(collection="x", chosen=facts)


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (("title", "is", "blue  MUG"), ["mug"]),
        (("title", "is_not", "Bowl"), ["cup", "mug"]),
        (("title", "contains", "e_c"), []),
        (("title", "contains", "A_C"), ["cup"]),
        (("title", "contains", "É"), ["cup", "mug"]),
        (("title", "starts_with", "B"), ["bowl", "mug"]),
        (("title", "contains", "\\"), []),
        (("vendor", "is", "acme"), ["bowl", "mug"]),
        (("type", "is_not", "cups"), ["bowl"]),
        (("tag", "is", "SALE"), ["mug"]),
        (("tag", "is_not", "sale"), ["bowl", "cup"]),
        (("tag", "contains", "0%"), ["mug"]),
        (("tag", "starts_with", "ne"), ["bowl"]),
        (("price", "above", "8.00"), ["bowl", "cup"]),
        (("price", "below", "12.00"), ["mug"]),
        (("in_stock", "is", "true"), ["cup"]),
        (("in_stock", "is", "false"), ["bowl", "mug"]),
        (("created_at", "above", "2026-03-02T12:00:00Z"), ["bowl"]),
        (("created_at", "below", "2026-03-02T13:00:00+01:00"), ["mug"]),
        (("option", "is", "size=m"), ["cup"]),
        (("option", "is_not", "Size=M"), ["bowl", "mug"]),
    ],
)
async def test_a_rule_follows_the_catalogue(shop: Shop, rule: tuple[str, str, str], found: list[str]) -> None:
    assert await chosen(shop, rule) == found


async def test_all_rules_hold_or_any(shop: Shop) -> None:
    rules = (("vendor", "is", "Acme"), ("price", "below", "10.00"))
    assert await chosen(shop, *rules) == ["mug"]
    assert await chosen(shop, *rules, match="any") == ["bowl", "mug"]
    await shop.put(product("bowl", "Bowl", variant("B", "5.00"), vendor="Acme", version=2))
    assert await chosen(shop, *rules) == ["mug", "bowl"]


async def test_a_category_means_all_below_it(shop: Shop) -> None:
    below = {"drinks": ("drinks", "tea")}
    assert await chosen(shop, ("category", "is", "drinks"), categories=below) == ["cup"]
    assert await chosen(shop, ("category", "is_not", "drinks"), categories=below) == ["bowl", "mug"]
    assert await chosen(shop, ("category", "is", "gone"), categories=below) == []


async def test_what_is_chosen_by_hand_is_shown_in_that_order_page_by_page(shop: Shop) -> None:
    chosen = Chosen(products=("bowl", "gone", "mug", "cup"))
    filters = ProductFilters(collection="x", chosen=chosen, sort="manual")
    first = await shop.view.find(filters, 2)
    more = ProductFilters(collection="x", chosen=Chosen(products=(*chosen.products, "late")), sort="manual")
    second = await shop.view.find(more, 2, first.next)
    assert [item.product.id for item in (*first.items, *second.items)] == ["bowl", "mug", "cup"]
    assert await shop.ids(collection="x", chosen=chosen, sort="title") == ["mug", "bowl", "cup"]
    assert await shop.ids(collection="x", chosen=Chosen()) == []


async def test_other_filters_narrow_a_collection(shop: Shop) -> None:
    assert await shop.ids(collection="x", chosen=Chosen(products=("bowl", "mug")), vendor="Acme", tag="new") == ["bowl"]
