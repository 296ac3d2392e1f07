"""Order: the saga of a checkout. Each step is asked for once, waited for until a deadline, and undone when it fails.

freezing -> quoting -> reserving -> authorising (-> awaiting_action) -> confirming -> capturing -> paid

Up to `capturing` the order can be rejected by anything that fails or takes too long; the gateway's confirmed capture is
the pivot. Undoing is sent after what it undoes, and messages keep their order, so an answer that comes after a
rejection or cancellation changes nothing: what it speaks of is already being given back.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, assert_never

from actors import order_sends as sends
from actors import order_told
from actors.order_state import Event, OrderState, evolve
from ultramarket.domain.ids import payment_id
from ultramarket.domain.shop import ShopRules
from ultramarket.errors import Rejection
from ultramarket.messages.cart import ClearCart, FreezeCart, KeepFrozen, OpenCart
from ultramarket.messages.common import Wake, shown
from ultramarket.messages.order import (
    ActionNeeded,
    CancelOrder,
    CaptureStarted,
    CartAsks,
    CartFrozen,
    CartRefused,
    HoldConfirmed,
    HoldLost,
    HoldWasConfirmed,
    JudgedLine,
    OrderAuthorised,
    OrderCancelled,
    OrderFilled,
    OrderKept,
    OrderPaid,
    OrderPlaced,
    OrderRefunded,
    OrderRejected,
    OrderStarted,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentGivenBack,
    PaymentNeedsAction,
    PaymentRefunded,
    PaymentRefused,
    PaymentStarted,
    PaymentVoided,
    PlaceOrder,
    QuotesAccepted,
    QuotesJudged,
    QuotesRefused,
    Reason,
    ReservationStarted,
    ShownOrder,
    ShownOrderPayment,
    StepReminded,
    StockRefused,
    StockReserved,
    StockWasReserved,
)
from ultramarket.messages.payment import CapturePayment
from ultramarket.messages.refusals import not_found, version_mismatch
from ultramarket.messages.shown import price_cart, show_address, show_lines, show_totals
from ultramarket.runtime.actor import Actor, Context, Decision, Send, Unseal

LONGEST_REMINDER = timedelta(hours=1)
"""A capture whose outcome is unknown is reminded of with doubling pauses up to this one."""

FromActors = (
    CartFrozen
    | CartRefused
    | QuotesJudged
    | StockReserved
    | StockRefused
    | HoldConfirmed
    | HoldLost
    | PaymentAuthorised
    | PaymentNeedsAction
    | PaymentRefused
    | PaymentCaptured
    | PaymentVoided
    | PaymentRefunded
    | Wake
)
"""What other actors answer, and the timer: each belongs to a step and changes nothing in another one."""
Command = PlaceOrder | CancelOrder | CartAsks | FromActors


class Order(Actor[OrderState, Command, Event]):
    """An order; its id is derived from the cart's id and version, so that a double click is one order.

    Args:
        rules: what prices, shipping, taxes and waiting times it goes by.
    """

    kind = "order"
    state = OrderState
    commands = Command
    events = Event

    def __init__(self, rules: ShopRules) -> None:
        self._rules = rules
        timing = rules.timing
        self._step = timedelta(seconds=timing.step_seconds)
        self._action = timedelta(seconds=timing.action_seconds)
        self._hold = timedelta(seconds=timing.hold_seconds)
        self._freeze = timedelta(seconds=timing.freeze_seconds)
        self._quote_lock = timedelta(seconds=timing.quote_lock_seconds)

    def decide(self, state: OrderState | None, command: Command, ctx: Context) -> Decision | Rejection:
        """Judge a command: clients are answered or refused; an answer of another actor moves the step it belongs to."""
        match command:
            case PlaceOrder():
                return self._place(state, command, ctx)
            case CancelOrder():
                return self._cancel(state, command, ctx)
            case CartAsks():
                return Decision(answers=(Send("cart", command.cart, self._tell_cart(state, ctx)),))
            case _:
                return Decision(events=self._go_on(state, command, ctx) if state else ())

    def evolve(self, state: OrderState | None, event: Event) -> OrderState:
        """Apply an event."""
        return evolve(state, event)

    def react(self, event: Event, state: OrderState, ctx: Context) -> Iterable[Send]:
        """Ask for the next step, or undo what was asked for."""
        order = ctx.id
        match event:
            case OrderStarted():
                freeze = FreezeCart(order=order, version=event.cart_version, deadline=event.at + self._freeze)
                return (Send("cart", state.cart, freeze),)
            case OrderFilled():
                return sends.confirm_quotes(state, order)
            case ReservationStarted():
                return sends.reserve_stock(state, order, event.expires_at)
            case PaymentStarted():
                return (sends.create_payment(state, order, event.amount),)
            case OrderAuthorised():
                return sends.confirm_holds(state, order)
            case CaptureStarted() | StepReminded():
                # A payment that was asked already answers again with what it knows.
                return (Send("payment", state.payment, CapturePayment(order=order)),)
            case OrderPaid():
                return sends.complete(state, order)
            case OrderCancelled() if state.paid:
                return sends.take_back(state, order)
            case OrderRejected():
                return sends.undo(state, order, event.at + self._quote_lock, event.not_held)
            case OrderCancelled():
                return sends.undo(state, order, event.at + self._quote_lock)
            case _:
                return ()

    def wake_at(self, state: OrderState) -> datetime | None:
        """The deadline of the step."""
        return state.deadline

    def subject(self, state: OrderState) -> str:
        """An order's personal values came from its cart: the key is the one that sealed them there."""
        email = state.content.email if state.content else None
        return email.subject if email else f"cart:{state.cart}"

    def show(self, state: OrderState, id: str, version: int, unseal: Unseal) -> ShownOrder:
        """The public form."""
        content = state.content
        return ShownOrder(
            id=id,
            number=state.number,
            version=version,
            status=state.status(),
            payment_status=state.payment_status(),
            fulfilment_status="none",
            reason=state.reason,
            cart=state.cart,
            currency=content.currency if content else None,
            channel=content.channel if content else None,
            email=unseal(content.email) if content and content.email else None,
            shipping_address=show_address(content.shipping_address, unseal) if content else None,
            billing_address=show_address(content.billing_address, unseal) if content else None,
            shipping_method=content.shipping_method if content else None,
            lines=state.lines,
            totals=state.totals,
            refunded=shown(state.refunded) if state.refunded else None,
            payment=ShownOrderPayment(id=state.payment or None, gateway=state.gateway, action=state.action or None),
            created_at=state.created_at,
            updated_at=state.updated_at,
        )

    def tell(self, event: Event) -> Any:
        """The public event."""
        return order_told.tell(event)

    def _place(self, state: OrderState | None, command: PlaceOrder, ctx: Context) -> Decision:
        if state is not None:
            return Decision(reply=OrderPlaced(id=ctx.id, version=ctx.version, created=False))
        started = OrderStarted(
            at=ctx.now,
            cart=command.cart,
            cart_version=command.cart_version,
            number=command.number,
            gateway=command.gateway,
            method=command.method,
            deadline=ctx.now + self._step,
        )
        return Decision(events=(started,), reply=OrderPlaced(id=ctx.id, version=ctx.version + 1, created=True))

    def _cancel(self, state: OrderState | None, command: CancelOrder, ctx: Context) -> Decision | Rejection:
        if state is None:
            return not_found("order")
        mismatch = version_mismatch(command.expect, ctx.version)
        if mismatch is not None:
            return mismatch
        if state.step in ("rejected", "cancelled"):
            return Rejection("order_not_cancellable", f"The order is {state.step} already: there is nothing to cancel.")
        reason = Reason("cancelled", command.reason or "The order was cancelled.")
        events: tuple[Event, ...] = (OrderCancelled(at=ctx.now, reason=reason, by=ctx.principal),)
        if state.paid and not state.payment and state.total is not None:
            # There was nothing to pay, so nothing will come back.
            events = (*events, OrderRefunded(at=ctx.now, refunded=state.total, full=True))
        return Decision(events=events, reply=OrderKept(id=ctx.id, version=ctx.version + len(events)))

    def _tell_cart(self, state: OrderState | None, ctx: Context) -> OpenCart | ClearCart | KeepFrozen:
        """How the order stands, for the cart that it froze."""
        if state is not None and state.paid:
            return ClearCart(order=ctx.id)
        if state is None or state.step in ("rejected", "cancelled"):
            return OpenCart(order=ctx.id)
        return KeepFrozen(order=ctx.id, deadline=ctx.now + self._freeze)

    def _go_on(self, state: OrderState, command: FromActors, ctx: Context) -> tuple[Event, ...]:
        """What an answer leads to in this step; nothing where it comes too late."""
        now, step = ctx.now, state.step
        match command:
            case CartFrozen():
                return self._fill(command, now) if step == "freezing" else ()
            case CartRefused():
                return (OrderRejected(at=now, reason=command.reason),) if step == "freezing" else ()
            case QuotesJudged():
                return self._judge(state, command, ctx) if step == "quoting" else ()
            case StockReserved():
                return self._reserved(state, command.sku, ctx) if step == "reserving" else ()
            case StockRefused():
                return _out_of_stock(now, command.sku, command.available) if step == "reserving" else ()
            case PaymentNeedsAction():
                needed = ActionNeeded(at=now, action=command.action, deadline=now + self._action)
                return (needed,) if step == "authorising" else ()
            case PaymentAuthorised():
                return self._confirm(state, ctx) if step in ("authorising", "awaiting_action") else ()
            case HoldConfirmed():
                return self._confirmed(state, command.sku, ctx) if step == "confirming" else ()
            case HoldLost():
                return _out_of_stock(now, command.sku, 0) if step == "confirming" else ()
            case PaymentCaptured():
                return (OrderPaid(at=now),) if step == "capturing" else ()
            case PaymentRefused():
                return _refused(state, command, now)
            case PaymentVoided():
                ended = step in ("rejected", "cancelled") and not state.given_back
                return (PaymentGivenBack(at=now),) if ended else ()
            case PaymentRefunded():
                more = state.refunded is None or command.refunded > state.refunded
                return (OrderRefunded(at=now, refunded=command.refunded, full=command.full),) if more else ()
            case Wake():
                return self._late(state, now)
            case _:
                assert_never(command)

    def _fill(self, frozen: CartFrozen, now: datetime) -> tuple[Event, ...]:
        """Take the cart's content over, with what it costs."""
        totals = price_cart(
            frozen.lines,
            self._rules,
            channel=frozen.channel,
            currency=frozen.currency,
            destination=frozen.shipping_address,
            shipping_method=frozen.shipping_method,
        )
        if not totals.shipping_available:
            return _rejected(now, "shipping_not_available", "The shipping method does not ship this cart there.")
        filled = OrderFilled(
            at=now,
            cart=frozen,
            totals=show_totals(totals),
            lines=show_lines(frozen.lines, totals),
            total=totals.total,
            deadline=now + self._step,
        )
        return (filled,)

    def _judge(self, state: OrderState, command: QuotesJudged, ctx: Context) -> tuple[Event, ...]:
        """Keep a product's word; the last one decides."""
        now, product = ctx.now, command.product
        if product not in state.unjudged():
            return ()
        answered = {line.sku for line in command.lines}
        # What a product says nothing about is not sold by it.
        asked = (line.quote.sku for line in state.bought() if line.quote.product == product)
        missing = (JudgedLine(sku=sku, verdict="not_available") for sku in asked if sku not in answered)
        lines = (*command.lines, *missing)
        judged: Event = QuotesAccepted(at=now, product=product, lines=lines)
        if any(line.verdict != "ok" for line in lines):
            version = command.product_version
            judged = QuotesRefused(at=now, product=product, product_version=version, lines=lines)
        state = evolve(state, judged)
        if state.unjudged():
            return (judged,)
        refusal = state.refusal()
        if refusal is not None:
            return (judged, OrderRejected(at=now, reason=refusal))
        if not state.stock():
            return (judged, *self._pay(state, ctx))
        return (judged, ReservationStarted(at=now, expires_at=now + self._hold, deadline=now + self._step))

    def _reserved(self, state: OrderState, sku: str, ctx: Context) -> tuple[Event, ...]:
        if sku in state.reserved or sku not in state.stock():
            return ()
        reserved = StockWasReserved(at=ctx.now, sku=sku)
        state = evolve(state, reserved)
        return (reserved, *(self._pay(state, ctx) if len(state.reserved) == len(state.stock()) else ()))

    def _pay(self, state: OrderState, ctx: Context) -> tuple[Event, ...]:
        """All stock is held: ask for the money, if there is any to ask for."""
        if not state.total:
            return self._confirm(state, ctx)
        payment = payment_id(ctx.id)
        return (PaymentStarted(at=ctx.now, payment=payment, amount=state.total, deadline=ctx.now + self._step),)

    def _confirm(self, state: OrderState, ctx: Context) -> tuple[Event, ...]:
        """The money is there: make sure that the stock is, too."""
        authorised = OrderAuthorised(at=ctx.now, deadline=ctx.now + self._step)
        return (authorised, *(() if state.stock() else self._capture(state, ctx)))

    def _confirmed(self, state: OrderState, sku: str, ctx: Context) -> tuple[Event, ...]:
        if sku in state.confirmed or sku not in state.stock():
            return ()
        confirmed = HoldWasConfirmed(at=ctx.now, sku=sku)
        state = evolve(state, confirmed)
        return (confirmed, *(self._capture(state, ctx) if len(state.confirmed) == len(state.stock()) else ()))

    def _capture(self, state: OrderState, ctx: Context) -> tuple[Event, ...]:
        if not state.payment:
            return (OrderPaid(at=ctx.now),)
        return (CaptureStarted(at=ctx.now, deadline=ctx.now + self._step),)

    def _late(self, state: OrderState, now: datetime) -> tuple[Event, ...]:
        """The step's deadline has come; only a capture goes on, since its outcome is the gateway's to say."""
        if state.deadline is None or now < state.deadline:
            return ()
        if state.step == "capturing":
            pause = min(2 * (now - state.updated_at), LONGEST_REMINDER)
            return (StepReminded(at=now, deadline=now + pause),)
        # What a product refused already says more than that another one did not answer.
        reason = state.refusal() or Reason("expired", "The checkout took too long and was given up. Try again.")
        return (OrderRejected(at=now, reason=reason),)


def _rejected(now: datetime, code: str, detail: str) -> tuple[Event, ...]:
    return (OrderRejected(at=now, reason=Reason(code, detail)),)


def _out_of_stock(now: datetime, sku: str, available: int) -> tuple[Event, ...]:
    reason = Reason("out_of_stock", f"Not enough in stock of {sku}: {available} available.")
    return (OrderRejected(at=now, reason=reason, not_held=sku),)


def _refused(state: OrderState, command: PaymentRefused, now: datetime) -> tuple[Event, ...]:
    """The gateway's definite no, where it answers what the order waits for."""
    if command.stage == "authorise" and state.step in ("authorising", "awaiting_action"):
        return _rejected(now, "payment_declined", f"The payment was declined: {command.code}.")
    if command.stage == "capture" and state.step == "capturing":
        return _rejected(now, "payment_failed", f"The payment could not be completed: {command.code}.")
    return ()
