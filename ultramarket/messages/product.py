"""Product: a catalogue entry with its variants; it owns its handle and its SKUs."""

from datetime import datetime
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from ultramarket.domain.money import Money
from ultramarket.messages.common import Message, ShownMoney, Text

Status = Literal["draft", "published", "archived"]
WhenOut = Literal["deny", "continue"]


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """A way in which variants differ, e.g. Size: S, M, L."""

    name: str
    values: tuple[str, ...]


class Media(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A picture or film by its address, with a text for those who can't see it."""

    url: str
    alt: Text = {}


class Seo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Title and description for search engines; empty ones fall back to the product's own."""

    title: Text = {}
    description: Text = {}


class Variant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is sold: one SKU with its price.

    Attributes:
        options: the value of each of the product's options.
        prices: one price a currency; the first one is the leading price.
        compare_at: former or recommended prices, shown struck through; same currencies or fewer.
        track_stock: False sells without looking at stock.
        when_out: `continue` sells past zero (backorder).
    """

    sku: str
    title: Text = {}
    options: dict[str, str] = {}
    prices: tuple[Money, ...]
    compare_at: tuple[Money, ...] = ()
    weight_grams: int = 0
    barcode: str = ""
    tax_class: str = "standard"
    track_stock: bool = True
    when_out: WhenOut = "deny"


# Commands


class CreateProduct(Message, frozen=True, kw_only=True):
    """Make a product; claims `handle` and every SKU. Replies `ProductKept`.

    Attributes:
        categories: ids of the categories that it is in.
    """

    handle: str
    title: Text
    description: Text = {}
    vendor: str = ""
    type: str = ""
    tags: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    media: tuple[Media, ...] = ()
    seo: Seo = Seo()
    status: Status = "draft"
    variants: tuple[Variant, ...]


class ChangeProduct(Message, frozen=True):
    """Change the fields that are set; the others stay. Replies `ProductKept`.

    A change to what already is records nothing.

    Attributes:
        expect: refuse with 412 `version_mismatch` unless the product has this version (If-Match).
    """

    handle: str | UnsetType = UNSET
    title: Text | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    vendor: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    categories: tuple[str, ...] | UnsetType = UNSET
    options: tuple[Option, ...] | UnsetType = UNSET
    media: tuple[Media, ...] | UnsetType = UNSET
    seo: Seo | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    variants: tuple[Variant, ...] | UnsetType = UNSET
    expect: int | None = None


class PutProduct(Message, frozen=True):
    """Create the product or make it equal to this one, keeping what an import file can't say. Replies `ProductKept`.

    Prices of currencies that `product` doesn't name, and texts of languages that it doesn't name, stay.
    A text that it names with nothing in it goes.
    """

    product: CreateProduct


class SetPrices(Message, frozen=True, kw_only=True):
    """Set prices of one variant; those in currencies that are not named stay. Replies `ProductKept`.

    Refused with 422 `sku_not_found` where the product does not have the SKU.

    Attributes:
        prices: one a currency.
        compare_at: take the places of those in their currencies; empty: there is nothing to compare with any more.
    """

    sku: str
    prices: tuple[Money, ...] = ()
    compare_at: tuple[Money, ...] | UnsetType = UNSET


class ArchiveProduct(Message, frozen=True):
    """Take the product out of the shop; it keeps its handle and SKUs. Replies `ProductKept`.

    Archived already: nothing happens.
    """

    expect: int | None = None


class QuotedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A price that a cart was given for a SKU of this product."""

    sku: str
    price: Money
    locked_until: datetime


class ConfirmQuotes(Message, frozen=True):
    """Message of an order: may these be sold at these prices? Answered with `messages.order.QuotesJudged`.

    A price that moved is honoured until its `locked_until`, judged by `at`, the time the order was placed.
    """

    order: str
    at: datetime
    lines: tuple[QuotedLine, ...]


# Events


class ProductCreated(Message, frozen=True):
    """The product exists, with all its fields."""

    at: datetime
    product: CreateProduct


class ProductChanged(Message, frozen=True):
    """The fields that are set have these values now."""

    at: datetime
    changes: ChangeProduct


class ProductArchived(Message, frozen=True):
    """The product left the shop."""

    at: datetime


# Replies and the public form


class ProductKept(msgspec.Struct, frozen=True, kw_only=True):
    """The product after a command; `changed` says whether the command recorded anything."""

    id: str
    version: int
    changed: bool


class ShownVariant(msgspec.Struct, frozen=True, kw_only=True):
    """The public form of a variant; `price` is the leading one, `prices` has all by currency."""

    sku: str
    title: Text
    options: dict[str, str]
    price: ShownMoney
    prices: dict[str, ShownMoney]
    compare_at_price: ShownMoney | None
    weight_grams: int
    barcode: str
    tax_class: str
    track_stock: bool
    when_out: WhenOut


class ShownMedia(msgspec.Struct, frozen=True, kw_only=True):
    """The public form of a medium, its alt text per language."""

    url: str
    alt: Text


class ShownSeo(msgspec.Struct, frozen=True, kw_only=True):
    """The public form of the search engine texts, per language."""

    title: Text
    description: Text


class ShownProduct(msgspec.Struct, frozen=True, kw_only=True):
    """The public form of a product, its texts per language; the edge picks the language."""

    id: str
    version: int
    handle: str
    title: Text
    description: Text
    vendor: str
    type: str
    tags: tuple[str, ...]
    categories: tuple[str, ...] = ()
    options: tuple[Option, ...]
    media: tuple[ShownMedia, ...]
    seo: ShownSeo
    status: Status
    variants: tuple[ShownVariant, ...]
    created_at: datetime
    updated_at: datetime
