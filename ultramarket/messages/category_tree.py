"""The category tree: all categories of a shop are one entity, so that cycles and double handles can't come about."""

from datetime import datetime
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from ultramarket.messages.common import Message, Text
from ultramarket.messages.product import Media, Seo

TREE = "main"
"""Id of the one tree of a shop."""


class Details(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a category says about itself on its own page; kept as an entity part, so that the tree stays small."""

    description: Text = {}
    seo: Seo = Seo()
    media: tuple[Media, ...] = ()


# Commands


class AddCategory(Message, frozen=True):
    """Make a category. Replies `CategoryKept`.

    Attributes:
        parent: id of the category above; None: at the top.
        position: its place among its siblings from 0; None, or more than there are: the last.
        expect: refuse with 412 `version_mismatch` unless the tree has this version (If-Match).
    """

    id: str
    handle: str
    title: Text
    parent: str | None = None
    position: int | None = None
    details: Details = Details()
    expect: int | None = None


class ChangeCategory(Message, frozen=True):
    """Change what is set; the rest stays. Replies `CategoryKept`. A change to what already is records nothing.

    Attributes:
        parent: moves the category with all below it; None: to the top.
        position: its place among its siblings from 0; the last after a move to another parent that names none.
        description: replaces the text; likewise the other parts of `Details`.
    """

    id: str
    handle: str | UnsetType = UNSET
    title: Text | UnsetType = UNSET
    parent: str | UnsetType | None = UNSET
    position: int | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    seo: Seo | UnsetType = UNSET
    media: tuple[Media, ...] | UnsetType = UNSET
    expect: int | None = None


class RemoveCategory(Message, frozen=True):
    """Take a category out of the tree. Replies `CategoryKept`.

    Attributes:
        children: `keep` refuses with 409 `category_not_empty` where there are categories below; `up` puts them in its
            place, in their order.
    """

    id: str
    children: Literal["keep", "up"] = "keep"
    expect: int | None = None


class DescribeCategory(Message, frozen=True):
    """What does this category say about itself? Replies `Details`; changes nothing."""

    id: str


# Events


class CategoryAdded(Message, frozen=True):
    """The category exists, at this place among its siblings."""

    at: datetime
    id: str
    handle: str
    title: Text
    parent: str | None
    position: int
    details: Details = Details()


class CategoryChanged(Message, frozen=True):
    """What is set has these values now."""

    at: datetime
    id: str
    handle: str | UnsetType = UNSET
    title: Text | UnsetType = UNSET
    details: Details | UnsetType = UNSET


class CategoryMoved(Message, frozen=True):
    """The category is at this place now, and all below it with it."""

    at: datetime
    id: str
    parent: str | None
    position: int


class CategoryRemoved(Message, frozen=True):
    """The category is gone; those that were below it stand in its place."""

    at: datetime
    id: str


# Replies and the public form


class CategoryKept(msgspec.Struct, frozen=True, kw_only=True):
    """A category after a command; `version` is the tree's, `changed` says whether the command recorded anything."""

    id: str
    version: int
    changed: bool


class ShownCategory(msgspec.Struct, frozen=True, kw_only=True):
    """The public form of a category in the tree; `children` are ids in their order."""

    id: str
    handle: str
    title: Text
    parent: str | None
    children: tuple[str, ...]


class ShownCategories(msgspec.Struct, frozen=True, kw_only=True):
    """The public form of the tree.

    Attributes:
        roots: ids of the categories at the top, in their order.
        categories: every category by its id.
        former: handles that categories had before, with the ids that they lead to.
    """

    version: int
    roots: tuple[str, ...]
    categories: dict[str, ShownCategory]
    former: dict[str, str]
