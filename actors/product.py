"""Product: a catalogue entry with its variants; it owns its handle and its SKUs, and judges the quotes of orders."""

from datetime import datetime
from typing import Any, assert_never

import msgspec
from msgspec import UNSET

from actors.product_prices import priced
from actors.product_rules import faults
from ultramarket.domain.money import Money
from ultramarket.errors import Rejection
from ultramarket.messages.common import Text, shown
from ultramarket.messages.order import JudgedLine, QuotesJudged
from ultramarket.messages.product import (
    ArchiveProduct,
    ChangeProduct,
    ConfirmQuotes,
    CreateProduct,
    Media,
    ProductArchived,
    ProductChanged,
    ProductCreated,
    ProductKept,
    PutProduct,
    QuotedLine,
    Seo,
    SetPrices,
    ShownMedia,
    ShownProduct,
    ShownSeo,
    ShownVariant,
    Variant,
)
from ultramarket.messages.refusals import invalid, not_found, version_mismatch
from ultramarket.runtime.actor import Actor, Claim, Context, Decision, Send, Unseal

Command = CreateProduct | ChangeProduct | PutProduct | SetPrices | ArchiveProduct | ConfirmQuotes
Event = ProductCreated | ProductChanged | ProductArchived

_FIELDS = CreateProduct.__struct_fields__


class ProductState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A product as it is: all its fields, and when they were written."""

    product: CreateProduct
    created_at: datetime
    updated_at: datetime


class Product(Actor[ProductState, Command, Event]):
    """Keeps a catalogue entry right; unchanged changes record nothing."""

    kind = "product"
    state = ProductState
    commands = Command
    events = Event

    def decide(self, state: ProductState | None, command: Command, ctx: Context) -> Decision | Rejection:
        """Judge a command; see the messages for what each means."""
        match command:
            case CreateProduct():
                if state is not None:
                    return Rejection("product_exists", "There is a product with this id already: change it instead.")
                return _create(command, ctx)
            case ChangeProduct() | ArchiveProduct():
                if state is None:
                    return not_found("product")
                if refused := version_mismatch(command.expect, ctx.version):
                    return refused
                return _change(state, command, ctx) if isinstance(command, ChangeProduct) else _archive(state, ctx)
            case PutProduct():
                if state is None:
                    return _create(_merged(command.product, command.product), ctx)
                return _change(state, _difference(state.product, _merged(state.product, command.product)), ctx)
            case SetPrices():
                new = priced(state.product, command) if state is not None else None
                if state is None or new is None:
                    return Rejection("sku_not_found", "The product does not have this SKU.", 422)
                return _change(state, _difference(state.product, new), ctx)
            case ConfirmQuotes():
                judged = QuotesJudged(
                    product=ctx.id,
                    product_version=ctx.version,
                    lines=tuple(_judge(state, line, command.at) for line in command.lines),
                )
                return Decision(answers=(Send("order", command.order, judged),))
            case _:
                assert_never(command)

    def evolve(self, state: ProductState | None, event: Event) -> ProductState:
        """Apply an event."""
        if isinstance(event, ProductCreated):
            return ProductState(product=event.product, created_at=event.at, updated_at=event.at)
        if state is None:
            raise ValueError(f"{type(event).__name__} stands before the product's creation")
        match event:
            case ProductChanged():
                product = _changed(state.product, event.changes)
            case ProductArchived():
                product = msgspec.structs.replace(state.product, status="archived")
            case _:
                assert_never(event)
        return msgspec.structs.replace(state, product=product, updated_at=event.at)

    def show(self, state: ProductState, id: str, version: int, unseal: Unseal) -> ShownProduct:
        """The public form, texts in all languages."""
        product = state.product
        return ShownProduct(
            id=id,
            version=version,
            handle=product.handle,
            title=product.title,
            description=product.description,
            vendor=product.vendor,
            type=product.type,
            tags=product.tags,
            categories=product.categories,
            options=product.options,
            media=tuple(ShownMedia(url=medium.url, alt=medium.alt) for medium in product.media),
            seo=ShownSeo(title=product.seo.title, description=product.seo.description),
            status=product.status,
            variants=tuple(_show_variant(variant) for variant in product.variants),
            created_at=state.created_at,
            updated_at=state.updated_at,
        )


def _create(product: CreateProduct, ctx: Context) -> Decision | Rejection:
    if wrong := faults(product):
        return invalid(wrong)
    return Decision(
        events=(ProductCreated(at=ctx.now, product=product),),
        reply=ProductKept(id=ctx.id, version=ctx.version + 1, changed=True),
        claims=tuple(_claims(ctx.id, product)),
    )


def _change(state: ProductState, command: ChangeProduct, ctx: Context) -> Decision | Rejection:
    old, new = state.product, _changed(state.product, command)
    changes = _difference(old, new)
    if changes == ChangeProduct():
        return _unchanged(ctx)
    if wrong := faults(new):
        return invalid(wrong)
    held, wanted = _claims(ctx.id, old), _claims(ctx.id, new)
    return Decision(
        events=(ProductChanged(at=ctx.now, changes=changes),),
        reply=ProductKept(id=ctx.id, version=ctx.version + 1, changed=True),
        claims=tuple(claim for claim in wanted if claim not in held),
        drops=tuple(claim for claim in held if claim not in wanted),
    )


def _archive(state: ProductState, ctx: Context) -> Decision:
    if state.product.status == "archived":
        return _unchanged(ctx)
    return Decision(
        events=(ProductArchived(at=ctx.now),),
        reply=ProductKept(id=ctx.id, version=ctx.version + 1, changed=True),
    )


def _unchanged(ctx: Context) -> Decision:
    return Decision(reply=ProductKept(id=ctx.id, version=ctx.version, changed=False))


def _claims(id: str, product: CreateProduct) -> dict[Claim, None]:
    """The values that are this product's own, in order and each once.

    Its id is one of the handles: where a product is asked for, either may stand.
    """
    handles = (Claim("handle", product.handle), Claim("handle", id))
    return dict.fromkeys((*handles, *(Claim("sku", variant.sku) for variant in product.variants)))


def _changed(product: CreateProduct, changes: ChangeProduct) -> CreateProduct:
    """The product with the fields that are set."""
    values = {name: getattr(changes, name) for name in _FIELDS}
    return msgspec.structs.replace(product, **{name: value for name, value in values.items() if value is not UNSET})


def _difference(old: CreateProduct, new: CreateProduct) -> ChangeProduct:
    """The fields of `new` that differ from `old`."""
    values: dict[str, Any] = {name: getattr(new, name) for name in _FIELDS}
    return ChangeProduct(**{name: value for name, value in values.items() if value != getattr(old, name)})


# What an import file can't say stays: categories, texts of other languages and prices of other currencies.


def _merged(old: CreateProduct, new: CreateProduct) -> CreateProduct:
    """The product as the file says, with what the file can't say taken from the old one, and without blank texts."""
    variants = {variant.sku: variant for variant in old.variants}
    media = {medium.url: medium for medium in old.media}
    return msgspec.structs.replace(
        new,
        title=_text(old.title, new.title),
        description=_text(old.description, new.description),
        categories=old.categories,
        media=tuple(_medium(media.get(medium.url), medium) for medium in new.media),
        seo=Seo(
            title=_text(old.seo.title, new.seo.title),
            description=_text(old.seo.description, new.seo.description),
        ),
        variants=tuple(_variant(variants.get(variant.sku), variant) for variant in new.variants),
    )


