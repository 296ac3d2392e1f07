"""Cart: what somebody means to buy. While an order is made of it, it keeps still; it is never frozen for ever."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, assert_never

import msgspec
from msgspec import UNSET

from actors import cart_lines, cart_told, cart_transfers
from actors.cart_state import CartState, frozen
from ultramarket.domain.money import EXPONENTS
from ultramarket.domain.shop import ShopRules
from ultramarket.errors import Fault, Rejection
from ultramarket.messages.cart import (
    AddLine,
    CartCleared,
    CartCreated,
    CartFroze,
    CartKept,
    CartMergedFrom,
    CartOpened,
    CartPatched,
    ClearCart,
    CreateCart,
    FreezeCart,
    FreezeExtended,
    KeepFrozen,
    LineAdded,
    LineChanged,
    LineRemoved,
    OpenCart,
    PatchCart,
    Requote,
    SetLine,
    ShownCart,
)
from ultramarket.messages.cart_transfer import (
    AllowMerge,
    AskTransfer,
    GiveBack,
    GiveLines,
    LinesGiven,
    LinesGivenBack,
    LinesTaken,
    SettleTransfer,
    TakeLines,
    TransferAsked,
    TransferDone,
    TransferRefused,
    TransferTaken,
)
from ultramarket.messages.common import Wake
from ultramarket.messages.order import CartAsks, CartFrozen, CartRefused, Reason
from ultramarket.messages.refusals import invalid, not_found, version_mismatch
from ultramarket.messages.shown import price_cart, show_address, show_lines, show_totals
from ultramarket.runtime.actor import Actor, Context, Decision, Send, Unseal

ClientCommand = AddLine | SetLine | PatchCart
OrderMessage = FreezeCart | OpenCart | ClearCart | KeepFrozen
Command = CreateCart | ClientCommand | Requote | OrderMessage | cart_transfers.Command | Wake
Change = (
    LineAdded
    | LineChanged
    | LineRemoved
    | CartPatched
    | CartMergedFrom
    | CartFroze
    | FreezeExtended
    | CartOpened
    | CartCleared
)
Event = CartCreated | Change | cart_transfers.Event

_TRANSFER_EVENTS = (LinesGiven, TransferAsked, TransferDone, LinesGivenBack, LinesTaken, TransferRefused)
_PATCHED = ("email", "shipping_address", "billing_address", "shipping_method")


class Cart(Actor[CartState, Command, Event]):
    """Keeps the lines of a purchase; `rules` give its limits, channels and shipping methods."""

    kind = "cart"
    state = CartState
    commands = Command
    events = Event

    def __init__(self, rules: ShopRules) -> None:
        self._rules = rules

    def decide(self, state: CartState | None, command: Command, ctx: Context) -> Decision | Rejection:
        """Judge a command; see the messages for what each means."""
        match command:
            case CreateCart():
                return self._create(state, command, ctx)
            case AddLine() | SetLine() | PatchCart():
                return self._write(state, command, ctx)
            case Requote():
                return _requote(state, command, ctx)
            case FreezeCart():
                return self._freeze(state, command, ctx)
            case OpenCart() | ClearCart() | KeepFrozen():
                return _settle(state, command, ctx)
            case (
                AllowMerge()
                | GiveLines()
                | AskTransfer()
                | TakeLines()
                | SettleTransfer()
                | TransferTaken()
                | GiveBack()
            ):
                return cart_transfers.decide(state, command, self._rules.limits, ctx)
            case Wake():
                return self._wake(state, ctx)
            case _:
                assert_never(command)

    def evolve(self, state: CartState | None, event: Event) -> CartState:
        """Apply an event."""
        if isinstance(event, CartCreated):
            return CartState(
                subject=event.subject,
                currency=event.currency,
                channel=event.channel,
                created_at=event.at,
                updated_at=event.at,
            )
        if state is None:
            raise ValueError(f"{type(event).__name__} stands before the cart's creation")
        state = msgspec.structs.replace(state, updated_at=event.at)
        if isinstance(event, _TRANSFER_EVENTS):
            return cart_transfers.evolve(state, event)
        return _evolve(state, event)

    def react(self, event: Event, state: CartState, ctx: Context) -> Iterable[Send]:
        """The content for the order that froze it, the question after the deadline, what a merge sends."""
        match event:
            case CartFroze():
                return (Send("order", event.order, _content(state, ctx.id)),)
            case FreezeExtended(asked=True):
                return (Send("order", event.order, CartAsks(cart=ctx.id)),)
            case LinesGiven() | TransferAsked() | TransferDone() | LinesGivenBack() | LinesTaken() | TransferRefused():
                return cart_transfers.react(event, ctx)
            case _:
                return ()

    def wake_at(self, state: CartState) -> datetime | None:
        """When a frozen cart asks its order how it stands, or a source the target of its transfer."""
        asks = (state.frozen_until, state.transfer.ask_at if state.transfer else None)
        return min((at for at in asks if at is not None), default=None)

    def subject(self, state: CartState) -> str:
        """The cart's own key: a guest is known by the cart alone."""
        return state.subject

    def show(self, state: CartState, id: str, version: int, unseal: Unseal) -> ShownCart:
        """The public form, with totals for what is known so far."""
        totals = price_cart(
            state.lines,
            self._rules,
            channel=state.channel,
            currency=state.currency,
            destination=state.shipping_address,
            shipping_method=state.shipping_method,
        )
        return ShownCart(
            id=id,
            version=version,
            status="frozen" if state.frozen_until else "open",
            currency=state.currency,
            channel=state.channel,
            email=unseal(state.email) if state.email else None,
            shipping_address=show_address(state.shipping_address, unseal),
            billing_address=show_address(state.billing_address, unseal),
            shipping_method=state.shipping_method,
            coupons=(),
            lines=show_lines(state.lines, totals),
            totals=show_totals(totals),
            order=state.order or None,
            created_at=state.created_at,
            updated_at=state.updated_at,
        )

    def tell(self, event: Event) -> Any:
        """The public event."""
        return cart_told.tell(event)

    def _create(self, state: CartState | None, command: CreateCart, ctx: Context) -> Decision | Rejection:
        if state is not None:
            return Rejection("cart_exists", "There is a cart with this id already.")
        wrong = []
        if self._rules.channel(command.channel) is None:
            names = ", ".join(channel.name for channel in self._rules.channels)
            wrong.append(
                Fault("/channel", f"{command.channel[:40]!r} is not a channel of this shop; there is: {names}")
            )
        if command.currency not in EXPONENTS:
            wrong.append(Fault("/currency", f"{command.currency[:20]!r} is not an ISO 4217 currency"))
        if wrong:
            return invalid(wrong)
        event = CartCreated(at=ctx.now, currency=command.currency, channel=command.channel, subject=f"cart:{ctx.id}")
        return Decision(events=(event,), reply=CartKept(id=ctx.id, version=ctx.version + 1))

    def _write(self, state: CartState | None, command: ClientCommand, ctx: Context) -> Decision | Rejection:
        """A client's change: for an open cart of the expected version."""
        if state is None:
            return not_found("cart")
        if state.frozen_until:
            return frozen(state)
        if refused := version_mismatch(command.expect, ctx.version):
            return refused
        match command:
            case AddLine():
                return cart_lines.add(state.lines, state.away, state.currency, command, self._rules.limits, ctx)
            case SetLine():
                limits = self._rules.limits
                return cart_lines.set_quantity(state.lines, state.away, state.currency, command, limits, ctx)
            case PatchCart():
                return self._patch(state, command, ctx)
            case _:
                assert_never(command)

    def _patch(self, state: CartState, command: PatchCart, ctx: Context) -> Decision | Rejection:
        changes = {
            name: value
            for name in _PATCHED
            if (value := getattr(command, name)) is not UNSET and value != getattr(state, name)
        }
        method = changes.get("shipping_method")
        if method is not None and self._rules.method(method) is None:
            codes = ", ".join(known.code for known in self._rules.shipping)
            return invalid([Fault("/shipping_method", f"{method[:40]!r} is not a shipping method; there is: {codes}")])
        events = (CartPatched(at=ctx.now, **changes),) if changes else ()
        return Decision(events=events, reply=CartKept(id=ctx.id, version=ctx.version + len(events)))

    def _freeze(self, state: CartState | None, command: FreezeCart, ctx: Context) -> Decision:
        if state is not None and state.frozen_until and state.order == command.order:
            return Decision(answers=(Send("order", command.order, _content(state, ctx.id)),))
        if reason := self._obstacle(state, command, ctx):
            return Decision(answers=(Send("order", command.order, CartRefused(cart=ctx.id, reason=reason)),))
        return Decision(events=(CartFroze(at=ctx.now, order=command.order, deadline=command.deadline),))

    def _obstacle(self, state: CartState | None, command: FreezeCart, ctx: Context) -> Reason | None:
        """Why no order can be made of the cart now; None where one can."""
        if state is None:
            return Reason("not_found", "There is no such cart.")
        if state.frozen_until:
            return Reason("cart_frozen", "Another order is being made of this cart.")
        if command.version != ctx.version:
            return Reason(
                "cart_changed", f"The cart is at version {ctx.version}, not {command.version}: look at it again."
            )
        if not state.lines:
            return Reason("cart_empty", "There is nothing in the cart.")
        if state.email is None:
            return Reason("email_missing", "Set the buyer's e-mail address in the cart first.")
        if state.shipping_address is None:
            return Reason("shipping_address_missing", "Set the shipping address in the cart first.")
        if state.shipping_method is None:
            return Reason("shipping_method_missing", "Choose a shipping method in the cart first.")
        grams = sum(line.quote.weight_grams * line.quantity for line in state.lines)
        country = state.shipping_address.country
        if self._rules.method_price(state.shipping_method, state.currency, country, grams) is None:
            return Reason("shipping_not_available", "The shipping method does not carry this cart to that address.")
        return None

    def _wake(self, state: CartState | None, ctx: Context) -> Decision:
        if state is None:
            return Decision()
        events: tuple[Event, ...] = cart_transfers.overdue(state, ctx.now)
        if state.frozen_until is not None and state.frozen_until <= ctx.now:
            again = ctx.now + timedelta(seconds=self._rules.timing.freeze_seconds)
            events = (*events, FreezeExtended(at=ctx.now, order=state.order, deadline=again, asked=True))
        return Decision(events=events)


