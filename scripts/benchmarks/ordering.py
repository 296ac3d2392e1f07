"""An actor in an order's place that only asks for a piece and records whether it got it."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import ClassVar, NoReturn

import msgspec

from ultramarket.messages.common import Message
from ultramarket.messages.inventory import ReserveStock
from ultramarket.messages.order import StockRefused, StockReserved
from ultramarket.runtime.actor import Actor, Context, Decision, Send, Unseal

HOLD_TIME = timedelta(minutes=15)


class Want(Message, frozen=True):
    """Ask for a piece of a SKU."""

    sku: str


class Wanted(Message, frozen=True):
    """The piece was asked for."""

    at: datetime
    sku: str


class Got(Message, frozen=True):
    """The answer came."""

    at: datetime
    held: bool


class OrderingState(msgspec.Struct, frozen=True):
    """Where the order is."""

    sku: str
    held: bool | None = None


Command = Want | StockReserved | StockRefused
Event = Wanted | Got


class Ordering(Actor[OrderingState, Command, Event]):
    """Asks the inventory with a message, and takes its answer; answers to an order that is unknown are dropped."""

    kind = "order"
    state = OrderingState
    commands = Command
    events = Event
    DONE: ClassVar[int] = 2
    """The version in which the answer is recorded."""

    def decide(self, state: OrderingState | None, command: Command, ctx: Context) -> Decision:
        """Record the question, then the answer."""
        if isinstance(command, Want):
            return Decision(events=(Wanted(at=ctx.now, sku=command.sku),))
        if state is None:
            return Decision()
        return Decision(events=(Got(at=ctx.now, held=isinstance(command, StockReserved)),))

    def evolve(self, state: OrderingState | None, event: Event) -> OrderingState:
        """Apply an event."""
        if isinstance(event, Wanted):
            return OrderingState(event.sku)
        return OrderingState(state.sku if state else "", event.held)

    def react(self, event: Event, state: OrderingState, ctx: Context) -> Iterable[Send]:  # noqa: ARG002 - the event says it all
        """The question to the inventory."""
        if isinstance(event, Wanted):
            ask = ReserveStock(order=ctx.id, quantity=1, expires_at=event.at + HOLD_TIME)
            return (Send("inventory", event.sku, ask),)
        return ()

    def show(self, state: OrderingState, id: str, version: int, unseal: Unseal) -> NoReturn:
        """Nobody looks at it."""
        raise NotImplementedError
