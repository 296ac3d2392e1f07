"""What search writes into PostgreSQL: cards, bodies, variants, prices and words, a whole batch in a few statements."""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from ultramarket.adapters.postgres_search_words import configuration
from ultramarket.domain.folding import fold, tokens, words
from ultramarket.ports.database import Connection
from ultramarket.ports.search import PRICE_STEPS, Availability, SearchDocument, SearchVariant

TABLES = (
    "product_card", "product_body", "product_variant", "product_price", "stock_level", "product_word", "product_term",
)  # fmt: skip

TITLE_LETTERS = 200
"""So much of a title counts for the order of a list."""
DESCRIPTION_LETTERS = 20_000
"""So much of a description can be searched."""
_GAP = 10
"""Words between two texts, so that no phrase reaches from one into the other."""
_LAST_PLACE = 16_383
"""PostgreSQL counts no further; words behind have this place."""

# The same version is written again: a rebuild renews what an older release wrote.
# Stems come from PostgreSQL; those of a description have no place, because phrases are of words as they are written.
_CARDS = """
insert into product_card (
    id, version, status, created_at, title, vendor, type, tags, categories, options, ranges, codes,
    in_stock, names, search
)
select id, version, status, created_at, title, vendor, type, tags, categories, options, ranges, codes,
    always or exists (select from stock_level l where l.sku = any(r.skus) and l.available > 0),
    (exact || ' ' || coalesce(stems.short, ''))::tsvector,
    (exact || ' ' || r.long || ' ' || coalesce(stems.short, '') || ' ' || coalesce(stems.long, ''))::tsvector
from json_to_recordset($1::text::json) as r (
    id text, version bigint, status text, created_at timestamptz, title text, vendor text, type text, tags text[],
    categories text[], options text[], ranges text[], codes text[], always boolean, skus text[],
    exact text, long text, stemmed json
)
cross join lateral (
    select string_agg(setweight(to_tsvector(s.config::regconfig, s.title), 'A')::text, ' ') as short,
        string_agg(strip(to_tsvector(s.config::regconfig, s.description))::text, ' ') as long
    from json_to_recordset(r.stemmed) as s (config text, title text, description text)
) stems
order by id
on conflict (id) do update set version = excluded.version, status = excluded.status, created_at = excluded.created_at,
    title = excluded.title, vendor = excluded.vendor, type = excluded.type, tags = excluded.tags,
    categories = excluded.categories, options = excluded.options,
    ranges = excluded.ranges, codes = excluded.codes, in_stock = excluded.in_stock, names = excluded.names,
    search = excluded.search
where excluded.version >= product_card.version
returning id
"""
_BODIES = """
insert into product_body (id, body, texts)
select id, body, texts from json_to_recordset($1::text::json) as r (id text, body text, texts text) order by id
on conflict (id) do update set body = excluded.body, texts = excluded.texts
"""
_DROP_VARIANTS = "delete from product_variant where product = any($1::text[])"
_DROP_PRICES = "delete from product_price where product = any($1::text[])"
_VARIANTS = """
insert into product_variant (product, sku, options, prices, always, in_stock)
select r.product, r.sku, r.options, r.prices, r.always, r.always or coalesce(l.available > 0, false)
from json_to_recordset($1::text::json) as r (product text, sku text, options text[], prices jsonb, always boolean)
left join stock_level l on l.sku = r.sku
"""
_PRICES = """
insert into product_price (product, currency, low, high)
select product, currency, low, high
from json_to_recordset($1::text::json) as r (product text, currency text, low numeric, high numeric)
"""
_WORDS = """
insert into product_word (word, shown) select * from unnest($1::text[], $2::text[]) as r (word, shown) order by word
on conflict do nothing
"""
_TERMS = """
insert into product_term (facet, value, shown)
select * from unnest($1::text[], $2::text[], $3::text[]) as r (facet, value, shown) order by facet, value
on conflict do nothing
"""
# Variants and cards are written only where a sale was the last one, or pieces came after it: hardly ever.
_STOCK = """
with level as (
    insert into stock_level (sku, version, available)
    select sku, version, available
    from json_to_recordset($1::text::json) as r (sku text, version bigint, available bigint)
    order by sku
    on conflict (sku) do update set version = excluded.version, available = excluded.available
    where excluded.version >= stock_level.version
    returning sku, available > 0 as some
), turned as (
    update product_variant v set in_stock = v.always or l.some from level l
    where v.sku = l.sku and v.in_stock <> (v.always or l.some)
    returning v.product, v.sku, v.in_stock
)
update product_card c set in_stock = n.in_stock
from (
    select v.product, bool_or(coalesce(t.in_stock, v.in_stock)) as in_stock
    from product_variant v left join turned t on t.product = v.product and t.sku = v.sku
    where v.product in (select product from turned)
    group by v.product
) n
where c.id = n.product and c.in_stock <> n.in_stock
"""


