"""Search: products are written as documents, their availability beside them, and found by words, filters and facets.

What a search engine is to the platform. Texts are compared without case and accents; where several values of one filter
are given, any of them will do; all filters together must hold, and those on variants for one and the same variant.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol

import msgspec

from ultramarket.messages.collection import Match, Rule
from ultramarket.messages.common import Text
from ultramarket.ports.database import Connection

Sort = Literal["relevance", "manual", "newest", "title", "price", "-price"]

SEARCH_WORDS = 10
"""Words of a query that are looked for; further ones are left out."""
FACET_VALUES = 100
"""Values of a facet, those that most products have."""
OPTION_FACET = "option."
"""Facets of options begin so, e.g. `option.Size`."""
FACETS = ("vendor", "type", "tag", "price", "in_stock")
"""The facets beside those of options."""
PRICE_STEPS = tuple(Decimal(f"{step}e{power}") for power in range(-2, 13) for step in (1, 2, 5))
"""Where one price range ends and the next begins: 1, 2, 5, 10, 20, 50 ... in any currency."""
MARKS = ("<mark>", "</mark>")
"""Stand around what was found in a highlight, which is HTML."""


class SearchVariant(msgspec.Struct, frozen=True, kw_only=True):
    """A variant as it is found.

    Attributes:
        titles: in all languages.
        prices: amounts by currency.
        always: it sells without looking at stock.
    """

    sku: str
    barcode: str = ""
    titles: tuple[str, ...] = ()
    options: dict[str, str] = {}
    prices: dict[str, Decimal] = {}
    always: bool = False


class SearchDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A product as it is found.

    Attributes:
        version: of the product; a document never replaces a newer one.
        title: by language tag, e.g. `de` or `pt-BR`.
        description: by language tag, without markup.
        categories: ids.
        body: what a hit gives back, whatever it is.
    """

    id: str
    version: int
    handle: str
    status: str
    title: Text
    description: Text = {}
    vendor: str = ""
    type: str = ""
    tags: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    variants: tuple[SearchVariant, ...] = ()
    created_at: datetime
    body: str


class Availability(msgspec.Struct, frozen=True):
    """How many pieces of a SKU can be bought; one with a lower version never replaces another."""

    sku: str
    version: int
    available: int


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What a collection chooses.

    Attributes:
        products: ids in their order, where it is made by hand.
        match: whether all rules must hold, or any.
        rules: what makes a product belong to it, where it is not made by hand.
        currency: that prices in the rules are in.
        categories: of each category that the rules name, the ids of it and of all below it.
    """

    products: tuple[str, ...] = ()
    match: Match = "all"
    rules: tuple[Rule, ...] = ()
    currency: str = ""
    categories: dict[str, tuple[str, ...]] = {}


class SearchQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for; everything that is set must hold.

    Attributes:
        text: words, each the beginning of a word of the product or a form of one, and "phrases" in quotes. A word that
            hardly anything has stands for those that are spelled like it, too.
        language: language tag of the words.
        status: None finds all.
        category: the product's type or one of its tags.
        categories: ids of categories.
        chosen: what a collection chooses.
        currency: of prices, as filter, facet and order; products without a price in it are left out then.
        price_min: at least this, in `currency`.
        in_stock: True for products that can be bought now, False for the others.
        options: values by name, e.g. `{"Size": ("M", "L")}`.
        sort: None is by relevance where there are words, else the newest first; `manual` is the order of `chosen`.
        facets: of `FACETS` and `OPTION_FACET` with a name; each is counted without the filter of its own.
        highlight: whether hits say where the words were found.
        limit: hits at most.
        cursor: `Found.next` of the page before, of the same query.
    """

    text: str = ""
    language: str = "en"
    status: str | None = "published"
    tags: tuple[str, ...] = ()
    vendors: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    category: str | None = None
    categories: tuple[str, ...] = ()
    chosen: Chosen | None = None
    currency: str | None = None
    price_min: Decimal | None = None
    price_max: Decimal | None = None
    in_stock: bool | None = None
    options: dict[str, tuple[str, ...]] = {}
    sort: Sort | None = None
    facets: tuple[str, ...] = ()
    highlight: bool = False
    limit: int = 24
    cursor: str | None = None

    @property
    def order(self) -> Sort:
        """How the hits are sorted; relevance is nothing without words."""
        if self.text.strip():
            return self.sort or "relevance"
        return "newest" if self.sort in (None, "relevance") else self.sort


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A product that was found.

    Attributes:
        id: of the product.
        body: of its document.
        in_stock: any of its variants can be bought now.
        highlights: HTML of `title` and `description`, where words were found in them, with `MARKS` around the words.
    """

    id: str
    body: str
    in_stock: bool
    highlights: dict[str, str] = {}


class FacetValue(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A value of a facet and how many products have it.

    Attributes:
        value: as it is written in a product, `true` or `false`, or a price range such as `10-20`.
        count: products.
        min: of a price range, which begins with it.
        below: of a price range, which ends before it; None: there is no end.
    """

    value: str
    count: int
    min: Decimal | None = None
    below: Decimal | None = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A page of hits, the facets that were asked for, and the cursor of the next page, None on the last one."""

    hits: tuple[Hit, ...]
    facets: dict[str, tuple[FacetValue, ...]] = {}
    next: str | None = None


class Suggestions(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody who is typing may mean: published products, and texts that find some."""

    hits: tuple[Hit, ...] = ()
    completions: tuple[str, ...] = ()


class Search(Protocol):
    """A search engine.

    Raises:
        Unavailable: it can't be reached.
    """

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables of the platform's database that it writes; none where it has a store of its own."""
        ...

    async def write(self, connection: Connection, documents: Sequence[SearchDocument]) -> None:
        """Write documents, each id once; they are found when the transaction is committed or a little later.

        Args:
            connection: in the transaction of the view's offsets. What is written elsewhere may be written again.
            documents: as they are now.
        """
        ...

    async def write_availability(self, connection: Connection, levels: Sequence[Availability]) -> None:
        """Write how much there is of SKUs, each once, whether a document has them or not; as `write`."""
        ...

    async def find(self, query: SearchQuery) -> Found:
        """What the query finds.

        Raises:
            ValueError: the query or its cursor can't be; the message says so to people.
        """
        ...

    async def suggest(self, text: str, language: str = "en", limit: int = 5) -> Suggestions:
        """What a text that is still being typed may become, at most so many of each.

        Raises:
            ValueError: the text can't be searched for.
        """
        ...