def _requote(state: CartState | None, command: Requote, ctx: Context) -> Decision | Rejection:
    if state is None:
        return not_found("cart")
    # The order took its own copy: new quotes from it can't change what it sells.
    if state.frozen_until and ctx.principal != f"order:{state.order}":
        # An earlier order's late word is no mistake of anybody: the cart went on without it.
        return Decision() if ctx.principal.startswith("order:") else frozen(state)
    quotes = {quote.sku: quote for quote in command.quotes if quote.price.currency == state.currency}
    events = tuple(
        LineChanged(at=ctx.now, line=msgspec.structs.replace(line, quote=quotes[line.quote.sku]))
        for line in state.lines
        if quotes.get(line.quote.sku, line.quote) != line.quote
    )
    return Decision(events=events, reply=CartKept(id=ctx.id, version=ctx.version + len(events)))


def _settle(state: CartState | None, command: OpenCart | ClearCart | KeepFrozen, ctx: Context) -> Decision:
    """The word of an order: it counts only from the one that freezes the cart."""
    if state is None or not state.frozen_until or state.order != command.order:
        return Decision()
    match command:
        case OpenCart():
            return Decision(events=(CartOpened(at=ctx.now, order=command.order),))
        case ClearCart():
            return Decision(events=(CartCleared(at=ctx.now, reason="ordered", by=command.order),))
        case KeepFrozen():
            return Decision(events=(FreezeExtended(at=ctx.now, order=command.order, deadline=command.deadline),))
        case _:
            assert_never(command)


