"""What must hold of a shop at rest, whatever happened to its process: checked on the stored rows."""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

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

_AT_REST = """
select (select count(*) from outbox) as messages,
    (select count(*) from timer where due_at <= now()) as timers,
    (select count(*) from entity where kind = 'order'
        and state::jsonb ->> 'step' not in ('paid', 'rejected', 'cancelled')) as orders,
    (select count(*) from entity where kind = 'payment' and state::jsonb ? 'call') as calls,
    (select coalesce(sum(p.tail - o.seq), 0) from view_offset o join partition p using (kind, no)) as behind
"""
_SEQUENCES = """
select p.kind, p.no, p.tail, count(e.seq) as events, min(e.seq) as first, max(e.seq) as last,
    count(distinct e.seq) as distinct_seqs
from partition p left join event e using (kind, no) group by p.kind, p.no, p.tail
"""
_HISTORIES = """
select kind, id, no, seq, version, type, data, at, command, actor, hash from event order by kind, id, version
"""
_CAPTURES = """
select payment, sum(amount) filter (where operation = 'capture') as captured,
    count(*) filter (where operation = 'capture') as captures,
    count(*) filter (where operation = 'refund') as refunds, count(*) filter (where operation = 'void') as voids
from sandbox.call where outcome = 'ok' group by payment
"""


async def unfinished(rows: Any) -> dict[str, int]:
    """What still waits: messages, timers that are due, orders and calls under way, events that views have not seen."""
    return {name: int(value) for name, value in dict(await rows.fetchrow(_AT_REST)).items() if value}


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

    def apply(self, row: Mapping[str, Any]) -> None:
        """The next event."""
        actor, event = ACTORS[self.kind], CODECS[self.kind].event(row["data"])
        self.version += 1
        names = (self.kind, self.id, row["type"], row["command"], row["actor"])
        self.head = Chain.link(self.head, names, row["version"], row["at"], row["data"])
        if row["version"] != self.version:
            self.faults.append(f"{self.kind} {self.id}: version {row['version']} where {self.version} is due")
        if row["hash"] != self.head:
            self.faults.append(f"{self.kind} {self.id}: the hash of version {self.version} does not verify")
        if row["no"] != partition_of(self.kind, self.id):
            self.faults.append(f"{self.kind} {self.id}: version {self.version} stands in partition {row['no']}")
        for name, part in actor.evolve_parts(event, self.values).items():
            if part.value is None:
                self.parts.pop(name, None)
                self.values.pop(name, None)
            else:
                self.parts[name] = part
                self.values[name] = part.value
        self.state = actor.evolve(self.state, event)


async def _replays(rows: Any) -> AsyncIterator[Replayed]:
    """Every entity of the log."""
    current: Replayed | None = None
    for row in await rows.fetch(_HISTORIES):
        if current is None or (current.kind, current.id) != (row["kind"], row["id"]):
            if current is not None:
                yield current
            current = Replayed(row["kind"], row["id"])
        current.apply(row)
    if current is not None:
        yield current


async def log_faults(rows: Any) -> list[str]:
    """Where the log has a gap, a hash does not verify, or a replay is not what is stored."""
    faults = [
        f"{row['kind']}.{row['no']}: {dict(row)}"
        for row in await rows.fetch(_SEQUENCES)
        if not row["tail"] == row["events"] == row["distinct_seqs"] == (row["last"] or 0)
        or (row["tail"] and row["first"] != 1)
    ]
    entities = {(row["kind"], row["id"]): row for row in await rows.fetch("select * from entity")}
    timers = {(row["kind"], row["id"]): row["due_at"] for row in await rows.fetch("select * from timer")}
    parts: dict[tuple[str, str], dict[str, Any]] = {}
    for row in await rows.fetch("select * from entity_part"):
        parts.setdefault((row["kind"], row["id"]), {})[row["part"]] = row
    async for replayed in _replays(rows):
        key = (replayed.kind, replayed.id)
        faults += replayed.faults
        faults += _differences(replayed, entities.pop(key, None), parts.pop(key, {}), timers.pop(key, None))
    faults += [f"{key}: a row without events" for key in (*entities, *parts, *timers)]
    return faults


def _differences(replayed: Replayed, entity: Any, parts: Mapping[str, Any], timer: Any) -> Iterable[str]:
    """How the stored rows of an entity differ from the replay of its events."""
    name, codec = f"{replayed.kind} {replayed.id}", CODECS[replayed.kind]
    if entity is None:
        yield f"{name}: events without a row"
        return
    if (entity["version"], entity["head"]) != (replayed.version, replayed.head):
        yield f"{name}: the row has version {entity['version']} or another head, the log {replayed.version}"
    if codec.state(entity["state"]) != replayed.state:
        yield f"{name}: stored {entity['state']}, replayed {msgspec.json.encode(replayed.state).decode()}"
    if timer != ACTORS[replayed.kind].wake_at(replayed.state):
        yield f"{name}: the timer is at {timer}, the replay wants {ACTORS[replayed.kind].wake_at(replayed.state)}"
    stored = {part: (value, parts[part]["due_at"]) for part, value in codec.parts(_texts(parts)).items()}
    wanted = {part: (found.value, found.due_at) for part, found in replayed.parts.items()}
    if stored != wanted:
        yield f"{name}: stored parts {stored}, replayed {wanted}"


