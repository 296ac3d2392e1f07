"""Order: the saga of a checkout, from a frozen cart to a paid order or a rejection that left nothing behind."""

from datetime import datetime
from typing import Literal

import msgspec

from ultramarket.domain.money import Money
from ultramarket.messages.cart import CartLine, ShownLine, ShownTotals
from ultramarket.messages.common import Address, Message, Sealed, ShownAddress, ShownMoney

Status = Literal["pending", "awaiting_payment", "open", "completed", "cancelled", "rejected"]
PaymentStatus = Literal["none", "authorised", "paid", "partially_refunded", "refunded"]
FulfilmentStatus = Literal["none", "partial", "shipped", "delivered", "returned"]


class Reason(msgspec.Struct, frozen=True):
    """Why an order was rejected or cancelled: a stable code and a sentence."""

    code: str
    detail: str


# Commands of clients


class PlaceOrder(Message, frozen=True):
    """Make an order of a cart as it stands in `cart_version`. Replies `OrderPlaced`.

    The order's id is derived from cart and version: the order exists already is no error, the reply says so.

    Attributes:
        number: for people, unique, e.g. `100123`; used only when the order is new.
    """

    cart: str
    cart_version: int
    number: str
    gateway: str
    method: str


class CancelOrder(Message, frozen=True):
    """Cancel: recorded first, then voids before the capture or refunds after it. Replies `OrderKept`."""

    reason: str = ""
    expect: int | None = None


# Messages of other actors


class CartFrozen(Message, frozen=True):
    """The cart's answer to FreezeCart: its content."""

    cart: str
    currency: str
    channel: str
    lines: tuple[CartLine, ...]
    email: Sealed | None = None
    shipping_address: Address | None = None
    billing_address: Address | None = None
    shipping_method: str | None = None


class CartRefused(Message, frozen=True):
    """The cart's answer to FreezeCart: it changed, is empty, lacks something, or belongs to another order."""

    cart: str
    reason: Reason


class CartAsks(Message, frozen=True):
    """A frozen cart whose deadline passed asks how the order stands; answered: OpenCart, ClearCart or KeepFrozen."""

    cart: str


class JudgedLine(msgspec.Struct, frozen=True, kw_only=True):
    """The product's word on a line: `ok`, or why not; with its present price and stock rules."""

    sku: str
    verdict: Literal["ok", "price_changed", "not_available"]
    price: Money | None = None
    track_stock: bool = True
    when_out: Literal["deny", "continue"] = "deny"


class QuotesJudged(Message, frozen=True):
    """The product's answer to ConfirmQuotes."""

    product: str
    product_version: int
    lines: tuple[JudgedLine, ...]


class StockReserved(Message, frozen=True):
    """The inventory's answer to ReserveStock: held."""

    sku: str


class StockRefused(Message, frozen=True):
    """The inventory's answer to ReserveStock: not enough there."""

    sku: str
    available: int


class HoldConfirmed(Message, frozen=True):
    """The inventory's answer to ConfirmHold: the pieces wait for the capture."""

    sku: str


class HoldLost(Message, frozen=True):
    """The inventory's answer to ConfirmHold: the hold expired and the pieces are gone."""

    sku: str


class PaymentAuthorised(Message, frozen=True):
    """The payment's word: the gateway holds the amount for us."""

    payment: str


class PaymentNeedsAction(Message, frozen=True):
    """The payment's word: the buyer must act first; `action` is where."""

    payment: str
    action: str


class PaymentRefused(Message, frozen=True):
    """The payment's word: the gateway definitely refused the authorisation or the capture; no money is held."""

    payment: str
    stage: Literal["authorise", "capture"]
    code: str


class PaymentCaptured(Message, frozen=True):
    """The payment's word: the money is ours. The pivot: from here on the order is paid."""

    payment: str


class PaymentVoided(Message, frozen=True):
    """The payment's word: the authorisation was given up, or there never was one and never will be."""

    payment: str


class PaymentRefunded(Message, frozen=True):
    """The payment's word: this much has gone back in all."""

    payment: str
    refunded: Money
    full: bool


