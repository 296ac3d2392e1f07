"""Inventory: the stock of one SKU and the holds of orders on it. The last piece goes to the first who asks."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Literal, assert_never

import msgspec

from ultramarket.errors import Fault, Rejection
from ultramarket.messages.common import Wake
from ultramarket.messages.inventory import (
    AdjustStock,
    CommitHold,
    ConfirmHold,
    HoldCommitted,
    HoldKept,
    HoldReleased,
    HoldsExpired,
    OpenStock,
    ReleaseHold,
    ReserveStock,
    Restock,
    Restocked,
    ShownStock,
    StockAdjusted,
    StockHeld,
    StockKept,
)
from ultramarket.messages.order import HoldConfirmed, HoldLost, StockRefused, StockReserved
from ultramarket.messages.refusals import invalid, version_mismatch
from ultramarket.runtime.actor import Actor, Context, Decision, Part, Send, Unseal

Command = AdjustStock | OpenStock | ReserveStock | ConfirmHold | ReleaseHold | CommitHold | Restock | Wake
Event = StockAdjusted | StockHeld | HoldKept | HoldReleased | HoldsExpired | HoldCommitted | Restocked

MARKER_TIME = timedelta(hours=24)
"""How long a marker refuses what comes late; messages between actors are older only after a day of failure."""
MAX_PIECES = 1_000_000_000
"""Pieces of one SKU at one location; more is a typing error."""
MAX_LOCATIONS = 100
MAX_WORD = 200
"""Characters of a reason or the name of a location."""


class Hold(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entity part: the pieces an order holds, or a marker that something is over.

    Attributes:
        status: `open` until it expires, `confirmed` without an end; `released` and `restocked` are markers.
        expires_at: when an open hold gives its pieces back, or a marker is forgotten.
    """

    quantity: int = 0
    location: str = ""
    status: Literal["open", "confirmed", "released", "restocked"]
    expires_at: datetime | None = None


class Level(msgspec.Struct, frozen=True):
    """Pieces at a location; `held` of them are promised to orders."""

    on_hand: int = 0
    held: int = 0