def _texts(parts: Mapping[str, Any]) -> dict[str, str]:
    return {name: row["value"] for name, row in parts.items()}


async def _states(rows: Any, kind: str) -> dict[str, Any]:
    found = await rows.fetch("select id, state from entity where kind = $1", kind)
    return {row["id"]: CODECS[kind].state(row["state"]) for row in found}


async def stock_faults(rows: Any, received: Mapping[str, int]) -> list[str]:
    """Where pieces were lost, made up, oversold or are still held, given how many of each SKU were received."""
    faults: list[str] = []
    sold: dict[str, int] = {}
    orders: dict[str, OrderState] = await _states(rows, "order")
    for order in orders.values():
        if order.step == "paid":
            for sku, pieces in order.stock().items():
                sold[sku] = sold.get(sku, 0) + pieces
    stock: dict[str, InventoryState] = await _states(rows, "inventory")
    for sku, pieces in received.items():
        on_hand = sum(level.on_hand for level in stock[sku].levels.values())
        held = sum(level.held for level in stock[sku].levels.values())
        if on_hand + sold.get(sku, 0) != pieces or on_hand < 0 or held != 0:
            faults.append(f"{sku}: {pieces} received, {sold.get(sku, 0)} sold, {on_hand} on hand, {held} held")
    holds = await rows.fetch("select id, part, value from entity_part where part like 'hold:%'")
    faults += [f"{row['id']}: left behind {row['part']} {row['value']}" for row in holds if _holds(row["value"])]
    return faults


def _holds(value: str) -> bool:
    return msgspec.json.decode(value)["status"] in ("open", "confirmed")


async def payment_faults(rows: Any) -> list[str]:
    """Where a buyer was charged twice, charged for nothing, or not charged, by the gateway's own books."""
    faults: list[str] = []
    orders: dict[str, OrderState] = await _states(rows, "order")
    payments: dict[str, PaymentState] = await _states(rows, "payment")
    books = {row["payment"]: row for row in await rows.fetch("select * from sandbox.payment")}
    calls = {row["payment"]: row for row in await rows.fetch(_CAPTURES)}
    of_orders = {order.payment: id for id, order in orders.items() if order.payment}
    faults += [f"payment {id}: no order knows it" for id in {*books, *payments} - of_orders.keys()]
    for id, order in orders.items():
        book, call = books.get(order.payment), calls.get(order.payment)
        status, total = order.payment_status(), order.total.amount if order.total else 0
        captured = book["captured"] if book else 0
        refunded = book["refunded"] if book else 0
        name = f"order {id} ({order.method}, {order.step}, {status})"
        if call is not None and max(call["captures"], call["refunds"], call["voids"]) > 1:
            faults.append(f"{name}: {dict(call)}")
        if captured != (total if status in ("paid", "refunded") else 0):
            faults.append(f"{name}: {captured} captured of {total}")
        if refunded != (total if status == "refunded" else 0):
            faults.append(f"{name}: {refunded} refunded of {total}")
        if (status == "paid") != (order.step == "paid"):
            faults.append(f"{name}: step and payment disagree")
        if status == "none" and book and book["state"] not in ("refused", "voided"):
            faults.append(f"{name}: the gateway still holds {dict(book)}")
        if status == "authorised":
            faults.append(f"{name}: neither captured nor given back")
    return faults


async def order_faults(rows: Any) -> list[str]:
    """Where a cart version has two orders, a cart is frozen for ever, or a view shows another status than the order."""
    orders: dict[str, OrderState] = await _states(rows, "order")
    carts = await _states(rows, "cart")
    versions = [(order.cart, order.cart_version) for order in orders.values()]
    faults = [f"cart {pair}: two orders" for pair in set(versions) if versions.count(pair) > 1]
    faults += [f"cart {id}: still frozen by {cart.order}" for id, cart in carts.items() if cart.frozen_until]
    cards = {row["id"]: row for row in await rows.fetch("select * from order_card")}
    levels = {row["sku"]: row["available"] for row in await rows.fetch("select * from stock_level")}
    for id, order in orders.items():
        card = cards.get(id)
        if card is None or (card["status"], card["payment_status"]) != (order.status(), order.payment_status()):
            faults.append(f"order {id}: the list shows {dict(card) if card else None}")
    for sku, state in (await _states(rows, "inventory")).items():
        available = sum(level.on_hand - level.held for level in state.levels.values())
        if levels.get(sku) != max(0, available):
            faults.append(f"{sku}: the list shows {levels.get(sku)}, there are {available}")
    return faults


async def faults(rows: Any, received: Mapping[str, int]) -> list[str]:
    """Everything that is wrong with a shop at rest; empty where all is well."""
    parked = await rows.fetch("select message, reason from parked")
    skipped = await rows.fetch("select * from view_parked")
    return [
        *(f"parked {row['message']}: {row['reason']}" for row in parked),
        *(f"a view skipped {dict(row)}" for row in skipped),
        *await log_faults(rows),
        *await stock_faults(rows, received),
        *await payment_faults(rows),
        *await order_faults(rows),
    ]