# Events


class OrderStarted(Message, frozen=True):
    """The order exists; the cart is being frozen."""

    at: datetime
    cart: str
    cart_version: int
    number: str
    gateway: str
    method: str
    deadline: datetime


class OrderFilled(Message, frozen=True):
    """The cart's content is the order's now, with totals; the products are being asked."""

    at: datetime
    cart: CartFrozen
    totals: ShownTotals
    lines: tuple[ShownLine, ...]
    total: Money
    deadline: datetime


class QuotesAccepted(Message, frozen=True):
    """A product confirmed its lines; with the stock rules of each SKU."""

    at: datetime
    product: str
    lines: tuple[JudgedLine, ...]


class QuotesRefused(Message, frozen=True):
    """A product refused some of its lines; the order is rejected once all answered: the cart then shows everything."""

    at: datetime
    product: str
    product_version: int
    lines: tuple[JudgedLine, ...]


class ReservationStarted(Message, frozen=True):
    """Every product confirmed; the stock is being held until `expires_at`."""

    at: datetime
    expires_at: datetime
    deadline: datetime


class StockWasReserved(Message, frozen=True):
    """The inventory holds the pieces of this SKU."""

    at: datetime
    sku: str


class PaymentStarted(Message, frozen=True):
    """All stock is held (or none needs to be); the payment is being made."""

    at: datetime
    payment: str
    amount: Money
    deadline: datetime


class ActionNeeded(Message, frozen=True):
    """The buyer must act; until the deadline."""

    at: datetime
    action: str
    deadline: datetime


class OrderAuthorised(Message, frozen=True):
    """The gateway holds the amount, or there is nothing to pay; the holds are being confirmed."""

    at: datetime
    deadline: datetime


class HoldWasConfirmed(Message, frozen=True):
    """The hold of this SKU can't expire any more."""

    at: datetime
    sku: str


class CaptureStarted(Message, frozen=True):
    """All holds are confirmed; the money is being captured."""

    at: datetime
    deadline: datetime


class OrderPaid(Message, frozen=True):
    """The gateway confirmed the capture: the order stands."""

    at: datetime


class OrderRejected(Message, frozen=True):
    """The order will not be; stock and authorisation are being given back.

    Attributes:
        not_held: the SKU whose stock was refused or lost: it holds nothing that could be given back.
    """

    at: datetime
    reason: Reason
    not_held: str = ""


class OrderCancelled(Message, frozen=True):
    """Somebody cancelled; what was taken is being given back."""

    at: datetime
    reason: Reason
    by: str


class PaymentGivenBack(Message, frozen=True):
    """The authorisation of a rejected or cancelled order was voided."""

    at: datetime


class OrderRefunded(Message, frozen=True):
    """This much of the captured money has gone back in all."""

    at: datetime
    refunded: Money
    full: bool


class StepReminded(Message, frozen=True):
    """A deadline passed on a step that can only go on (capture, void): it goes on until then."""

    at: datetime
    deadline: datetime


# Replies and the public form


class OrderPlaced(msgspec.Struct, frozen=True, kw_only=True):
    """The order, and whether this command made it."""

    id: str
    version: int
    created: bool


class OrderKept(msgspec.Struct, frozen=True, kw_only=True):
    """The order after a command."""

    id: str
    version: int


class ShownOrderPayment(msgspec.Struct, frozen=True, kw_only=True):
    """The payment as the order sees it; `action` is where the buyer must act."""

    id: str | None
    gateway: str
    action: str | None


class ShownOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The public form of an order."""

    id: str
    number: str
    version: int
    status: Status
    payment_status: PaymentStatus
    fulfilment_status: FulfilmentStatus
    reason: Reason | None
    cart: str
    currency: str | None
    channel: str | None
    email: str | None
    shipping_address: ShownAddress | None
    billing_address: ShownAddress | None
    shipping_method: str | None
    lines: tuple[ShownLine, ...]
    totals: ShownTotals | None
    refunded: ShownMoney | None
    payment: ShownOrderPayment
    created_at: datetime
    updated_at: datetime