async def write_documents(connection: Connection, documents: Iterable[SearchDocument], language: str) -> None:
    """Write the documents that are not there in a newer version.

    Args:
        connection: inside a transaction.
        documents: each id once.
        language: whose titles give the order by title; a product without it counts with its first.
    """
    by_id = {document.id: document for document in documents}
    if not by_id:
        return
    rows = await connection.fetch(_CARDS, _json(_card(document, language) for document in by_id.values()))
    written = [by_id[row["id"]] for row in rows]
    ids = [document.id for document in written]
    await connection.execute(_BODIES, _json(_body(document) for document in written))
    await connection.execute(_DROP_VARIANTS, ids)
    await connection.execute(_DROP_PRICES, ids)
    await connection.execute(_VARIANTS, _json(_variant(d.id, variant) for d in written for variant in d.variants))
    await connection.execute(_PRICES, _json(row for document in written for row in _prices(document)))
    # What was never published is offered to nobody.
    public = [document for document in written if document.status == "published"]
    spelled = {word: shown for document in public for word, shown in _spelled(document)}
    await connection.execute(_WORDS, list(spelled), list(spelled.values()))
    terms = {(facet, value): shown for document in reversed(written) for facet, value, shown in _terms(document)}
    await connection.execute(_TERMS, [facet for facet, _ in terms], [value for _, value in terms], list(terms.values()))


async def write_levels(connection: Connection, levels: Sequence[Availability]) -> None:
    """Write the levels that are not there in a newer version, and what turns in stock or out of it by them."""
    if levels:
        await connection.execute(_STOCK, _json(msgspec.to_builtins(level) for level in levels))


def option(name: str, value: str) -> str:
    """An option as variants are found by, e.g. `size=m`."""
    return f"{fold(name)}={fold(value)}"


def _json(rows: Iterable[dict[str, Any]]) -> str:
    return msgspec.json.encode(list(rows)).decode()


def _card(document: SearchDocument, language: str) -> dict[str, Any]:
    title = document.title.get(language) or next(iter(document.title.values()), document.handle)
    variants = document.variants
    descriptions = {tag: text[:DESCRIPTION_LETTERS] for tag, text in document.description.items()}
    lexemes, place = _lexemes(document.title.values(), "A", 1)
    names, place = _lexemes(_names(document), "B", place)
    long, _ = _lexemes(descriptions.values(), "", place)
    return {
        "id": document.id,
        "version": document.version,
        "status": document.status,
        "created_at": document.created_at,
        "title": fold(title)[:TITLE_LETTERS],
        "vendor": fold(document.vendor),
        "type": fold(document.type),
        "tags": sorted({fold(tag) for tag in document.tags}),
        "categories": sorted(set(document.categories)),
        "options": sorted({option(name, value) for variant in variants for name, value in variant.options.items()}),
        "ranges": sorted(
            {
                f"{currency}:{bisect_right(PRICE_STEPS, price)}"
                for variant in variants
                for currency, price in variant.prices.items()
            }
        ),
        "codes": sorted({fold(code) for variant in variants for code in (variant.sku, variant.barcode) if code}),
        "always": any(variant.always for variant in variants),
        "skus": [variant.sku for variant in variants],
        "exact": f"{lexemes} {names}",
        "long": long,
        "stemmed": [
            {
                "config": config,
                "title": " ".join(words(document.title.get(tag, ""))),
                "description": " ".join(words(descriptions.get(tag, ""))),
            }
            for tag in sorted(document.title.keys() | descriptions.keys())
            if (config := configuration(tag)) is not None
        ],
    }


def _names(document: SearchDocument) -> Iterator[str]:
    """The short texts beside the title, the handle too."""
    yield from (document.handle, document.vendor, document.type)
    yield from document.tags
    yield from dict.fromkeys(text for variant in document.variants for text in _of_variant(variant))


def _of_variant(variant: SearchVariant) -> Iterator[str]:
    yield from (variant.sku, variant.barcode)
    yield from variant.titles
    yield from variant.options.values()


def _lexemes(texts: Iterable[str], weight: str, place: int) -> tuple[str, int]:
    """The words of texts with places and weight, as the text of a tsvector, and the place behind them.

    Words are letters and digits alone: quoting can't be broken out of.
    """
    found = []
    for text in texts:
        for word in words(text):
            found.append(f"'{word}':{min(place, _LAST_PLACE)}{weight}")
            place += 1
        place += _GAP
    return " ".join(found), place


def _body(document: SearchDocument) -> dict[str, Any]:
    texts = {"title": document.title, "description": document.description}
    return {"id": document.id, "body": document.body, "texts": msgspec.json.encode(texts).decode()}


def _variant(product: str, variant: SearchVariant) -> dict[str, Any]:
    return {
        "product": product,
        "sku": variant.sku,
        "options": [option(name, value) for name, value in variant.options.items()],
        "prices": variant.prices,
        "always": variant.always,
    }


def _prices(document: SearchDocument) -> Iterator[dict[str, Any]]:
    amounts: dict[str, list[Decimal]] = {}
    for variant in document.variants:
        for currency, price in variant.prices.items():
            amounts.setdefault(currency, []).append(price)
    for currency, found in amounts.items():
        yield {"product": document.id, "currency": currency, "low": min(found), "high": max(found)}


def _spelled(document: SearchDocument) -> Iterator[tuple[str, str]]:
    """The words of title, vendor, type, tags and options, each with how it is written."""
    options = {value for variant in document.variants for value in variant.options.values()}
    for text in (*document.title.values(), document.vendor, document.type, *document.tags, *sorted(options)):
        for word, begin, end in tokens(text):
            if not word.isdecimal():
                yield word, unicodedata.normalize("NFC", text[begin:end]).lower()


def _terms(document: SearchDocument) -> Iterator[tuple[str, str, str]]:
    """Facet, folded value and how it is written."""
    for facet, shown in (("vendor", document.vendor), ("type", document.type)):
        yield facet, fold(shown), shown
    for tag in document.tags:
        yield "tag", fold(tag), tag
    for variant in document.variants:
        for name, value in variant.options.items():
            yield "option", option(name, value), value
