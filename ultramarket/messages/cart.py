"""Cart: what somebody means to buy, with the prices they were shown."""

from datetime import datetime
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from ultramarket.domain.money import Money
from ultramarket.messages.common import Address, Message, Sealed, ShownAddress, ShownMoney, Text


class Quote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the read side said about a SKU when it went into the cart.

    Attributes:
        locked_until: the price is honoured until then, even if the product's price moves.
    """

    sku: str
    product: str
    product_version: int
    title: Text
    variant_title: Text = {}
    price: Money
    weight_grams: int = 0
    tax_class: str = "standard"
    locked_until: datetime


class CartLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a cart: an id that stays, a quote, a quantity."""

    id: str
    quote: Quote
    quantity: int


# Commands


class CreateCart(Message, frozen=True):
    """Make a cart. Exists already (same idempotency key): 409 `cart_exists`. Replies `CartKept`."""

    currency: str
    channel: str = "default"


class AddLine(Message, frozen=True):
    """Add pieces of a SKU; a line that has it grows and takes the new quote. Replies `CartKept`."""

    quote: Quote
    quantity: int
    expect: int | None = None


class SetLine(Message, frozen=True):
    """Set the quantity of the line with this id or SKU; 0 removes it. Replies `CartKept`.

    Unknown: 404 `line_not_found`.

    Attributes:
        quote: a fresh quote where the edge could get one.
    """

    line: str
    quantity: int
    quote: Quote | None = None
    expect: int | None = None


class PatchCart(Message, frozen=True):
    """Set the fields that are set, None clears. Replies `CartKept`."""

    email: Sealed | UnsetType | None = UNSET
    shipping_address: Address | UnsetType | None = UNSET
    billing_address: Address | UnsetType | None = UNSET
    shipping_method: str | UnsetType | None = UNSET
    expect: int | None = None


class Requote(Message, frozen=True):
    """Message of an order rejected with `price_changed`, or of the edge: take these quotes for the SKUs in the cart."""

    quotes: tuple[Quote, ...]


class FreezeCart(Message, frozen=True):
    """Message of an order: keep the cart as it is until the deadline.

    Answered with `messages.order.CartFrozen` or `CartRefused`.
    """

    order: str
    version: int
    deadline: datetime


class OpenCart(Message, frozen=True):
    """Message of an order that was rejected or cancelled: the cart may change again. From another order: nothing."""

    order: str


class ClearCart(Message, frozen=True):
    """Message of a paid order: the cart is done; it is empty and open for the next purchase."""

    order: str


class KeepFrozen(Message, frozen=True):
    """Message of an order that still runs, asked by a cart whose deadline passed: keep it until then."""

    order: str
    deadline: datetime


# Events


class CartCreated(Message, frozen=True):
    """The cart exists; `subject` is whose key seals its personal values."""

    at: datetime
    currency: str
    channel: str
    subject: str


class LineAdded(Message, frozen=True):
    """A new line."""

    at: datetime
    line: CartLine


class LineChanged(Message, frozen=True):
    """The line has this quote and quantity now."""

    at: datetime
    line: CartLine


class LineRemoved(Message, frozen=True):
    """The line is gone."""

    at: datetime
    line: str


class CartPatched(Message, frozen=True):
    """The fields that are set have these values now."""

    at: datetime
    email: Sealed | UnsetType | None = UNSET
    shipping_address: Address | UnsetType | None = UNSET
    billing_address: Address | UnsetType | None = UNSET
    shipping_method: str | UnsetType | None = UNSET


class CartMergedFrom(Message, frozen=True):
    """The lines of `source` were taken over, before transfers had ids; no longer written, only read."""

    at: datetime
    source: str
    source_version: int | None = None


class CartFroze(Message, frozen=True):
    """An order is being made of the cart."""

    at: datetime
    order: str
    deadline: datetime


class FreezeExtended(Message, frozen=True):
    """The order still runs, or is asked how it stands (`asked`): the cart stays frozen until the deadline."""

    at: datetime
    order: str
    deadline: datetime
    asked: bool = False


class CartOpened(Message, frozen=True):
    """The cart may change again."""

    at: datetime
    order: str


class CartCleared(Message, frozen=True):
    """Its order is paid (`ordered`): it is empty. `merged` is no longer written: see `LinesGiven`."""

    at: datetime
    reason: Literal["ordered", "merged"]
    by: str


# Replies and the public form


class CartKept(msgspec.Struct, frozen=True, kw_only=True):
    """The cart after a command."""

    id: str
    version: int


MergeReason = Literal["merged", "capped_by_stock", "capped_by_limit", "dropped"]


class MergeChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a merge did to a SKU: its quantity before and now; `reason` says whether all asked for is there."""

    sku: str
    before: int
    after: int
    reason: MergeReason


class ShownLine(msgspec.Struct, frozen=True, kw_only=True):
    """The public form of a line of a cart or an order; `total` is the line's price without tax to be added."""

    id: str
    sku: str
    product: str
    title: Text
    variant_title: Text
    quantity: int
    unit_price: ShownMoney
    discount: ShownMoney
    tax: ShownMoney
    tax_included: ShownMoney
    total: ShownMoney


class ShownTotals(msgspec.Struct, frozen=True, kw_only=True):
    """total = subtotal - discount + shipping + tax.

    `tax` is the part that is not in the prices already, `tax_included` the part that is.
    """

    subtotal: ShownMoney
    discount: ShownMoney
    shipping: ShownMoney
    tax: ShownMoney
    tax_included: ShownMoney
    total: ShownMoney


class ShownCart(msgspec.Struct, frozen=True, kw_only=True):
    """The public form of a cart; `order` is the order that freezes it, or the last one made of it."""

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
    lines: tuple[ShownLine, ...]
    totals: ShownTotals
    order: str | None
    created_at: datetime
    updated_at: datetime