def _text(old: Text, new: Text) -> Text:
    return {language: text for language, text in {**old, **new}.items() if text}


def _medium(old: Media | None, new: Media) -> Media:
    return msgspec.structs.replace(new, alt=_text(old.alt, new.alt)) if old else new


def _variant(old: Variant | None, new: Variant) -> Variant:
    if old is None:
        return new
    named = {price.currency: price for price in new.prices}
    known = {price.currency for price in old.prices}
    # The old order stays, so that the leading price is still the leading one.
    prices = (
        *(named.get(price.currency, price) for price in old.prices),
        *(price for price in new.prices if price.currency not in known),
    )
    # A file that names a currency says everything about it: also that nothing is to be compared with.
    compare_at = (*(price for price in old.compare_at if price.currency not in named), *new.compare_at)
    order = [price.currency for price in prices]
    return msgspec.structs.replace(
        new,
        title=_text(old.title, new.title),
        prices=prices,
        compare_at=tuple(sorted(compare_at, key=lambda price: order.index(price.currency))),
    )


def _judge(state: ProductState | None, line: QuotedLine, at: datetime) -> JudgedLine:
    """May this SKU be sold at the quoted price? A price that moved is honoured until its lock ends."""
    variant = _sold(state, line.sku)
    price = _price(variant, line.price.currency) if variant else None
    if variant is None or price is None:
        return JudgedLine(sku=line.sku, verdict="not_available")
    honoured = price == line.price or at <= line.locked_until
    return JudgedLine(
        sku=line.sku,
        verdict="ok" if honoured else "price_changed",
        price=price,
        track_stock=variant.track_stock,
        when_out=variant.when_out,
    )


def _sold(state: ProductState | None, sku: str) -> Variant | None:
    if state is None or state.product.status != "published":
        return None
    return next((variant for variant in state.product.variants if variant.sku == sku), None)


def _price(variant: Variant, currency: str) -> Money | None:
    return next((price for price in variant.prices if price.currency == currency), None)


def _show_variant(variant: Variant) -> ShownVariant:
    leading = variant.prices[0]
    compare_at = next((price for price in variant.compare_at if price.currency == leading.currency), None)
    return ShownVariant(
        sku=variant.sku,
        title=variant.title,
        options=variant.options,
        price=shown(leading),
        prices={price.currency: shown(price) for price in variant.prices},
        compare_at_price=shown(compare_at) if compare_at else None,
        weight_grams=variant.weight_grams,
        barcode=variant.barcode,
        tax_class=variant.tax_class,
        track_stock=variant.track_stock,
        when_out=variant.when_out,
    )
