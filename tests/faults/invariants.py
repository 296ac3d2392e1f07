"""The checks of `tests.faults.checks` on the rows of a PostgreSQL, and whether a shop has come to rest."""

from collections.abc import Mapping
from typing import Any

from tests.faults import checks
from tests.faults.checks import Book, Effects, EntityRow, LoggedEvent, Snapshot

_AT_REST = """
select (select count(*) from outbox) as messages,
    (select count(*) from timer where due_at <= now()) as timers,
    (select count(*) from entity where kind = 'order'
        and state::jsonb ->> 'step' not in ('paid', 'rejected', 'cancelled')) as orders,
    (select count(*) from entity where kind = 'payment' and state::jsonb ? 'call') as calls,
    (select coalesce(sum(p.tail - o.seq), 0) from view_offset o join partition p using (kind, no)) as behind
"""
_HISTORIES = """
select kind, id, no, seq, version, type, data, at, command, actor, hash from event order by kind, id, version
"""
_EFFECTS = """
select payment, count(*) filter (where operation = 'capture') as captures,
    count(*) filter (where operation = 'refund') as refunds, count(*) filter (where operation = 'void') as voids
from sandbox.call where outcome = 'ok' group by payment
"""


async def unfinished(rows: Any) -> dict[str, int]:
    """What still waits: messages, timers that are due, orders and calls under way, events that views have not seen."""
    return {name: int(value) for name, value in dict(await rows.fetchrow(_AT_REST)).items() if value}


async def snapshot(rows: Any) -> Snapshot:
    """All rows of a database."""
    shop = Snapshot(
        tails={(row["kind"], row["no"]): row["tail"] for row in await rows.fetch("select * from partition")},
        events=[LoggedEvent(**row) for row in await rows.fetch(_HISTORIES)],
        timers={(row["kind"], row["id"]): row["due_at"] for row in await rows.fetch("select * from timer")},
        parked={row["message"]: row["reason"] for row in await rows.fetch("select message, reason from parked")},
        skipped=[str(dict(row)) for row in await rows.fetch("select * from view_parked")],
    )
    for row in await rows.fetch("select * from entity"):
        shop.entities[row["kind"], row["id"]] = EntityRow(row["version"], row["head"], row["state"])
    for row in await rows.fetch("select * from entity_part"):
        shop.parts.setdefault((row["kind"], row["id"]), {})[row["part"]] = (row["value"], row["due_at"])
    for row in await rows.fetch("select * from sandbox.payment"):
        shop.books[row["payment"]] = Book(row["state"], row["captured"], row["refunded"])
    for row in await rows.fetch(_EFFECTS):
        shop.effects[row["payment"]] = Effects(row["captures"], row["refunds"], row["voids"])
    cards = await rows.fetch("select * from order_card")
    shop.order_cards = {row["id"]: (row["status"], row["payment_status"]) for row in cards}
    levels = await rows.fetch("select * from stock_level")
    shop.stock_levels = {row["sku"]: row["available"] for row in levels}
    return shop


async def log_faults(rows: Any) -> list[str]:
    """Where the log has a gap, a hash does not verify, or a replay is not what is stored."""
    return checks.log_faults(await snapshot(rows))


async def faults(rows: Any, received: Mapping[str, int]) -> list[str]:
    """Everything that is wrong with a shop at rest; empty where all is well."""
    return checks.shop_faults(await snapshot(rows), received)