def _content(state: CartState, cart: str) -> CartFrozen:
    return CartFrozen(
        cart=cart,
        currency=state.currency,
        channel=state.channel,
        lines=state.lines,
        email=state.email,
        shipping_address=state.shipping_address,
        billing_address=state.billing_address,
        shipping_method=state.shipping_method,
    )


def _evolve(state: CartState, event: Change) -> CartState:
    match event:
        case LineAdded():
            return msgspec.structs.replace(state, lines=(*state.lines, event.line))
        case LineChanged():
            lines = tuple(event.line if line.id == event.line.id else line for line in state.lines)
            return msgspec.structs.replace(state, lines=lines)
        case LineRemoved():
            return msgspec.structs.replace(state, lines=tuple(line for line in state.lines if line.id != event.line))
        case CartPatched():
            values = {name: getattr(event, name) for name in _PATCHED}
            return msgspec.structs.replace(
                state, **{name: value for name, value in values.items() if value is not UNSET}
            )
        case CartMergedFrom():
            return state
        case CartFroze():
            return msgspec.structs.replace(state, order=event.order, frozen_until=event.deadline)
        case FreezeExtended():
            return msgspec.structs.replace(state, frozen_until=event.deadline)
        case CartOpened():
            lines = cart_lines.restored(state.lines, state.returned)
            return msgspec.structs.replace(state, lines=lines, returned=(), frozen_until=None)
        case CartCleared():
            return msgspec.structs.replace(state, lines=state.returned, returned=(), frozen_until=None)
        case _:
            assert_never(event)