class InventoryState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The stock of a SKU.

    Attributes:
        levels: by location.
        next_due: no hold or marker is due before; None where none will be.
    """

    levels: dict[str, Level] = {}
    next_due: datetime | None = None


class Inventory(Actor[InventoryState, Command, Event]):
    """Holds stock for orders: never more than there is, unless the product says `continue`."""

    kind = "inventory"
    state = InventoryState
    commands = Command
    events = Event
    part = Hold

    def needs(self, command: Command) -> Iterable[str]:
        """The hold or marker that the command is about."""
        match command:
            case ReserveStock() | ConfirmHold() | ReleaseHold() | CommitHold():
                return (_hold(command.order),)
            case Restock():
                return (_restock(command.restock),)
            case _:
                return ()

    def decide(self, state: InventoryState | None, command: Command, ctx: Context) -> Decision | Rejection:
        """Judge a command; see the messages for what each means."""
        match command:
            case AdjustStock():
                return version_mismatch(command.expect, ctx.version) or _adjust(state, command, ctx)
            case OpenStock():
                return _open(state, command, ctx)
            case ReserveStock():
                return _reserve(state, command, ctx)
            case ConfirmHold():
                return _confirm(state, command, ctx)
            case ReleaseHold():
                return _release(state, command, ctx)
            case CommitHold():
                return _commit(command, ctx)
            case Restock():
                return _take_back(command, ctx)
            case Wake():
                return _expire(state, ctx)
            case _:
                assert_never(command)

    def evolve(self, state: InventoryState | None, event: Event) -> InventoryState:
        """Apply an event."""
        state = state or InventoryState()
        match event:
            case StockAdjusted():
                return _moved(state, event.location, on_hand=event.delta)
            case StockHeld():
                return _moved(state, event.location, held=event.quantity, due=event.expires_at)
            case HoldKept():
                return state
            case HoldReleased(quantity=0):
                return _moved(state, event.location, due=event.at + MARKER_TIME)
            case HoldReleased():
                return _moved(state, event.location, held=-event.quantity)
            case HoldsExpired():
                for _, location, quantity in event.holds:
                    state = _moved(state, location, held=-quantity)
                return msgspec.structs.replace(state, next_due=event.next_due)
            case HoldCommitted():
                return _moved(state, event.location, on_hand=-event.quantity, held=-event.quantity)
            case Restocked():
                return _moved(state, event.location, on_hand=event.quantity, due=event.at + MARKER_TIME)
            case _:
                assert_never(event)

    def evolve_parts(self, event: Event, parts: Mapping[str, Hold]) -> Mapping[str, Part]:
        """The holds and markers that an event changes."""
        match event:
            case StockAdjusted():
                return {}
            case StockHeld():
                status: Literal["open", "confirmed"] = "open" if event.expires_at else "confirmed"
                hold = Hold(
                    quantity=event.quantity, location=event.location, status=status, expires_at=event.expires_at
                )
                return {_hold(event.order): Part(hold, event.expires_at)}
            case HoldKept():
                name = _hold(event.order)
                return {name: Part(msgspec.structs.replace(parts[name], status="confirmed", expires_at=None))}
            case HoldReleased(quantity=0):
                return {_hold(event.order): _marker("released", event.at)}
            case HoldReleased() | HoldCommitted():
                return {_hold(event.order): Part(None)}
            case HoldsExpired():
                names = (*(_hold(order) for order, _, _ in event.holds), *event.markers)
                return dict.fromkeys(names, Part(None))
            case Restocked():
                return {_restock(event.restock): _marker("restocked", event.at)}
            case _:
                assert_never(event)

    def react(self, event: Event, state: InventoryState, ctx: Context) -> Iterable[Send]:
        """The answers to the orders whose hold was taken or kept."""
        match event:
            case StockHeld(expires_at=None) | HoldKept():
                return (Send("order", event.order, HoldConfirmed(sku=ctx.id)),)
            case StockHeld():
                return (Send("order", event.order, StockReserved(sku=ctx.id)),)
            case _:
                return ()

    def wake_at(self, state: InventoryState) -> datetime | None:
        """When the next hold or marker is due."""
        return state.next_due

    def show(self, state: InventoryState, id: str, version: int, unseal: Unseal) -> ShownStock:
        """The public form: all locations together."""
        on_hand, held = _sums(state)
        return ShownStock(sku=id, on_hand=on_hand, held=held, available=max(0, on_hand - held), version=version)


def _hold(order: str) -> str:
    return f"hold:{order}"


def _restock(restock: str) -> str:
    return f"restock:{restock}"


def _marker(status: Literal["released", "restocked"], at: datetime) -> Part:
    end = at + MARKER_TIME
    return Part(Hold(status=status, expires_at=end), end)


def _level(state: InventoryState | None, location: str) -> Level:
    return state.levels.get(location, Level()) if state else Level()


def _sums(state: InventoryState) -> tuple[int, int]:
    return sum(level.on_hand for level in state.levels.values()), sum(level.held for level in state.levels.values())


def _moved(
    state: InventoryState, location: str, *, on_hand: int = 0, held: int = 0, due: datetime | None = None
) -> InventoryState:
    """The state with pieces moved at a location, and the timer no later than `due`."""
    level = _level(state, location)
    dues = [time for time in (state.next_due, due) if time is not None]
    return InventoryState(
        levels={**state.levels, location: Level(level.on_hand + on_hand, level.held + held)},
        next_due=min(dues, default=None),
    )


def _adjust(state: InventoryState | None, command: AdjustStock, ctx: Context) -> Decision | Rejection:
    level = _level(state, command.location)
    if wrong := list(_adjust_faults(state, command, level)):
        return invalid(wrong)
    if command.delta == 0 and state is not None:
        return Decision(reply=_kept(state, ctx, changed=False))
    if command.delta < 0 and level.on_hand + command.delta < max(0, level.held):
        return Rejection(
            "negative_stock",
            f"Of {level.on_hand} pieces {level.held} are held for orders: {-command.delta} can't be taken away.",
            errors=(Fault("/delta", f"at least {min(0, level.held - level.on_hand)} is possible"),),
        )
    event = StockAdjusted(at=ctx.now, delta=command.delta, reason=command.reason, location=command.location)
    return _recorded(state, event, ctx)


def _adjust_faults(state: InventoryState | None, command: AdjustStock, level: Level) -> Iterable[Fault]:
    if abs(command.delta) > MAX_PIECES or level.on_hand + command.delta > MAX_PIECES:
        yield Fault("/delta", f"at most {MAX_PIECES} pieces are possible")
    if len(command.reason) > MAX_WORD:
        yield Fault("/reason", f"at most {MAX_WORD} characters are possible")
    if not command.location.strip() or len(command.location) > MAX_WORD:
        yield Fault("/location", f"write 1 to {MAX_WORD} characters")
    elif state and command.location not in state.levels and len(state.levels) >= MAX_LOCATIONS:
        yield Fault("/location", f"at most {MAX_LOCATIONS} locations are possible")


def _open(state: InventoryState | None, command: OpenStock, ctx: Context) -> Decision | Rejection:
    if state is not None:
        return Decision(reply=_kept(state, ctx, changed=False))
    if not 0 <= command.quantity <= MAX_PIECES:
        return invalid([Fault("/quantity", f"a first count is 0 to {MAX_PIECES} pieces")])
    event = StockAdjusted(at=ctx.now, delta=command.quantity, reason="first count", location=command.location)
    return _recorded(state, event, ctx)


def _recorded(state: InventoryState | None, event: StockAdjusted, ctx: Context) -> Decision:
    after = _moved(state or InventoryState(), event.location, on_hand=event.delta)
    on_hand, held = _sums(after)
    reply = StockKept(sku=ctx.id, version=ctx.version + 1, on_hand=on_hand, held=held, changed=True)
    return Decision(events=(event,), reply=reply)


def _kept(state: InventoryState, ctx: Context, *, changed: bool) -> StockKept:
    on_hand, held = _sums(state)
    return StockKept(sku=ctx.id, version=ctx.version, on_hand=on_hand, held=held, changed=changed)


def _reserve(state: InventoryState | None, command: ReserveStock, ctx: Context) -> Decision:
    available = _available(state, command.location)
    hold: Hold | None = ctx.parts.get(_hold(command.order))
    if hold is not None and hold.status != "released":
        return Decision(answers=(Send("order", command.order, StockReserved(sku=ctx.id)),))
    if hold is not None or (command.when_out == "deny" and command.quantity > available):
        refused = StockRefused(sku=ctx.id, available=max(0, available))
        return Decision(answers=(Send("order", command.order, refused),))
    return _held(command, command.expires_at, ctx)


def _confirm(state: InventoryState | None, command: ConfirmHold, ctx: Context) -> Decision:
    hold: Hold | None = ctx.parts.get(_hold(command.order))
    if hold is None:
        # It expired: the pieces may still be there.
        if command.when_out == "deny" and command.quantity > _available(state, command.location):
            return Decision(answers=(Send("order", command.order, HoldLost(sku=ctx.id)),))
        return _held(command, None, ctx)
    match hold.status:
        case "open":
            return Decision(events=(HoldKept(at=ctx.now, order=command.order),))
        case "confirmed":
            return Decision(answers=(Send("order", command.order, HoldConfirmed(sku=ctx.id)),))
        case _:
            return Decision(answers=(Send("order", command.order, HoldLost(sku=ctx.id)),))


def _available(state: InventoryState | None, location: str) -> int:
    level = _level(state, location)
    return level.on_hand - level.held


def _held(command: ReserveStock | ConfirmHold, expires_at: datetime | None, ctx: Context) -> Decision:
    event = StockHeld(
        at=ctx.now,
        order=command.order,
        quantity=command.quantity,
        expires_at=expires_at,
        location=command.location,
    )
    return Decision(events=(event,))


def _release(state: InventoryState | None, command: ReleaseHold, ctx: Context) -> Decision:
    hold: Hold | None = ctx.parts.get(_hold(command.order))
    if hold is not None and hold.status == "released":
        return Decision()
    if hold is None:
        # Nothing was ever counted here: a marker would make a stock record that nobody asked for.
        if state is None:
            return Decision()
        hold = Hold(quantity=0, location=command.location, status="released")
    return Decision(
        events=(HoldReleased(at=ctx.now, order=command.order, quantity=hold.quantity, location=hold.location),)
    )


def _commit(command: CommitHold, ctx: Context) -> Decision:
    hold: Hold | None = ctx.parts.get(_hold(command.order))
    if hold is None or hold.status == "released":
        return Decision()
    return Decision(
        events=(HoldCommitted(at=ctx.now, order=command.order, quantity=hold.quantity, location=hold.location),)
    )


def _take_back(command: Restock, ctx: Context) -> Decision:
    if _restock(command.restock) in ctx.parts:
        return Decision()
    return Decision(
        events=(Restocked(at=ctx.now, restock=command.restock, quantity=command.quantity, location=command.location),)
    )


def _expire(state: InventoryState | None, ctx: Context) -> Decision:
    if state is None or state.next_due is None or state.next_due > ctx.now:
        return Decision()
    ending = [(name, hold, hold.expires_at) for name, hold in ctx.parts.items() if hold.expires_at is not None]
    due = [(name, hold) for name, hold, end in ending if end <= ctx.now]
    later = [end for _, _, end in ending if end > ctx.now]
    if ctx.next_due:
        later.append(ctx.next_due)
    event = HoldsExpired(
        at=ctx.now,
        holds=tuple(
            (name.removeprefix("hold:"), hold.location, hold.quantity) for name, hold in due if hold.status == "open"
        ),
        markers=tuple(name for name, hold in due if hold.status != "open"),
        next_due=min(later, default=None),
    )
    return Decision(events=(event,))
