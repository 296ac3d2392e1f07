"""Products as lists and search show them, and the stock beside them: documents of a search engine.

Events only say which products and SKUs changed; their committed public forms are what is written.
"""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from ultramarket.domain.folding import readable
from ultramarket.messages.product import ShownProduct, ShownVariant, Status
from ultramarket.ports.database import Connection
from ultramarket.ports.search import (
    Availability,
    Chosen,
    FacetValue,
    Hit,
    Search,
    SearchDocument,
    SearchQuery,
    SearchVariant,
    Sort,
)
from ultramarket.views.pages import Page, checked_limit, list_mark, read_cursor, write_cursor
from ultramarket.views.projection import LogEvent
from ultramarket.views.reading import ReadMany, newest

Some = str | tuple[str, ...] | None
"""One value, several of which any will do, or whatever."""


class ProductFilters(msgspec.Struct, frozen=True, kw_only=True):
    """What a list of products is asked for; everything that is set must hold, texts whatever their case and accents.

    Attributes:
        q: words and "phrases", see `ports.search.SearchQuery`.
        language: language tag of `q`.
        category: the product's type or one of its tags, unless `categories` says which categories are meant.
        categories: ids of categories, any of which will do.
        collection: id of a collection; `chosen` says what is in it.
        price_min: at least this in `currency`, for one and the same variant as the other conditions on variants.
        in_stock: True for products that can be bought now, False for the others.
        options: e.g. `{"Size": "M"}`, all of them on one variant, which is the one that price and stock are asked of.
        status: None shows all: for staff only.
        currency: for prices, as filter and as order; products without a price in it are left out then.
        sort: None is by relevance where there is a `q`, else the newest first; `manual` is the order of the collection,
            where that is made by hand.
    """

    q: str | None = None
    language: str = "en"
    tag: Some = None
    vendor: Some = None
    type: Some = None
    category: str | None = None
    categories: tuple[str, ...] = ()
    collection: str | None = None
    chosen: Chosen | None = None
    currency: str | None = None
    price_min: Decimal | None = None
    price_max: Decimal | None = None
    in_stock: bool | None = None
    options: dict[str, str | tuple[str, ...]] = {}
    status: Status | None = "published"
    sort: Sort | None = None


class FoundProduct(msgspec.Struct, frozen=True):
    """A product of a list: its public form as last projected, and whether any of its variants can be bought now.

    Attributes:
        highlights: HTML of title and description where words of `q` were found, see `ports.search.Hit`.
    """

    product: ShownProduct
    in_stock: bool
    highlights: dict[str, str] = {}


class FoundProducts(msgspec.Struct, frozen=True):
    """A page of products, and the facets that were asked for."""

    page: Page[FoundProduct]
    facets: dict[str, tuple[FacetValue, ...]]


class SuggestedProducts(msgspec.Struct, frozen=True):
    """What somebody who is typing may mean: published products, and texts that find some."""

    products: tuple[FoundProduct, ...]
    completions: tuple[str, ...]


