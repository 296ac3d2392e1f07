"""The JSON forms of entities: texts in the reader's language, everything else as the actors show it."""

from datetime import datetime
from typing import Literal

import msgspec

from ultramarket.messages import cart as carts
from ultramarket.messages import order as orders
from ultramarket.messages import product as products
from ultramarket.messages import review as reviews
from ultramarket.messages.cart import MergeChange, ShownTotals
from ultramarket.messages.common import ShownAddress, ShownMoney
from ultramarket.messages.product_import import RefusedRow
from web.preferences import text_in

Languages = tuple[str, ...]


class Media(msgspec.Struct, frozen=True):
    """A picture or film."""

    url: str
    alt: str


class Seo(msgspec.Struct, frozen=True):
    """Texts for search engines."""

    title: str
    description: str


class Option(msgspec.Struct, frozen=True):
    """A way in which variants differ."""

    name: str
    values: tuple[str, ...]


class Variant(msgspec.Struct, frozen=True):
    """What is sold: one SKU with its prices by currency; `price` is the leading one."""

    sku: str
    title: str
    options: dict[str, str]
    price: ShownMoney
    prices: dict[str, ShownMoney]
    compare_at_price: ShownMoney | None
    weight_grams: int
    barcode: str
    tax_class: str
    track_stock: bool
    when_out: Literal["deny", "continue"]


class Product(msgspec.Struct, frozen=True):
    """A product; `description` is HTML."""

    id: str
    version: int
    handle: str
    title: str
    description: str
    vendor: str
    type: str
    tags: tuple[str, ...]
    categories: tuple[str, ...]
    options: tuple[Option, ...]
    media: tuple[Media, ...]
    seo: Seo
    status: products.Status
    variants: tuple[Variant, ...]
    created_at: datetime
    updated_at: datetime


class Line(msgspec.Struct, frozen=True):
    """A line of a cart or an order; `total` is what the buyer pays for it, without tax that is added."""

    id: str
    sku: str
    product: str
    title: str
    variant_title: str
    quantity: int
    unit_price: ShownMoney
    discount: ShownMoney
    tax: ShownMoney
    tax_included: ShownMoney
    total: ShownMoney


class Cart(msgspec.Struct, frozen=True):
    """A cart; `order` is the order that freezes it, or the last one made of it."""

    id: str
    version: int
    status: Literal["open", "frozen"]
    currency: str
    channel: str
    email: str | None
    shipping_address: ShownAddress | None
    billing_address: ShownAddress | None
    shipping_method: str | None
    coupons: tuple[str, ...]
    lines: tuple[Line, ...]
    totals: ShownTotals
    order: str | None
    created_at: datetime
    updated_at: datetime


class MergedCart(Cart, frozen=True):
    """A cart after a merge, and what the merge did to each SKU."""

    changes: tuple[MergeChange, ...]


class Order(msgspec.Struct, frozen=True):
    """An order: `status` is where it stands, `reason` why it was rejected or cancelled."""

    id: str
    number: str
    version: int
    status: orders.Status
    payment_status: orders.PaymentStatus
    fulfilment_status: orders.FulfilmentStatus
    reason: orders.Reason | None
    cart: str
    currency: str | None
    channel: str | None
    email: str | None
    shipping_address: ShownAddress | None
    billing_address: ShownAddress | None
    shipping_method: str | None
    lines: tuple[Line, ...]
    totals: ShownTotals | None
    refunded: ShownMoney | None
    payment: orders.ShownOrderPayment
    created_at: datetime
    updated_at: datetime


class Review(msgspec.Struct, frozen=True):
    """A review; `answer` is the shop's, `reason` why it was rejected, which staff alone are told."""

    id: str
    version: int
    product: str
    rating: int
    title: str
    body: str
    author: str
    language: str
    verified: bool
    status: reviews.ReviewStatus
    reason: str | None
    answer: str
    helpful: int
    unhelpful: int
    created_at: datetime
    updated_at: datetime


