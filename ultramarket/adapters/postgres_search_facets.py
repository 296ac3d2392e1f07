"""Facets in one statement: each is counted over what the other filters leave, by the card or variant by variant."""

from decimal import Decimal
from typing import Any

from ultramarket.adapters.postgres_search_parameters import Parameters
from ultramarket.adapters.postgres_search_query import conditions, is_facet_of, of_variant, option_values, source
from ultramarket.adapters.postgres_search_words import Match
from ultramarket.domain.folding import fold, storable
from ultramarket.ports.database import Connection
from ultramarket.ports.search import FACET_VALUES, FACETS, OPTION_FACET, PRICE_STEPS, FacetValue, SearchQuery

MOST = 20
"""Facets that are counted at once."""
_STEPS = list(PRICE_STEPS)


def checked(facets: tuple[str, ...]) -> tuple[str, ...]:
    """The facets, each once.

    Raises:
        ValueError: one of them there is not.
    """
    if len(facets) > MOST:
        raise ValueError(f"More than {MOST} facets are asked for.")
    for facet in facets:
        if facet not in FACETS and not (facet.startswith(OPTION_FACET) and facet.removeprefix(OPTION_FACET)):
            raise ValueError(
                f"There is no facet {storable(facet, 'facets')[:100]}: there is {', '.join(FACETS)}, option.NAME."
            )
    return tuple(dict.fromkeys(storable(facet, "facets") for facet in facets))


async def count(connection: Connection, query: SearchQuery, match: Match | None) -> dict[str, tuple[FacetValue, ...]]:
    """The facets that the query asks for, values that most products have first, price ranges from the lowest.

    Raises:
        ValueError: a facet or filter can't be.
    """
    facets = checked(query.facets)
    if not facets:
        return {}
    sql, args = statement(query, match, facets)
    found: dict[int, list[FacetValue]] = {}
    for row in await connection.fetch(sql, *args):
        found.setdefault(row["facet"], []).append(_value(facets[row["facet"]], row))
    return {facet: _sorted(facet, found.get(number, [])) for number, facet in enumerate(facets)}


def statement(query: SearchQuery, match: Match | None, facets: tuple[str, ...]) -> tuple[str, list[Any]]:
    """The statement that counts, and its parameters.

    Facets without a filter of their own share one pass over the products that the query finds, which counts how often
    each set of values occurs; only those sets are taken apart. Each facet with a filter has a pass of its own.

    Raises:
        ValueError: as `count`.
    """
    parameters = Parameters()
    passes: dict[tuple[str, bool], list[int]] = {}
    for number, facet in enumerate(facets):
        own = facet if _filtered(query, facet) else ""
        passes.setdefault((own, _by_variant(query, facet, own)), []).append(number)
    tables: list[str] = []
    selects: list[str] = []
    for (own, by_variant), numbers in passes.items():
        name = f"h{len(tables)}"
        tables.append(f"{name} as materialized ({_pass(query, match, parameters, own, by_variant, facets, numbers)})")
        for number in numbers:
            counted = (_of_variants if by_variant else _of_cards)(query, facets[number], name, own, parameters)
            selects.append(f"select {number} as facet, f.* from ({counted} order by 2 desc, 1 limit {FACET_VALUES}) f")
    kinds = parameters.add(["option" if facet.startswith(OPTION_FACET) else facet for facet in facets])
    sql = (
        f"with {', '.join(tables)} "
        f"select f.*, coalesce(t.shown, f.value) as shown from ({' union all '.join(selects)}) f "
        f"left join product_term t on t.facet = ({kinds}::text[])[f.facet + 1] and t.value = f.value"
    )
    return sql, parameters.values


def _filtered(query: SearchQuery, facet: str) -> bool:
    """Whether the query has a filter on this facet."""
    if facet.startswith(OPTION_FACET):
        return any(values and is_facet_of(facet, name) for name, values in query.options.items())
    return {
        "vendor": bool(query.vendors),
        "type": bool(query.types),
        "tag": bool(query.tags),
        "price": query.price_min is not None or query.price_max is not None,
        "in_stock": query.in_stock is not None,
    }[facet]


def _by_variant(query: SearchQuery, facet: str, own: str) -> bool:
    """Whether single variants have to be asked: the facet is of variants, and there are other conditions on them."""
    if facet in ("vendor", "type", "tag"):
        return False
    stock = query.in_stock is True and facet != "in_stock"
    bounds = facet != "price" and _filtered(query, "price")
    return stock or bounds or bool(option_values(query, own))