class ProductView:
    """Writes the products and the stock into a search engine, and finds products in it.

    Args:
        search: the engine.
        shown: reads committed public forms, `Actors.read_many`.
    """

    # The number is raised when what is written changes: under a new name the view begins at the log's beginning.
    name = "products.2"
    kinds = ("product", "inventory")
    needs_data = False

    def __init__(self, search: Search, shown: ReadMany) -> None:
        self._search = search
        self._shown = shown
        self.tables = search.tables

    async def apply(self, connection: Connection, events: Sequence[LogEvent]) -> None:
        """Write the products and stock levels that the events touched, as they are now."""
        products = await newest(self._shown, "product", events)
        await self._search.write(connection, [document(form.value) for form in products.values()])
        stock = await newest(self._shown, "inventory", events)
        levels = [Availability(form.value.sku, form.value.version, form.value.available) for form in stock.values()]
        await self._search.write_availability(connection, levels)

    async def find(self, filters: ProductFilters, limit: int = 24, cursor: str | None = None) -> Page[FoundProduct]:
        """A page of products.

        Args:
            filters: what to find and in which order.
            limit: items, 1 to 100.
            cursor: `next` of the page before.

        Raises:
            ValueError: limit or cursor are not as they must be, or a price is asked without a currency; the message
                says so to people.
            Unavailable: the search engine can't be reached.
        """
        return (await self.search(filters, limit, cursor)).page

    async def search(
        self,
        filters: ProductFilters,
        limit: int = 24,
        cursor: str | None = None,
        *,
        facets: tuple[str, ...] = (),
        highlight: bool = False,
    ) -> FoundProducts:
        """A page of products with facets, see `ports.search.SearchQuery`, and with highlights where they are wanted.

        Raises:
            ValueError: as `find`, or there is no such facet.
            Unavailable: the search engine can't be reached.
        """
        place = None if cursor is None else read_cursor(cursor, _mark(filters), str)[0]
        found = await self._search.find(
            _query(
                filters,
                facets=facets,
                highlight=highlight,
                limit=checked_limit(limit),
                cursor=place,
            )
        )
        following = None
        if found.next is not None:
            following = write_cursor(_mark(filters), found.next, found.hits[-1].id)
        return FoundProducts(Page(items=tuple(_found(hit) for hit in found.hits), next=following), found.facets)

    async def suggest(self, text: str, language: str = "en", limit: int = 5) -> SuggestedProducts:
        """What a text that is still being typed may become, at most so many of each.

        Raises:
            ValueError: the text can't be searched for.
            Unavailable: the search engine can't be reached.
        """
        suggested = await self._search.suggest(text, language, limit)
        return SuggestedProducts(tuple(_found(hit) for hit in suggested.hits), suggested.completions)


def _mark(filters: ProductFilters) -> str:
    """What tells the list from others; a category or collection is the same one when there is more or less in it."""
    return list_mark("products", msgspec.structs.replace(filters, categories=(), chosen=None))


def document(product: ShownProduct) -> SearchDocument:
    """The product as a search engine takes it."""
    return SearchDocument(
        id=product.id,
        version=product.version,
        handle=product.handle,
        status=product.status,
        title=product.title,
        description={tag: " ".join(readable(text).split()) for tag, text in product.description.items()},
        vendor=product.vendor,
        type=product.type,
        tags=product.tags,
        categories=product.categories,
        variants=tuple(_variant(variant) for variant in product.variants),
        created_at=product.created_at,
        body=msgspec.json.encode(product).decode(),
    )


def _variant(variant: ShownVariant) -> SearchVariant:
    return SearchVariant(
        sku=variant.sku,
        barcode=variant.barcode,
        titles=tuple(variant.title.values()),
        options=variant.options,
        prices={currency: Decimal(price.amount) for currency, price in variant.prices.items()},
        always=not variant.track_stock or variant.when_out == "continue",
    )


def _found(hit: Hit) -> FoundProduct:
    return FoundProduct(msgspec.json.decode(hit.body, type=ShownProduct), hit.in_stock, hit.highlights)


def _query(
    filters: ProductFilters, *, facets: tuple[str, ...], highlight: bool, limit: int, cursor: str | None
) -> SearchQuery:
    return SearchQuery(
        text=filters.q or "",
        language=filters.language,
        status=filters.status,
        tags=_several(filters.tag),
        vendors=_several(filters.vendor),
        types=_several(filters.type),
        category=None if filters.categories else filters.category,
        categories=filters.categories,
        chosen=filters.chosen,
        currency=filters.currency,
        price_min=filters.price_min,
        price_max=filters.price_max,
        in_stock=filters.in_stock,
        options={name: _several(value) for name, value in filters.options.items()},
        sort=filters.sort,
        facets=facets,
        highlight=highlight,
        limit=limit,
        cursor=cursor,
    )


def _several(value: Some) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else () if value is None else (value,)
