"""What the product view writes: cards, variants and prices from public forms, a whole batch in five statements."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from ultramarket.messages.inventory import ShownStock
from ultramarket.messages.product import ShownProduct, ShownVariant
from ultramarket.ports.database import Connection
from ultramarket.views.folding import fold, readable, words

TITLE_LETTERS = 200
"""So much of a title counts for the order of a list."""
DESCRIPTION_LETTERS = 20_000
"""So much of a description can be searched."""

# The same version is written again: a rebuild renews what an older release wrote.
_CARDS = """
insert into product_card (id, version, handle, status, title, vendor, type, tags, categories, search, created_at, body)
select id, version, handle, status, title, vendor, type, tags, categories, array_to_tsvector(words), created_at, body
from json_to_recordset($1::text::json) as r (
    id text, version bigint, handle text, status text, title text, vendor text, type text, tags text[],
    categories text[], words text[], created_at timestamptz, body text
)
order by id
on conflict (id) do update set version = excluded.version, handle = excluded.handle, status = excluded.status,
    title = excluded.title, vendor = excluded.vendor, type = excluded.type, tags = excluded.tags,
    categories = excluded.categories, search = excluded.search, created_at = excluded.created_at, body = excluded.body
where excluded.version >= product_card.version
returning id
"""
_DROP_VARIANTS = "delete from product_variant where product = any($1::text[])"
_DROP_PRICES = "delete from product_price where product = any($1::text[])"
_VARIANTS = """
insert into product_variant (product, sku, options, prices, always)
select product, sku, options, prices, always
from json_to_recordset($1::text::json) as r (product text, sku text, options text[], prices jsonb, always boolean)
"""
_PRICES = """
insert into product_price (product, currency, low, high)
select product, currency, low, high
from json_to_recordset($1::text::json) as r (product text, currency text, low numeric, high numeric)
"""
_STOCK = """
insert into stock_level (sku, version, available)
select sku, version, available
from json_to_recordset($1::text::json) as r (sku text, version bigint, available bigint)
order by sku
on conflict (sku) do update set version = excluded.version, available = excluded.available
where excluded.version >= stock_level.version
"""


async def write_products(connection: Connection, products: Iterable[ShownProduct], language: str) -> None:
    """Write the products that are not there in a newer version, each with its variants and prices.

    Args:
        connection: inside a transaction.
        products: each id once.
        language: whose titles give the order by title; a product without it counts with its first.
    """
    by_id = {product.id: product for product in products}
    if not by_id:
        return
    rows = await connection.fetch(_CARDS, _json([_card(product, language) for product in by_id.values()]))
    written = [by_id[row["id"]] for row in rows]
    ids = [product.id for product in written]
    await connection.execute(_DROP_VARIANTS, ids)
    await connection.execute(_DROP_PRICES, ids)
    await connection.execute(_VARIANTS, _json([_variant(p.id, v) for p in written for v in p.variants]))
    await connection.execute(_PRICES, _json([row for product in written for row in _prices(product)]))


async def write_stock(connection: Connection, levels: Iterable[ShownStock]) -> None:
    """Write the levels that are not there in a newer version."""
    rows = [{"sku": level.sku, "version": level.version, "available": level.available} for level in levels]
    if rows:
        await connection.execute(_STOCK, _json(rows))


def option(name: str, value: str) -> str:
    """An option as variants are found by, e.g. `size=m`."""
    return f"{fold(name)}={fold(value)}"


def _json(rows: list[dict[str, Any]]) -> str:
    return msgspec.json.encode(rows).decode()


def _card(product: ShownProduct, language: str) -> dict[str, Any]:
    title = product.title.get(language) or next(iter(product.title.values()), product.handle)
    return {
        "id": product.id,
        "version": product.version,
        "handle": product.handle,
        "status": product.status,
        "title": fold(title)[:TITLE_LETTERS],
        "vendor": fold(product.vendor),
        "type": fold(product.type),
        "tags": sorted({fold(tag) for tag in product.tags}),
        "categories": product.categories,
        "words": sorted({word for text in _searched(product) for word in words(text)}),
        "created_at": product.created_at,
        "body": msgspec.json.encode(product).decode(),
    }


def _searched(product: ShownProduct) -> Iterable[str]:
    yield from product.title.values()
    yield from (product.handle, product.vendor, product.type)
    yield from product.tags
    for variant in product.variants:
        yield variant.sku
        yield variant.barcode
        yield from variant.title.values()
        yield from variant.options.values()
    yield from (readable(text[:DESCRIPTION_LETTERS]) for text in product.description.values())


def _variant(product: str, variant: ShownVariant) -> dict[str, Any]:
    return {
        "product": product,
        "sku": variant.sku,
        "options": [option(name, value) for name, value in variant.options.items()],
        "prices": {currency: price.amount for currency, price in variant.prices.items()},
        "always": not variant.track_stock or variant.when_out == "continue",
    }


def _prices(product: ShownProduct) -> Iterable[dict[str, Any]]:
    amounts: dict[str, list[Decimal]] = {}
    for variant in product.variants:
        for currency, price in variant.prices.items():
            amounts.setdefault(currency, []).append(Decimal(price.amount))
    for currency, found in amounts.items():
        yield {"product": product.id, "currency": currency, "low": min(found), "high": max(found)}
