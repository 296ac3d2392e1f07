"""The state of an order and how events change it; what the saga in actors/order.py decides on."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, assert_never

import msgspec
from msgspec.structs import replace

from ultramarket.domain.money import Money
from ultramarket.errors import UltraMarketError
from ultramarket.messages.cart import CartLine, ShownLine, ShownTotals
from ultramarket.messages.order import (
    ActionNeeded,
    CaptureStarted,
    CartFrozen,
    HoldWasConfirmed,
    JudgedLine,
    OrderAuthorised,
    OrderCancelled,
    OrderFilled,
    OrderPaid,
    OrderRefunded,
    OrderRejected,
    OrderStarted,
    PaymentGivenBack,
    PaymentStarted,
    PaymentStatus,
    QuotesAccepted,
    QuotesRefused,
    Reason,
    ReservationStarted,
    Status,
    StepReminded,
    StockWasReserved,
)

Step = Literal[
    "freezing",
    "quoting",
    "reserving",
    "authorising",
    "awaiting_action",
    "confirming",
    "capturing",
    "paid",
    "rejected",
    "cancelled",
]

Event = (
    OrderStarted
    | OrderFilled
    | QuotesAccepted
    | QuotesRefused
    | ReservationStarted
    | StockWasReserved
    | PaymentStarted
    | ActionNeeded
    | OrderAuthorised
    | HoldWasConfirmed
    | CaptureStarted
    | OrderPaid
    | OrderRejected
    | OrderCancelled
    | PaymentGivenBack
    | OrderRefunded
    | StepReminded
)


class OrderState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far an order is.

    Attributes:
        deadline: when the step is over at the latest; None where nothing is waited for.
        judged: the products' word by SKU; `products` has the version in which each product gave it.
        reserving: ReserveStock was sent for every SKU of `stock()`; each of them needs a release or a commit.
        reserved: SKUs whose stock is held; `confirmed` those whose hold can't expire any more.
        payment: id of the payment once it was asked for; empty before, and where there is nothing to pay.
        given_back: the authorisation was voided, or never will be.
    """

    step: Step
    cart: str
    cart_version: int
    number: str
    gateway: str
    method: str
    created_at: datetime
    updated_at: datetime
    deadline: datetime | None = None
    content: CartFrozen | None = None
    totals: ShownTotals | None = None
    lines: tuple[ShownLine, ...] = ()
    total: Money | None = None
    judged: dict[str, JudgedLine] = {}
    products: dict[str, int] = {}
    reserving: bool = False
    reserved: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    payment: str = ""
    action: str = ""
    authorised: bool = False
    paid: bool = False
    given_back: bool = False
    refunded: Money | None = None
    refunded_in_full: bool = False
    reason: Reason | None = None

    def bought(self) -> tuple[CartLine, ...]:
        """The lines of the cart; none while it is not known."""
        return self.content.lines if self.content else ()

    def unjudged(self) -> set[str]:
        """Products that were asked and have not answered."""
        return {line.quote.product for line in self.bought()} - self.products.keys()

    def refusal(self) -> Reason | None:
        """Why the products refuse the order, as far as they answered; None where they don't."""
        words = [word for word in self.judged.values() if word.verdict != "ok"]
        gone = [word.sku for word in words if word.verdict == "not_available"]
        if gone:
            return Reason("not_available", f"Not sold any more: {', '.join(gone)}. Take it out of the cart.")
        if words:
            moved = ", ".join(word.sku for word in words)
            return Reason("price_changed", f"The price changed: {moved}. The cart shows the new one.")
        return None

    def stock(self) -> dict[str, int]:
        """Pieces of each SKU whose stock is tracked."""
        pieces: dict[str, int] = {}
        for line in self.bought():
            sku = line.quote.sku
            if sku in self.judged and self.judged[sku].track_stock:
                pieces[sku] = pieces.get(sku, 0) + line.quantity
        return pieces

    def status(self) -> Status:
        """The public status."""
        match self.step:
            case "awaiting_action":
                return "awaiting_payment"
            case "paid":
                return "open"
            case "rejected" | "cancelled":
                return self.step
            case _:
                return "pending"

    def payment_status(self) -> PaymentStatus:
        """The public payment status."""
        if self.refunded is not None:
            return "refunded" if self.refunded_in_full else "partially_refunded"
        if self.paid:
            return "paid"
        return "authorised" if self.authorised and not self.given_back else "none"


def evolve(state: OrderState | None, event: Event) -> OrderState:
    """Apply an event.

    Raises:
        UltraMarketError: the log does not begin with OrderStarted.
    """
    if isinstance(event, OrderStarted):
        return _started(event)
    if state is None:
        raise UltraMarketError(f"the log of an order begins with {type(event).__name__}: restore it from a backup")
    state = replace(state, updated_at=event.at)
    match event:
        case OrderFilled() | QuotesAccepted() | QuotesRefused() | ReservationStarted() | StockWasReserved():
            return _gather(state, event)
        case PaymentStarted():
            return replace(state, step="authorising", payment=event.payment, deadline=event.deadline)
        case ActionNeeded():
            return replace(state, step="awaiting_action", action=event.action, deadline=event.deadline)
        case OrderAuthorised():
            authorised = bool(state.payment)
            return replace(state, step="confirming", authorised=authorised, action="", deadline=event.deadline)
        case HoldWasConfirmed():
            return replace(state, confirmed=(*state.confirmed, event.sku))
        case CaptureStarted():
            return replace(state, step="capturing", deadline=event.deadline)
        case StepReminded():
            return replace(state, deadline=event.deadline)
        case OrderPaid():
            return replace(state, step="paid", paid=True, deadline=None)
        case OrderRejected():
            return replace(state, step="rejected", reason=event.reason, action="", deadline=None)
        case OrderCancelled():
            return replace(state, step="cancelled", reason=event.reason, action="", deadline=None)
        case PaymentGivenBack():
            return replace(state, given_back=True)
        case OrderRefunded():
            return replace(state, refunded=event.refunded, refunded_in_full=event.full)
        case _:
            assert_never(event)


def _started(event: OrderStarted) -> OrderState:
    return OrderState(
        step="freezing",
        cart=event.cart,
        cart_version=event.cart_version,
        number=event.number,
        gateway=event.gateway,
        method=event.method,
        created_at=event.at,
        updated_at=event.at,
        deadline=event.deadline,
    )


def _gather(
    state: OrderState,
    event: OrderFilled | QuotesAccepted | QuotesRefused | ReservationStarted | StockWasReserved,
) -> OrderState:
    """The steps before the payment."""
    match event:
        case OrderFilled():
            return replace(
                state,
                step="quoting",
                content=event.cart,
                totals=event.totals,
                lines=event.lines,
                total=event.total,
                deadline=event.deadline,
            )
        case QuotesAccepted():
            return _judged(state, event.product, 0, event.lines)
        case QuotesRefused():
            return _judged(state, event.product, event.product_version, event.lines)
        case ReservationStarted():
            return replace(state, step="reserving", reserving=True, deadline=event.deadline)
        case StockWasReserved():
            return replace(state, reserved=(*state.reserved, event.sku))
        case _:
            assert_never(event)


def _judged(state: OrderState, product: str, version: int, lines: Iterable[JudgedLine]) -> OrderState:
    judged = state.judged | {line.sku: line for line in lines}
    return replace(state, judged=judged, products={**state.products, product: version})
