"""The conditions, orders and pages of a search in SQL: text of these modules alone, values only as parameters."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from ultramarket.adapters.postgres_search_parameters import Parameters
from ultramarket.adapters.postgres_search_rules import by_hand, chosen_by
from ultramarket.adapters.postgres_search_words import Match
from ultramarket.adapters.postgres_search_write import option
from ultramarket.domain.folding import fold, storable
from ultramarket.ports.search import OPTION_FACET, Chosen, SearchQuery, Sort

_AMOUNT_DIGITS = 30
_CURSOR_LETTERS = 2000


class Place(NamedTuple):
    """Where a page ends: the values that its order goes by, the id, and whether typos were forgiven."""

    keys: tuple[Any, ...]
    id: str
    typos: bool


class Order(NamedTuple):
    """How hits are sorted: expressions and what they hold, and the direction; ids decide between equals."""

    columns: tuple[str, ...]
    types: tuple[type, ...]
    direction: str


_ORDERS: dict[Sort, Order] = {
    "newest": Order(("c.created_at",), (datetime,), "desc"),
    "title": Order(("c.title",), (str,), "asc"),
    "price": Order(("p.low",), (Decimal,), "asc"),
    "-price": Order(("p.low",), (Decimal,), "desc"),
}


def ordered(query: SearchQuery, match: Match | None, parameters: Parameters) -> Order:
    """The order of a query. Relevance is a few steps, the newest first within each: the same on every page."""
    if query.order == "manual":
        return Order((by_hand(parameters, query.chosen or Chosen()),), (Decimal,), "asc")
    if query.order != "relevance":
        return _ORDERS[query.order]
    if match is None:
        return _ORDERS["newest"]
    # Most hits of a common word are in descriptions: of those nothing more is asked.
    step = (
        f"case when c.names @@ {parameters.add(match.all)}::text::tsquery then 1 "
        f"+ (c.codes @> array[{parameters.add(match.code)}::text])::int * 16 "
        f"+ case when c.names @@ {parameters.add(match.title)}::text::tsquery then 2 "
        f"+ (c.names @@ {parameters.add(match.exact)}::text::tsquery)::int * 4 else 0 end else 0 end"
    )
    if match.typed is not None:
        step += f" + (c.id = any({parameters.add(list(match.typed))}::text[]))::int * 8"
    return Order((step, "c.created_at"), (int, datetime), "desc")


def source(query: SearchQuery, without: str = "") -> str:
    """The tables of a query; its price joins in where it is asked for, but not for the facet whose filter is left out.

    Raises:
        ValueError: a price is asked for without a currency.
    """
    if not (without != "price" and _bounds(query)) and query.order not in ("price", "-price"):
        return "product_card c"
    if query.currency is None:
        raise ValueError("A price is asked for without its currency: name one, e.g. USD.")
    return "product_card c join product_price p on p.product = c.id"


def conditions(
    query: SearchQuery,
    match: Match | None,
    parameters: Parameters,
    tables: str,
    without: str = "",
    column: str = "search",
) -> str:
    """What must hold of a product.

    Args:
        query: the query.
        match: its words.
        parameters: of the statement.
        tables: of `source`.
        without: the facet whose own filter is left out.
        column: where the words are looked for, `search` or `names`.

    Raises:
        ValueError: a filter can't be; the message says so to people.
    """
    parts = ["true"]
    if " p on " in tables:
        parts.append(f"p.currency = {parameters.add(storable(query.currency or '', 'currency'))}")
    if query.status is not None:
        parts.append(f"c.status = {parameters.add(query.status)}")
    if match is not None:
        parts.append(f"c.{column} @@ {parameters.add(match.all)}::text::tsquery")
    for facet, values in (("vendor", query.vendors), ("type", query.types)):
        if values and facet != without:
            parts.append(_equal(f"c.{facet}", [fold(storable(value, facet)) for value in values], parameters))
    if query.tags and without != "tag":
        parts.append(f"c.tags && {parameters.add([fold(storable(tag, 'tag')) for tag in query.tags])}::text[]")
    if query.category is not None:
        category = parameters.add(fold(storable(query.category, "category")))
        parts.append(f"(c.type = {category} or c.tags @> array[{category}])")
    if query.categories:
        parts.append(f"c.categories && {parameters.add([storable(id, 'category') for id in query.categories])}::text[]")
    if query.chosen is not None:
        parts.append(chosen_by(parameters, query.chosen))
    return " and ".join([*parts, *_offers(query, parameters, without)])


def _offers(query: SearchQuery, parameters: Parameters, without: str) -> list[str]:
    """What the variants of a product must be: what the card knows of all of them, then one that is all of it."""
    wanted = option_values(query, without)
    parts = [f"c.options && {parameters.add(values)}::text[]" for values in wanted]
    bounded = without != "price" and _bounds(query)
    if bounded and query.price_min is not None:
        parts.append(f"p.high >= {parameters.add(_checked(query.price_min, 'price_min'))}")
    if bounded and query.price_max is not None:
        parts.append(f"p.low <= {parameters.add(_checked(query.price_max, 'price_max'))}")
    stock = None if without == "in_stock" else query.in_stock
    if stock is not None and not (wanted or bounded):
        parts.append("c.in_stock" if stock else "not c.in_stock")
        return parts
    both_bounds = query.price_min is not None and query.price_max is not None
    several = len(wanted) + bounded + (stock is not None) > 1 or (bounded and both_bounds)
    if several:
        which = of_variant(query, parameters, without, stock=bool(stock))
        exists = f"select from product_variant v where v.product = c.id and {which}"
        if bounded and stock is None and len(wanted) <= 1:
            # Mostly all variants of a product are within the bounds: then it is any that has the option. The offset
            # keeps the planner from reading all variants for the few where it is not so.
            parts.append(f"({_inside(query, parameters)} or exists ({exists} offset 0))")
        else:
            parts.append(f"exists ({exists})")
    if stock is False:
        which = of_variant(query, parameters, without, stock=True)
        parts.append(f"not exists (select from product_variant v where v.product = c.id and {which})")
    if stock:
        parts.append("c.in_stock")
    return parts


def _inside(query: SearchQuery, parameters: Parameters) -> str:
    """That every price of a product is within the bounds."""
    parts = []
    if query.price_min is not None:
        parts.append(f"p.low >= {parameters.add(query.price_min)}")
    if query.price_max is not None:
        parts.append(f"p.high <= {parameters.add(query.price_max)}")
    return " and ".join(parts)


def of_variant(query: SearchQuery, parameters: Parameters, without: str, *, stock: bool) -> str:
    """What must be true of one variant `v`; with `stock` it can be bought, too."""
    parts = [f"v.options && {parameters.add(values)}::text[]" for values in option_values(query, without)]
    if without != "price" and _bounds(query):
        price = f"(v.prices ->> {parameters.add(query.currency)})::numeric"
        if query.price_min is not None:
            parts.append(f"{price} >= {parameters.add(query.price_min)}")
        if query.price_max is not None:
            parts.append(f"{price} <= {parameters.add(query.price_max)}")
    if stock:
        parts.append("v.in_stock")
    return " and ".join(parts) or "true"


def option_values(query: SearchQuery, without: str = "") -> list[list[str]]:
    """The options that are asked for as variants have them, but not the one of this facet."""
    return [
        [option(storable(name, "option"), storable(value, "option")) for value in values]
        for name, values in query.options.items()
        if values and not is_facet_of(without, name)
    ]


def is_facet_of(facet: str, name: str) -> bool:
    """Whether the facet is the one of the option with this name."""
    return facet.startswith(OPTION_FACET) and fold(facet.removeprefix(OPTION_FACET)) == fold(name)


def page(query: SearchQuery, match: Match | None, place: Place | None, column: str = "search") -> tuple[str, list[Any]]:
    """The statement of a page and one hit more, and its parameters; words are looked for in `search` or in `names`.

    Raises:
        ValueError: as `conditions`.
    """
    parameters = Parameters()
    tables = source(query)
    where = conditions(query, match, parameters, tables, column=column)
    order = ordered(query, match, parameters)
    names = [f"k{number}" for number in range(len(order.columns))]
    keys = ", ".join(f"{column} as {name}" for column, name in zip(order.columns, names, strict=True))
    after = "true"
    if place is not None:
        sign = ">" if order.direction == "asc" else "<"
        given = ", ".join(parameters.add(value) for value in (*place.keys, place.id))
        after = f"({', '.join(names)}, c.id) {sign} ({given})"
    by = ", ".join(f"c.{name} {order.direction}" for name in (*names, "id"))
    texts = ", b.texts" if query.highlight and match is not None else ""
    # What is shown is read for the hits of the page alone.
    sql = (
        f"select c.*, b.body{texts} from ("
        f"select * from (select c.id, c.in_stock, {keys} from {tables} where {where}) c "
        f"where {after} order by {by} limit {parameters.add(query.limit + 1)}"
        f") c join product_body b on b.id = c.id order by {by}"
    )
    return sql, parameters.values


def write_place(row: Any, order: Order, *, typos: bool) -> str:
    """The cursor of what follows a row."""
    keys = [row[f"k{number}"] for number in range(len(order.columns))]
    return urlsafe_b64encode(msgspec.json.encode([*keys, row["id"], typos])).decode().rstrip("=")


def read_place(cursor: str, order: Order) -> Place:
    """Where the page before ended.

    Raises:
        ValueError: the cursor is not one of this order.
    """
    try:
        if len(cursor) > _CURSOR_LETTERS:
            raise ValueError("too long")  # noqa: TRY301 - said below in one sentence
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        shape: Any = tuple.__class_getitem__((*order.types, str, bool))
        *keys, id, typos = msgspec.json.decode(raw, type=shape)
        return Place(tuple(_key(key) for key in keys), storable(id, "cursor"), typos)
    except (ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise ValueError("The cursor is broken: take it as `next` gave it, or begin without one.") from error


def _key(key: Any) -> Any:
    if isinstance(key, str):
        return storable(key, "cursor")
    if isinstance(key, Decimal):
        return _checked(key, "cursor")
    if isinstance(key, int):
        return key if 0 <= key < 1 << 15 else _refuse()
    return key.astimezone(UTC) if key.tzinfo is not None else _refuse()


def _refuse() -> Any:
    raise ValueError("no place")


def _bounds(query: SearchQuery) -> bool:
    return query.price_min is not None or query.price_max is not None


def _equal(column: str, values: list[str], parameters: Parameters) -> str:
    """One value is compared as such: an index then gives its rows in order."""
    if len(values) == 1:
        return f"{column} = {parameters.add(values[0])}"
    return f"{column} = any({parameters.add(values)}::text[])"


def _checked(amount: Decimal, name: str) -> Decimal:
    if not amount.is_finite() or abs(amount.adjusted()) > _AMOUNT_DIGITS:
        raise ValueError(f"{name} is not an amount of money.")
    return amount
