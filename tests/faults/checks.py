"""What must hold of a shop at rest, whatever happened to its processes: pure checks of what its stores hold."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from actors.inventory import InventoryState
from actors.order_state import OrderState
from actors.payment_state import PaymentState
from ultramarket.bootstrap import cast
from ultramarket.runtime.actor import Actor, Part
from ultramarket.runtime.codec import Chain, KindCodec
from ultramarket.runtime.partitioning import partition_of
from ultramarket.settings import Settings

_NOBODY: Any = None
ACTORS: dict[str, Actor[Any, Any, Any]] = {
    part.kind: part for part in cast(_NOBODY, Settings.load().shop, {}, _NOBODY, "en") if isinstance(part, Actor)
}
CODECS = {kind: KindCodec(actor) for kind, actor in ACTORS.items()}

Key = tuple[str, str]
"""(kind, id) of an entity."""


class LoggedEvent(NamedTuple):
    """An event as it stands in the log of its partition."""

    kind: str
    id: str
    no: int
    seq: int
    version: int
    type: str
    data: str
    at: datetime
    command: str
    actor: str
    hash: bytes


class EntityRow(NamedTuple):
    """An entity as it is stored."""

    version: int
    head: bytes
    state: str


class Book(NamedTuple):
    """A payment in the gateway's own books; amounts in minor units."""

    state: str
    captured: int
    refunded: int


class Effects(NamedTuple):
    """How many calls of a payment took effect at the gateway, each under a key of its own."""

    captures: int
    refunds: int
    voids: int


@dataclass
class Snapshot:
    """All rows of a shop at rest.

    Attributes:
        tails: by partition (kind, no).
        events: in the order of kind, id and version.
        parts: (value, due_at) by name, by entity.
        parked: the reasons of the parked messages, by message.
        skipped: what a view could not take.
        order_cards: (status, payment_status) in the list of orders; None where there is no such view.
        stock_levels: available pieces by SKU in the list of products; None where there is no such view.
    """

    tails: dict[tuple[str, int], int] = field(default_factory=dict)
    events: list[LoggedEvent] = field(default_factory=list)
    entities: dict[Key, EntityRow] = field(default_factory=dict)
    timers: dict[Key, datetime] = field(default_factory=dict)
    parts: dict[Key, dict[str, tuple[str, datetime | None]]] = field(default_factory=dict)
    parked: dict[str, str] = field(default_factory=dict)
    books: dict[str, Book] = field(default_factory=dict)
    effects: dict[str, Effects] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    order_cards: dict[str, tuple[str, str]] | None = None
    stock_levels: dict[str, int] | None = None

    def states(self, kind: str) -> dict[str, Any]:
        """The states of all entities of a kind, by id."""
        return {id: CODECS[kind].state(row.state) for (found, id), row in self.entities.items() if found == kind}


@dataclass
class Replayed:
    """An entity as its events alone make it."""

    kind: str
    id: str
    state: Any = None
    version: int = 0
    head: bytes = Chain.START
    values: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def apply(self, row: LoggedEvent) -> None:
        """The next event."""
        actor, event = ACTORS[self.kind], CODECS[self.kind].event(row.data)
        self.version += 1
        self.head = Chain.link(
            self.head, (self.kind, self.id, row.type, row.command, row.actor), row.version, row.at, row.data
        )
        if row.version != self.version:
            self.faults.append(f"{self.kind} {self.id}: version {row.version} where {self.version} is due")
        if row.hash != self.head:
            self.faults.append(f"{self.kind} {self.id}: the hash of version {self.version} does not verify")
        if row.no != partition_of(self.kind, self.id):
            self.faults.append(f"{self.kind} {self.id}: version {self.version} stands in partition {row.no}")
        for name, part in actor.evolve_parts(event, self.values).items():
            if part.value is None:
                self.parts.pop(name, None)
                self.values.pop(name, None)
            else:
                self.parts[name] = part
                self.values[name] = part.value
        self.state = actor.evolve(self.state, event)


def log_faults(shop: Snapshot) -> list[str]:
    """Where the log has a gap, a hash does not verify, or a replay is not what is stored."""
    seqs: dict[tuple[str, int], list[int]] = {}
    for event in shop.events:
        seqs.setdefault((event.kind, event.no), []).append(event.seq)
    found = [
        f"{kind}.{no}: ends at {tail}, but has {sorted(seqs.get((kind, no), []))}"
        for (kind, no), tail in shop.tails.items()
        if sorted(seqs.get((kind, no), [])) != list(range(1, tail + 1))
    ]
    left = set(shop.entities) | set(shop.parts) | set(shop.timers)
    for (kind, id), events in groupby(shop.events, key=lambda event: (event.kind, event.id)):
        replayed = Replayed(kind, id)
        for event in events:
            replayed.apply(event)
        found += replayed.faults
        found += _differences(shop, replayed)
        left.discard((kind, id))
    return found + [f"{key}: a row without events" for key in sorted(left)]


