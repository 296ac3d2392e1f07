"""Categories as staff send them: the Structs of the bodies, and how they become the actor's messages."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from ultramarket.messages.category_tree import AddCategory, ChangeCategory, Details
from ultramarket.messages.common import Text
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

Place = Annotated[int, msgspec.Meta(ge=0, le=100_000, description="Place among its siblings, from 0.")]


class NewCategory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new category; the handle is made from the title where none is given.

    Attributes:
        parent: id or handle of the category above; null: at the top.
        position: its place among its siblings from 0; the last where it is absent.
    """

    handle: str | None = None
    title: NewText
    description: NewText = ""
    seo: NewSeo = NewSeo()
    media: list[NewMedia] = []
    parent: str | None = None
    position: Place | None = None


class CategoryPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON Merge Patch (RFC 7396): what is sent is set, null clears; `parent` moves it with all below it."""

    handle: str | UnsetType = UNSET
    title: str | dict[str, str | None] | UnsetType = UNSET
    description: TextPatch | UnsetType = UNSET
    seo: SeoPatch | UnsetType | None = UNSET
    media: list[NewMedia] | UnsetType | None = UNSET
    parent: str | UnsetType | None = UNSET
    position: Place | UnsetType = UNSET


def add_command(new: NewCategory, id: str, handle: str, parent: str | None, language: str) -> AddCategory:
    """The command for a new category below the one with the id `parent`.

    Raises:
        Refused: 422 `invalid`: a language tag or an address that can't be.
    """
    return AddCategory(
        id=id,
        handle=handle,
        title=new_text(new.title, language, "/title"),
        parent=parent,
        position=new.position,
        details=Details(
            description=new_html(new_text(new.description, language, "/description")),
            seo=Seo(
                title=new_text(new.seo.title, language, "/seo/title"),
                description=new_text(new.seo.description, language, "/seo/description"),
            ),
            media=new_media(new.media, language),
        ),
    )


def change_command(
    patch: CategoryPatch, id: str, title: Text, details: Details, parent: str | None, language: str, expect: int | None
) -> ChangeCategory:
    """The command for a patch of a category as it is now.

    Args:
        patch: what is to change.
        id: of the category.
        title: that the patch is merged with.
        details: that the patch is merged with.
        parent: id of the category that the patch names as the one above.
        language: of texts that come without one.
        expect: the version that the tree must have.

    Raises:
        Refused: 422 `invalid`: a language tag or an address that can't be.
    """
    fields: dict[str, Any] = {
        name: value for name in ("handle", "position") if (value := getattr(patch, name)) is not UNSET
    }
    if patch.parent is not UNSET:
        fields["parent"] = parent
    if patch.title is not UNSET:
        fields["title"] = patched_text(title, patch.title, language, "/title")
    if patch.description is not UNSET:
        fields["description"] = new_html(patched_text(details.description, patch.description, language, "/description"))
    if patch.seo is not UNSET:
        fields["seo"] = patched_seo(patch.seo, details.seo, language)
    if patch.media is not UNSET:
        fields["media"] = new_media(patch.media or [], language)
    return ChangeCategory(id=id, expect=expect, **fields)


def merges(patch: CategoryPatch) -> bool:
    """Whether the patch changes parts of texts, so that what they are now counts."""
    return any(value is not UNSET for value in (patch.title, patch.description, patch.seo))
