"""Collection: products that are shown together, chosen by hand or by rules that follow the catalogue."""

from datetime import datetime
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from ultramarket.messages.common import Message, Text
from ultramarket.messages.product import Media, Seo, ShownMedia, ShownSeo

Field = Literal["title", "vendor", "type", "tag", "category", "price", "in_stock", "created_at", "option"]
Relation = Literal["is", "is_not", "contains", "starts_with", "above", "below"]
Match = Literal["all", "any"]
Sort = Literal["manual", "newest", "title", "price", "-price"]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a product; texts are compared whatever their case and accents.

    Attributes:
        value: a text; of `category` an id or handle, which means all below too; of `price` an amount in the default
            channel's currency; of `in_stock` `true` or `false`; of `created_at` a time (RFC 3339); of `option` a name
            and a value such as `Size=M`.
    """

    field: Field
    relation: Relation
    value: str


# Commands


class CreateCollection(Message, frozen=True, kw_only=True):
    """Make a collection; claims its handle. Replies `CollectionKept`.

    Attributes:
        products: ids in their order, where it is made by hand: without rules.
        rules: what makes a product belong to it; `match` says whether all must hold or any.
        sort: the order in which its products are shown; `manual` is the one of `products`.
    """

    handle: str
    title: Text
    description: Text = {}
    seo: Seo = Seo()
    media: tuple[Media, ...] = ()
    published: bool = False
    products: tuple[str, ...] = ()
    match: Match = "all"
    rules: tuple[Rule, ...] = ()
    sort: Sort = "newest"


class ChangeCollection(Message, frozen=True):
    """Change the fields that are set; the others stay. Replies `CollectionKept`.

    A change to what already is records nothing.

    Attributes:
        expect: refuse with 412 `version_mismatch` unless the collection has this version (If-Match).
    """

    handle: str | UnsetType = UNSET
    title: Text | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    seo: Seo | UnsetType = UNSET
    media: tuple[Media, ...] | UnsetType = UNSET
    published: bool | UnsetType = UNSET
    products: tuple[str, ...] | UnsetType = UNSET
    match: Match | UnsetType = UNSET
    rules: tuple[Rule, ...] | UnsetType = UNSET
    sort: Sort | UnsetType = UNSET
    expect: int | None = None


class PlaceProduct(Message, frozen=True):
    """Put a product into a collection that is made by hand, or move it within. Replies `CollectionKept`.

    Attributes:
        position: its place from 0; None, or more than there are: the last, or where it stands already.
    """

    product: str
    position: int | None = None
    expect: int | None = None


class TakeOutProduct(Message, frozen=True):
    """Take a product out of a collection that is made by hand; one that is not in it changes nothing."""

    product: str
    expect: int | None = None


class RemoveCollection(Message, frozen=True):
    """Take the collection out of the shop; its handle is free again. Replies `CollectionKept`."""

    expect: int | None = None


# Events


class CollectionCreated(Message, frozen=True):
    """The collection exists, with all its fields."""

    at: datetime
    collection: CreateCollection


class CollectionChanged(Message, frozen=True):
    """The fields that are set have these values now."""

    at: datetime
    changes: ChangeCollection


class ProductPlaced(Message, frozen=True):
    """The product stands at this place now; it was in the collection before or not."""

    at: datetime
    product: str
    position: int


class ProductTakenOut(Message, frozen=True):
    """The product is not in the collection any more."""

    at: datetime
    product: str


class CollectionRemoved(Message, frozen=True):
    """The collection left the shop."""

    at: datetime


# Replies and the public form


class CollectionKept(msgspec.Struct, frozen=True, kw_only=True):
    """The collection after a command; `changed` says whether the command recorded anything."""

    id: str
    version: int
    changed: bool


class ShownCollection(msgspec.Struct, frozen=True, kw_only=True):
    """The public form of a collection, its texts per language; `removed` says that it left the shop."""

    id: str
    version: int
    handle: str
    title: Text
    description: Text
    seo: ShownSeo
    media: tuple[ShownMedia, ...]
    published: bool
    products: tuple[str, ...]
    match: Match
    rules: tuple[Rule, ...]
    sort: Sort
    removed: bool
    created_at: datetime
    updated_at: datetime
