"""Collections as staff send them: the Structs of the bodies, and how they become the actor's messages."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from ultramarket.messages.collection import (
    ChangeCollection,
    CreateCollection,
    Field,
    Match,
    Relation,
    Rule,
    ShownCollection,
    Sort,
)
from ultramarket.messages.product import Seo
from web.product_bodies import (
    NewMedia,
    NewSeo,
    NewText,
    SeoPatch,
    TextPatch,
    new_html,
    new_media,
    new_text,
    patched_seo,
    patched_text,
)

Place = Annotated[int, msgspec.Meta(ge=0, le=100_000, description="Place among the products, from 0.")]


class NewRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of a product.

    Attributes:
        value: of `category` an id or handle, of `price` an amount in the default channel's currency, of `in_stock`
            `true` or `false`, of `created_at` a time, of `option` a name and a value such as `Size=M`.
    """

    field: Field
    relation: Relation
    value: str


class NewCollection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new collection, by hand (`products`: ids or handles in their order) or by rules.

    The handle is made from the title where none is given.
    """

    handle: str | None = None
    title: NewText
    description: NewText = ""
    seo: NewSeo = NewSeo()
    media: list[NewMedia] = []
    published: bool = False
    products: list[str] = []
    match: Match = "all"
    rules: list[NewRule] = []
    sort: Sort | None = None


class CollectionPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON Merge Patch (RFC 7396): what is sent is set, null clears, lists are replaced."""

    handle: str | UnsetType = UNSET
    title: str | dict[str, str | None] | UnsetType = UNSET
    description: TextPatch | UnsetType = UNSET
    seo: SeoPatch | UnsetType | None = UNSET
    media: list[NewMedia] | UnsetType | None = UNSET
    published: bool | UnsetType = UNSET
    products: list[str] | UnsetType | None = UNSET
    match: Match | UnsetType = UNSET
    rules: list[NewRule] | UnsetType | None = UNSET
    sort: Sort | UnsetType = UNSET


class NewPlace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A product by id or handle, and its place from 0; the last one where it is absent."""

    product: str
    position: Place | None = None


def create_command(new: NewCollection, handle: str, products: tuple[str, ...], language: str) -> CreateCollection:
    """The command for a new collection of the products with these ids.

    Raises:
        Refused: 422 `invalid`: a language tag or an address that can't be.
    """
    return CreateCollection(
        handle=handle,
        title=new_text(new.title, language, "/title"),
        description=new_html(new_text(new.description, language, "/description")),
        seo=Seo(
            title=new_text(new.seo.title, language, "/seo/title"),
            description=new_text(new.seo.description, language, "/seo/description"),
        ),
        media=new_media(new.media, language),
        published=new.published,
        products=products,
        match=new.match,
        rules=_rules(new.rules),
        sort=new.sort or ("newest" if new.rules else "manual"),
    )


def change_command(
    patch: CollectionPatch, old: ShownCollection, products: tuple[str, ...], language: str, expect: int | None
) -> ChangeCollection:
    """The command for a patch of a collection as it is now.

    Args:
        patch: what is to change.
        old: the collection that texts are merged with.
        products: ids of the products that the patch names.
        language: of texts that come without one.
        expect: the version that the collection must have.

    Raises:
        Refused: 422 `invalid`: a language tag or an address that can't be.
    """
    plain = ("handle", "published", "match", "sort")
    fields: dict[str, Any] = {name: value for name in plain if (value := getattr(patch, name)) is not UNSET}
    if patch.title is not UNSET:
        fields["title"] = patched_text(old.title, patch.title, language, "/title")
    if patch.description is not UNSET:
        fields["description"] = new_html(patched_text(old.description, patch.description, language, "/description"))
    if patch.seo is not UNSET:
        fields["seo"] = patched_seo(patch.seo, Seo(title=old.seo.title, description=old.seo.description), language)
    if patch.media is not UNSET:
        fields["media"] = new_media(patch.media or [], language)
    if patch.products is not UNSET:
        fields["products"] = products
    if patch.rules is not UNSET:
        fields["rules"] = _rules(patch.rules or [])
    return ChangeCollection(**fields, expect=expect)


def merges(patch: CollectionPatch) -> bool:
    """Whether the patch changes parts of texts, so that what they are now counts."""
    return any(value is not UNSET for value in (patch.title, patch.description, patch.seo))


def _rules(new: list[NewRule]) -> tuple[Rule, ...]:
    return tuple(Rule(field=rule.field, relation=rule.relation, value=rule.value) for rule in new)