def _differences(shop: Snapshot, replayed: Replayed) -> Iterator[str]:
    """How the stored rows of an entity differ from the replay of its events."""
    key = (replayed.kind, replayed.id)
    name, codec = f"{replayed.kind} {replayed.id}", CODECS[replayed.kind]
    entity = shop.entities.get(key)
    if entity is None:
        yield f"{name}: events without a row"
        return
    if (entity.version, entity.head) != (replayed.version, replayed.head):
        yield f"{name}: the row has version {entity.version} or another head, the log {replayed.version}"
    if codec.state(entity.state) != replayed.state:
        yield f"{name}: stored {entity.state}, replayed {msgspec.json.encode(replayed.state).decode()}"
    timer, due = shop.timers.get(key), ACTORS[replayed.kind].wake_at(replayed.state)
    if timer != due:
        yield f"{name}: the timer is at {timer}, the replay wants {due}"
    rows = shop.parts.get(key, {})
    values = codec.parts({part: value for part, (value, _) in rows.items()})
    stored = {part: (value, rows[part][1]) for part, value in values.items()}
    wanted = {part: (found.value, found.due_at) for part, found in replayed.parts.items()}
    if stored != wanted:
        yield f"{name}: stored parts {stored}, replayed {wanted}"


def stock_faults(shop: Snapshot, received: Mapping[str, int]) -> list[str]:
    """Where pieces were lost, made up, oversold or are still held, given how many of each SKU were received."""
    found: list[str] = []
    sold: dict[str, int] = {}
    orders: dict[str, OrderState] = shop.states("order")
    for order in orders.values():
        if order.step == "paid":
            for sku, pieces in order.stock().items():
                sold[sku] = sold.get(sku, 0) + pieces
    stock: dict[str, InventoryState] = shop.states("inventory")
    for sku, pieces in received.items():
        levels = stock[sku].levels.values() if sku in stock else ()
        on_hand, held = sum(level.on_hand for level in levels), sum(level.held for level in levels)
        if on_hand + sold.get(sku, 0) != pieces or on_hand < 0 or held != 0:
            found.append(f"{sku}: {pieces} received, {sold.get(sku, 0)} sold, {on_hand} on hand, {held} held")
    return found + [
        f"{id}: left behind {name} {value}"
        for (_, id), parts in shop.parts.items()
        for name, (value, _) in parts.items()
        if name.startswith("hold:") and msgspec.json.decode(value)["status"] in ("open", "confirmed")
    ]


def payment_faults(shop: Snapshot) -> list[str]:
    """Where a buyer was charged twice, charged for nothing, or not charged, by the gateway's own books."""
    found: list[str] = []
    orders: dict[str, OrderState] = shop.states("order")
    payments: dict[str, PaymentState] = shop.states("payment")
    known = {order.payment for order in orders.values()}
    found += [f"payment {id}: no order knows it" for id in sorted({*shop.books, *payments} - known)]
    for id, order in orders.items():
        found += _charge_faults(f"order {id}", order, shop.books.get(order.payment), shop.effects.get(order.payment))
    return found


def _charge_faults(name: str, order: OrderState, book: Book | None, effects: Effects | None) -> Iterator[str]:
    status, total = order.payment_status(), order.total.amount if order.total else 0
    captured, refunded = (book.captured, book.refunded) if book else (0, 0)
    name = f"{name} ({order.method}, {order.step}, {status})"
    if effects is not None and max(effects) > 1:
        yield f"{name}: {effects._asdict()}"
    if captured != (total if status in ("paid", "refunded") else 0):
        yield f"{name}: {captured} captured of {total}"
    if refunded != (total if status == "refunded" else 0):
        yield f"{name}: {refunded} refunded of {total}"
    if (status == "paid") != (order.step == "paid"):
        yield f"{name}: step and payment disagree"
    if status == "none" and book and book.state not in ("refused", "voided"):
        yield f"{name}: the gateway still holds {book._asdict()}"
    if status == "authorised":
        yield f"{name}: neither captured nor given back"


def order_faults(shop: Snapshot) -> list[str]:
    """Where a cart version has two orders or a cart is frozen for ever."""
    orders: dict[str, OrderState] = shop.states("order")
    versions = [(order.cart, order.cart_version) for order in orders.values()]
    found = [f"cart {pair}: two orders" for pair in sorted(set(versions)) if versions.count(pair) > 1]
    return found + [
        f"cart {id}: still frozen by {cart.order}" for id, cart in shop.states("cart").items() if cart.frozen_until
    ]


def view_faults(shop: Snapshot) -> Iterable[str]:
    """Where a view shows something else than the entity."""
    yield from (f"a view skipped {skipped}" for skipped in shop.skipped)
    if shop.order_cards is not None:
        for id, order in shop.states("order").items():
            card = shop.order_cards.get(id)
            if card != (order.status(), order.payment_status()):
                yield f"order {id}: the list shows {card}"
    if shop.stock_levels is not None:
        for sku, state in shop.states("inventory").items():
            available = sum(level.on_hand - level.held for level in state.levels.values())
            if shop.stock_levels.get(sku) != max(0, available):
                yield f"{sku}: the list shows {shop.stock_levels.get(sku)}, there are {available}"


def shop_faults(shop: Snapshot, received: Mapping[str, int]) -> list[str]:
    """Everything that is wrong with a shop at rest; empty where all is well.

    Args:
        shop: what its stores hold.
        received: how many pieces of each SKU its staff were told to have received.
    """
    return [
        *(f"parked {message}: {reason}" for message, reason in shop.parked.items()),
        *log_faults(shop),
        *stock_faults(shop, received),
        *payment_faults(shop),
        *order_faults(shop),
        *view_faults(shop),
    ]
