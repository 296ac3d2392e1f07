"""Products as staff send them: the Structs of the bodies, and how they become the actors' messages."""

import re
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from ultramarket.domain.html import sanitise
from ultramarket.domain.money import Money
from ultramarket.messages.common import Text
from ultramarket.messages.product import (
    ChangeProduct,
    CreateProduct,
    Media,
    Option,
    Seo,
    ShownProduct,
    Status,
    Variant,
    WhenOut,
)
from web.problems import refuse

MAX_HTML = 200_000
"""Characters of a description as it is sent; what a product keeps of it is bounded by the product itself."""
_ADDRESS = re.compile(r"(?:https?:/)?/[^/\s\\][^\s\\]*", re.IGNORECASE)
"""Other schemes would run as script where a page links to them, and a browser reads `/\\` as `//`: another server."""

LANGUAGE = re.compile(r"[a-z]{2,8}(-[a-z0-9]{1,8})*")
"""BCP 47, as far as its shape goes, in lower case."""

NewText = str | dict[str, str]
"""A text in the channel's language, or in several by their tags."""
TextPatch = str | dict[str, str | None] | None


class NewMoney(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An amount as a decimal string in the currency's own number of decimals."""

    amount: Annotated[str, msgspec.Meta(min_length=1, max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?\Z")]
    currency: Annotated[str, msgspec.Meta(min_length=3, max_length=3)]


class NewOption(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way in which variants differ."""

    name: str
    values: list[str]


class NewMedia(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A picture or film by its address."""

    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
    alt: NewText = ""


class NewSeo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Texts for search engines."""

    title: NewText = ""
    description: NewText = ""


class SeoPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Changes to the texts for search engines."""

    title: TextPatch | UnsetType = UNSET
    description: TextPatch | UnsetType = UNSET


class NewVariant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is sold: one SKU. `price` is the leading price, `prices` has further ones by currency."""

    sku: str
    title: NewText = ""
    options: dict[str, str] = {}
    price: NewMoney
    prices: dict[str, NewMoney] = {}
    compare_at_price: NewMoney | None = None
    weight_grams: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    barcode: str | None = None
    tax_class: str = "standard"
    track_stock: bool = True
    when_out: WhenOut = "deny"


class NewProduct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new product; the handle is made from the title where none is given."""

    handle: str | None = None
    title: NewText
    description: NewText = ""
    vendor: str = ""
    type: str = ""
    tags: list[str] = []
    categories: list[str] = []
    options: list[NewOption] = []
    media: list[NewMedia] = []
    seo: NewSeo = NewSeo()
    status: Status = "draft"
    variants: list[NewVariant] = []


class ProductPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON Merge Patch (RFC 7396): what is sent is set, null clears, lists are replaced."""

    handle: str | UnsetType = UNSET
    title: str | dict[str, str | None] | UnsetType = UNSET
    description: TextPatch | UnsetType = UNSET
    vendor: str | UnsetType | None = UNSET
    type: str | UnsetType | None = UNSET
    tags: list[str] | UnsetType | None = UNSET
    categories: list[str] | UnsetType | None = UNSET
    options: list[NewOption] | UnsetType | None = UNSET
    media: list[NewMedia] | UnsetType | None = UNSET
    seo: SeoPatch | UnsetType | None = UNSET
    status: Status | UnsetType = UNSET
    variants: list[NewVariant] | UnsetType = UNSET


def create_command(new: NewProduct, handle: str, language: str, categories: tuple[str, ...] = ()) -> CreateProduct:
    """The command for a new product; `categories` are the ids of those that it names.

    Raises:
        Refused: 422 `invalid`: a language tag, an amount or a currency that can't be.
    """
    return CreateProduct(
        handle=handle,
        title=new_text(new.title, language, "/title"),
        description=new_html(new_text(new.description, language, "/description")),
        vendor=new.vendor,
        type=new.type,
        tags=tuple(new.tags),
        categories=categories,
        options=_options(new.options),
        media=new_media(new.media, language),
        seo=Seo(
            title=new_text(new.seo.title, language, "/seo/title"),
            description=new_text(new.seo.description, language, "/seo/description"),
        ),
        status=new.status,
        variants=_variants(new.variants, language),
    )


def change_command(
    patch: ProductPatch,
    old: ShownProduct,
    language: str,
    expect: int | None,
    categories: tuple[str, ...] = (),
) -> ChangeProduct:
    """The command for a patch of a product as it is now.

    Args:
        patch: what is to change.
        old: the product that texts are merged with.
        language: of texts that come without one.
        expect: the version that the product must have.
        categories: ids of the categories that the patch names.

    Raises:
        Refused: 422 `invalid`: a language tag, an amount or a currency that can't be.
    """
    fields = _plain(patch, categories)
    if patch.title is not UNSET:
        fields["title"] = patched_text(old.title, patch.title, language, "/title")
    if patch.description is not UNSET:
        fields["description"] = new_html(patched_text(old.description, patch.description, language, "/description"))
    if patch.options is not UNSET:
        fields["options"] = _options(patch.options or [])
    if patch.media is not UNSET:
        fields["media"] = new_media(patch.media or [], language)
    if patch.seo is not UNSET:
        fields["seo"] = patched_seo(patch.seo, Seo(title=old.seo.title, description=old.seo.description), language)
    if patch.variants is not UNSET:
        fields["variants"] = _variants(patch.variants, language)
    return ChangeProduct(**fields, expect=expect)


def _plain(patch: ProductPatch, categories: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a patch that are no texts and no lists of things."""
    fields: dict[str, Any] = {
        name: value for name in ("handle", "status") if (value := getattr(patch, name)) is not UNSET
    }
    for name in ("vendor", "type"):
        if (word := getattr(patch, name)) is not UNSET:
            fields[name] = word or ""
    if patch.tags is not UNSET:
        fields["tags"] = tuple(patch.tags or ())
    if patch.categories is not UNSET:
        fields["categories"] = categories
    return fields


def merges(patch: ProductPatch) -> bool:
    """Whether the patch changes parts of texts, so that what they are now counts."""
    return any(value is not UNSET for value in (patch.title, patch.description, patch.seo))


def new_text(given: NewText, language: str, pointer: str) -> Text:
    """A text as it is sent, by its languages; one that comes without is in `language`.

    Raises:
        Refused: 422 `invalid`.
    """
    if isinstance(given, str):
        return {language: given} if given else {}
    return {_tag(tag, pointer): text for tag, text in given.items() if text}


def _tag(tag: str, pointer: str) -> str:
    lowered = tag.lower()
    if len(tag) > 35 or not LANGUAGE.fullmatch(lowered):  # noqa: PLR2004 - RFC 5646, 4.4.1: longer tags need not be taken
        refuse("invalid", f"{tag[:40]!r} is not a language tag: use one such as en or pt-br.", pointer=pointer)
    return lowered


def patched_text(old: Text, patch: TextPatch, language: str, pointer: str) -> Text:
    """A text after a patch: null clears, a string is set in `language` only.

    Raises:
        Refused: 422 `invalid`.
    """
    if patch is None:
        return {}
    changes = {language: patch} if isinstance(patch, str) else patch
    merged: dict[str, str | None] = {**old, **{_tag(tag, pointer): text for tag, text in changes.items()}}
    return {tag: text for tag, text in merged.items() if text}


def patched_seo(patch: SeoPatch | None, old: Seo, language: str) -> Seo:
    """The texts for search engines after a patch."""
    if patch is None:
        return Seo()
    title, description = old.title, old.description
    if patch.title is not UNSET:
        title = patched_text(title, patch.title, language, "/seo/title")
    if patch.description is not UNSET:
        description = patched_text(description, patch.description, language, "/seo/description")
    return Seo(title=title, description=description)


def new_html(text: Text) -> Text:
    """HTML with nothing in it that could run as script.

    Raises:
        Refused: 422 `invalid`.
    """
    if any(len(html) > MAX_HTML for html in text.values()):  # said before it is read: that takes its time
        refuse("invalid", f"At most {MAX_HTML} characters are possible.", pointer="/description")
    return {language: sanitise(html) for language, html in text.items()}


def _options(new: list[NewOption]) -> tuple[Option, ...]:
    return tuple(Option(name=option.name, values=tuple(option.values)) for option in new)


def new_media(new: list[NewMedia], language: str) -> tuple[Media, ...]:
    """The pictures as they are sent, their addresses checked.

    Raises:
        Refused: 422 `invalid`.
    """
    for index, medium in enumerate(new):
        if not _ADDRESS.fullmatch(medium.url):
            detail = "A picture's address begins with https://, http:// or a slash, and has no blanks or backslashes."
            refuse("invalid", detail, pointer=f"/media/{index}/url")
    return tuple(
        Media(url=medium.url, alt=new_text(medium.alt, language, f"/media/{index}/alt"))
        for index, medium in enumerate(new)
    )


def _variants(new: list[NewVariant], language: str) -> tuple[Variant, ...]:
    return tuple(_variant(variant, language, f"/variants/{index}") for index, variant in enumerate(new))


def _variant(new: NewVariant, language: str, pointer: str) -> Variant:
    leading = _money(new.price, f"{pointer}/price")
    prices = {leading.currency: leading}
    for currency, given in new.prices.items():
        place = f"{pointer}/prices/{currency}"
        price = _money(given, place)
        if price.currency != currency or prices.setdefault(currency, price) != price:
            refuse(
                "invalid",
                "Each price stands under its own currency, and the leading one only in `price`.",
                pointer=place,
            )
    compare_at = new.compare_at_price
    return Variant(
        sku=new.sku,
        title=new_text(new.title, language, f"{pointer}/title"),
        options=new.options,
        prices=tuple(prices.values()),
        compare_at=(_money(compare_at, f"{pointer}/compare_at_price"),) if compare_at else (),
        weight_grams=new.weight_grams,
        barcode=new.barcode or "",
        tax_class=new.tax_class,
        track_stock=new.track_stock,
        when_out=new.when_out,
    )


def _money(new: NewMoney, pointer: str) -> Money:
    try:
        return Money.parse(new.amount, new.currency)
    except ValueError as error:
        refuse("invalid", f"{error}.", pointer=pointer)