class Import(msgspec.Struct, frozen=True):
    """A product import: how far it is, and the first 1,000 rows that did not go in."""

    id: str
    version: int
    status: Literal["running", "done", "failed"]
    dry_run: bool
    rows: int
    products: int
    variants: int
    unchanged: int
    refused_total: int
    refused: tuple[RefusedRow, ...]
    notes: tuple[str, ...]
    failure: str | None
    created_at: datetime
    updated_at: datetime


def product(shown: products.ShownProduct, wanted: Languages, fallback: str) -> Product:
    """A product for a reader of these languages."""
    return Product(
        id=shown.id,
        version=shown.version,
        handle=shown.handle,
        title=text_in(shown.title, wanted, fallback),
        description=text_in(shown.description, wanted, fallback),
        vendor=shown.vendor,
        type=shown.type,
        tags=shown.tags,
        categories=shown.categories,
        options=tuple(Option(option.name, option.values) for option in shown.options),
        media=tuple(Media(medium.url, text_in(medium.alt, wanted, fallback)) for medium in shown.media),
        seo=Seo(text_in(shown.seo.title, wanted, fallback), text_in(shown.seo.description, wanted, fallback)),
        status=shown.status,
        variants=tuple(_variant(variant, wanted, fallback) for variant in shown.variants),
        created_at=shown.created_at,
        updated_at=shown.updated_at,
    )


def _variant(shown: products.ShownVariant, wanted: Languages, fallback: str) -> Variant:
    return Variant(
        sku=shown.sku,
        title=text_in(shown.title, wanted, fallback),
        options=shown.options,
        price=shown.price,
        prices=shown.prices,
        compare_at_price=shown.compare_at_price,
        weight_grams=shown.weight_grams,
        barcode=shown.barcode,
        tax_class=shown.tax_class,
        track_stock=shown.track_stock,
        when_out=shown.when_out,
    )


def _lines(shown: tuple[carts.ShownLine, ...], wanted: Languages, fallback: str) -> tuple[Line, ...]:
    return tuple(
        [
            Line(
                id=line.id,
                sku=line.sku,
                product=line.product,
                title=text_in(line.title, wanted, fallback),
                variant_title=text_in(line.variant_title, wanted, fallback),
                quantity=line.quantity,
                unit_price=line.unit_price,
                discount=line.discount,
                tax=line.tax,
                tax_included=line.tax_included,
                total=line.total,
            )
            for line in shown
        ]
    )


def cart(shown: carts.ShownCart, wanted: Languages, fallback: str) -> Cart:
    """A cart for a reader of these languages."""
    return Cart(
        id=shown.id,
        version=shown.version,
        status=shown.status,
        currency=shown.currency,
        channel=shown.channel,
        email=shown.email,
        shipping_address=shown.shipping_address,
        billing_address=shown.billing_address,
        shipping_method=shown.shipping_method,
        coupons=shown.coupons,
        lines=_lines(shown.lines, wanted, fallback),
        totals=shown.totals,
        order=shown.order,
        created_at=shown.created_at,
        updated_at=shown.updated_at,
    )


def merged(cart: Cart, changes: tuple[MergeChange, ...]) -> MergedCart:
    """A cart with what a merge changed in it."""
    return MergedCart(**msgspec.structs.asdict(cart), changes=changes)


def order(shown: orders.ShownOrder, wanted: Languages, fallback: str) -> Order:
    """An order for a reader of these languages."""
    return Order(
        id=shown.id,
        number=shown.number,
        version=shown.version,
        status=shown.status,
        payment_status=shown.payment_status,
        fulfilment_status=shown.fulfilment_status,
        reason=shown.reason,
        cart=shown.cart,
        currency=shown.currency,
        channel=shown.channel,
        email=shown.email,
        shipping_address=shown.shipping_address,
        billing_address=shown.billing_address,
        shipping_method=shown.shipping_method,
        lines=_lines(shown.lines, wanted, fallback),
        totals=shown.totals,
        refunded=shown.refunded,
        payment=shown.payment,
        created_at=shown.created_at,
        updated_at=shown.updated_at,
    )


def review(shown: reviews.ShownReview, *, staff: bool) -> Review:
    """A review for the shop's staff, or for everybody."""
    return Review(**{**msgspec.structs.asdict(shown), "reason": shown.reason if staff else None})
