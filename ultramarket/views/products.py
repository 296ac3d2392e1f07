"""Products as lists and search show them, and the stock beside them.

Whether a product is in stock is computed when it is asked: stock moves with every sale, a card with every edit, and
an index look-up for each variant on a page costs less than rewriting cards at the speed of sales.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from ultramarket.messages.product import ShownProduct, Status
from ultramarket.ports.database import Connection, Database
from ultramarket.views.folding import fold, storable, words
from ultramarket.views.pages import (
    Conditions,
    Key,
    Page,
    checked_amount,
    checked_limit,
    list_mark,
    page_of,
    read_cursor,
    write_cursor,
)
from ultramarket.views.product_cards import option, write_products, write_stock
from ultramarket.views.product_rules import SELLABLE, Chosen, by_hand, chosen_by
from ultramarket.views.projection import LogEvent
from ultramarket.views.reading import ReadMany, newest

Sort = Literal["manual", "newest", "title", "price", "-price"]

SEARCH_WORDS = 10
"""Words of a query that are looked for; further ones are left out."""


class ProductFilters(msgspec.Struct, frozen=True, kw_only=True):
    """What a list of products is asked for; everything that is set must hold, texts whatever their case and accents.

    Attributes:
        q: words, each the beginning of a word in title, type, vendor, tags, SKUs or description.
        category: the product's type or one of its tags, unless `categories` says which categories are meant.
        categories: ids of categories: the product is in one of them.
        price_min: at least this in `currency`, for one and the same variant as the other conditions on variants.
        in_stock: True for products that can be bought now, False for the others.
        options: e.g. `{"Size": "M"}`, all of them on one variant, which is the one that price and stock are asked of.
        collection: id of a collection; `chosen` says what is in it.
        sort: `manual` is the order of the collection, where that is made by hand.
        status: None shows all: for staff only.
        currency: for prices, as filter and as order; products without a price in it are left out then.
    """

    q: str | None = None
    tag: str | None = None
    vendor: str | None = None
    category: str | None = None
    categories: tuple[str, ...] = ()
    collection: str | None = None
    chosen: Chosen | None = None
    currency: str | None = None
    price_min: Decimal | None = None
    price_max: Decimal | None = None
    in_stock: bool | None = None
    options: dict[str, str] = {}
    status: Status | None = "published"
    sort: Sort = "newest"


class FoundProduct(msgspec.Struct, frozen=True):
    """A product of a list: its public form as last projected, and whether any of its variants can be bought now."""

    product: ShownProduct
    in_stock: bool


class _Order(msgspec.Struct, frozen=True):
    """How a list is sorted: the column, what it holds, the direction; ids decide between equals."""

    column: str
    key: type[Key]
    direction: Literal["asc", "desc"]


_ORDERS: dict[Sort, _Order] = {
    "newest": _Order("c.created_at", datetime, "desc"),
    "title": _Order("c.title", str, "asc"),
    "price": _Order("p.low", Decimal, "asc"),
    "-price": _Order("p.low", Decimal, "desc"),
}
_VARIANT = (
    "exists (select from product_variant v left join stock_level l on l.sku = v.sku where v.product = c.id and {which})"
)


class ProductView:
    """Projects the products and the stock, and finds products.

    Args:
        database: where the view's tables are.
        shown: reads committed public forms, `Actors.read_many`.
        language: whose titles give the order by title.
    """

    # The number is raised when what is written changes: under a new name the view begins at the log's beginning.
    name = "products.1"
    kinds = ("product", "inventory")
    tables = ("product_card", "product_variant", "product_price", "stock_level")
    needs_data = False

    def __init__(self, database: Database, shown: ReadMany, *, language: str = "en") -> None:
        self._database = database
        self._shown = shown
        self._language = language

    async def apply(self, connection: Connection, events: Sequence[LogEvent]) -> None:
        """Write the products and stock levels that the events touched, as they are now."""
        products = await newest(self._shown, "product", events)
        await write_products(connection, [form.value for form in products.values()], self._language)
        levels = await newest(self._shown, "inventory", events)
        await write_stock(connection, [form.value for form in levels.values()])

    async def find(self, filters: ProductFilters, limit: int = 24, cursor: str | None = None) -> Page[FoundProduct]:
        """A page of products.

        Args:
            filters: what to find and in which order.
            limit: items, 1 to 100.
            cursor: `next` of the page before.

        Raises:
            ValueError: limit or cursor are not as they must be, or a price is asked without a currency; the message
                says so to people.
            Unavailable: the database can't be reached.
        """
        sql, args = self.query(filters, checked_limit(limit), cursor)
        rows = await self._database.fetch(sql, *args)
        items = [FoundProduct(msgspec.json.decode(row["body"], type=ShownProduct), row["in_stock"]) for row in rows]
        mark = _mark(filters)
        return page_of(items, [write_cursor(mark, row["key"], row["id"]) for row in rows], limit)

    def query(self, filters: ProductFilters, limit: int, cursor: str | None) -> tuple[str, list[Any]]:
        """The statement of a page and one item more, and its parameters.

        Raises:
            ValueError: as `find`.
        """
        conditions = Conditions()
        if filters.sort == "manual":
            order = _Order(by_hand(conditions, filters.chosen or Chosen()), Decimal, "asc")
        else:
            order = _ORDERS[filters.sort]
        source = "product_card c"
        if _needs_price(filters):
            if filters.currency is None:
                raise ValueError("A price is asked for without its currency: name one, e.g. USD.")
            source += " join product_price p on p.product = c.id"
            conditions.add("p.currency = {it}", it=storable(filters.currency, "currency"))
        _card_conditions(conditions, filters)
        if filters.chosen is not None:
            conditions.add(chosen_by(conditions, filters.chosen))
        _variant_conditions(conditions, filters)
        if cursor is not None:
            key, id = read_cursor(cursor, _mark(filters), order.key)
            comparison = ">" if order.direction == "asc" else "<"
            conditions.add(f"({order.column}, c.id) {comparison} ({{key}}, {{id}})", key=key, id=id)
        # Stock is asked for the rows of the page alone: inside, the planner would hash all variants for it.
        sql = (
            f"select c.*, {_VARIANT.format(which=SELLABLE)} as in_stock from ("  # noqa: S608 - only text of this module; values are parameters
            f"select c.id, {order.column} as key, c.body from {source} where {conditions.sql()} "
            f"order by {order.column} {order.direction}, c.id {order.direction} "
            f"limit {conditions.parameter(limit + 1)}"
            f") c order by c.key {order.direction}, c.id {order.direction}"
        )
        return sql, conditions.args


def _mark(filters: ProductFilters) -> str:
    """What tells the list from others; a category or collection is the same one when there is more or less in it."""
    return list_mark("products", msgspec.structs.replace(filters, categories=(), chosen=None))


def _needs_price(filters: ProductFilters) -> bool:
    return filters.price_min is not None or filters.price_max is not None or filters.sort in ("price", "-price")


def _card_conditions(conditions: Conditions, filters: ProductFilters) -> None:
    """What the card and its prices say for the product as a whole."""
    if filters.status is not None:
        conditions.add("c.status = {it}", it=filters.status)
    if filters.q is not None and filters.q.strip():
        found = words(storable(filters.q, "q"))[:SEARCH_WORDS]
        # Letters and digits alone are left in a word: quoting can't be broken out of.
        query = " & ".join(f"'{word}':*" for word in found)
        conditions.add("c.search @@ {it}::text::tsquery", it=query)
    if filters.tag is not None:
        conditions.add("c.tags @> array[{it}::text]", it=fold(storable(filters.tag, "tag")))
    if filters.vendor is not None:
        conditions.add("c.vendor = {it}", it=fold(storable(filters.vendor, "vendor")))
    if filters.categories:
        conditions.add("c.categories && {it}::text[]", it=list(filters.categories))
    elif filters.category is not None:
        category = fold(storable(filters.category, "category"))
        conditions.add("(c.type = {it} or c.tags @> array[{it}])", it=category)
    if filters.price_min is not None:
        conditions.add("p.high >= {it}", it=checked_amount(filters.price_min, "price_min"))
    if filters.price_max is not None:
        conditions.add("p.low <= {it}", it=checked_amount(filters.price_max, "price_max"))


def _variant_conditions(conditions: Conditions, filters: ProductFilters) -> None:
    """What has to be true of one and the same variant."""
    which = []
    if filters.options:
        pairs = [option(storable(name, "option"), storable(value, "option")) for name, value in filters.options.items()]
        which.append(f"v.options @> {conditions.parameter(pairs)}::text[]")
    if filters.price_min is not None or filters.price_max is not None:
        price = f"(v.prices ->> {conditions.parameter(filters.currency)})::numeric"
        if filters.price_min is not None:
            which.append(f"{price} >= {conditions.parameter(filters.price_min)}")
        if filters.price_max is not None:
            which.append(f"{price} <= {conditions.parameter(filters.price_max)}")
    if which or filters.in_stock:
        sellable = [SELLABLE] if filters.in_stock else []
        conditions.add(_VARIANT.replace("{which}", " and ".join([*which, *sellable])))
    if filters.in_stock is False:
        conditions.add("not " + _VARIANT.replace("{which}", " and ".join([*which, SELLABLE])))