def _column(facet: str) -> str:
    """Where the card has the values of a facet."""
    return {"tag": "tags", "price": "ranges"}.get(facet, "options" if facet.startswith(OPTION_FACET) else facet)


def _pass(
    query: SearchQuery,
    match: Match | None,
    parameters: Parameters,
    own: str,
    by_variant: bool,
    facets: tuple[str, ...],
    numbers: list[int],
) -> str:
    """What is read of the products that are found without the filter of one facet."""
    tables = source(query, own)
    where = conditions(query, match, parameters, tables, own)
    if by_variant:
        return f"select c.id from {tables} where {where}"
    columns = list(dict.fromkeys(_column(facets[number]) for number in numbers))
    told = ", ".join(f"c.{column}, grouping(c.{column}) as no_{column}" for column in columns)
    sets = ", ".join(f"(c.{column})" for column in columns)
    return f"select {told}, count(*) as n from {tables} where {where} group by grouping sets ({sets})"


def _of_cards(query: SearchQuery, facet: str, name: str, _own: str, parameters: Parameters) -> str:
    """Values and counts of a facet from a pass over cards."""
    column = _column(facet)
    rows = f"from {name} where no_{column} = 0"
    if facet in ("vendor", "type"):
        return f"select {column} as value, n as count {rows} and {column} <> ''"
    if facet == "in_stock":
        return f"select in_stock::text as value, n as count {rows}"
    values = f"from {name}, unnest({column}) value where no_{column} = 0"
    if facet == "tag":
        return f"select value, sum(n)::bigint as count {values} group by 1"
    if facet == "price":
        before = parameters.add(f"{_currency(query)}:")
        return (
            f"select substr(value, length({before}) + 1) as value, sum(n)::bigint as count {values} "
            f"and starts_with(value, {before}) group by 1"
        )
    return (
        f"select value, sum(n)::bigint as count {values} and starts_with(value, {_name(facet, parameters)}) group by 1"
    )


def _of_variants(query: SearchQuery, facet: str, name: str, own: str, parameters: Parameters) -> str:
    """Values and counts of a facet from the variants of a pass that are all that is asked for."""
    stock = query.in_stock is True and facet != "in_stock"
    which = of_variant(query, parameters, own, stock=stock)
    rows = f"{name} h join product_variant v on v.product = h.id and {which}"
    if facet == "in_stock":
        each = f"select h.id, bool_or(v.in_stock)::text as value from {rows} group by 1"
    elif facet == "price":
        price = f"(v.prices ->> {parameters.add(_currency(query))})::numeric"
        value = f"width_bucket({price}, {parameters.add(_STEPS)}::numeric[])::text"
        each = f"select distinct h.id, {value} as value from {rows} and {price} is not null"
    else:
        begins = f"starts_with(value, {_name(facet, parameters)})"
        each = f"select distinct h.id, value from {rows} cross join unnest(v.options) value where {begins}"
    return f"select value, count(*) as count from ({each}) o group by 1"


def _name(facet: str, parameters: Parameters) -> str:
    """What the options of a facet begin with."""
    return parameters.add(f"{fold(facet.removeprefix(OPTION_FACET))}=")


def _currency(query: SearchQuery) -> str:
    """The currency of prices.

    Raises:
        ValueError: there is none.
    """
    if query.currency is None:
        raise ValueError("A price is asked for without its currency: name one, e.g. USD.")
    return storable(query.currency, "currency")


def _value(facet: str, row: Any) -> FacetValue:
    if facet != "price":
        return FacetValue(value=row["shown"], count=row["count"])
    number = int(row["value"])
    low = PRICE_STEPS[number - 1] if number else Decimal(0)
    high = PRICE_STEPS[number] if number < len(PRICE_STEPS) else None
    return FacetValue(
        value=f"{low:f}-{'' if high is None else format(high, 'f')}", count=row["count"], min=low, below=high
    )


def _sorted(facet: str, values: list[FacetValue]) -> tuple[FacetValue, ...]:
    if facet == "price":
        return tuple(sorted(values, key=lambda value: value.min or Decimal(0)))
    return tuple(sorted(values, key=lambda value: (-value.count, value.value)))
