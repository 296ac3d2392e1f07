"""The checks of `tests.faults.checks` on the rows of a PostgreSQL, and whether a shop has come to rest."""

import asyncio
from collections.abc import Mapping
from typing import Any

from tests.faults import checks
from tests.faults.checks import Book, Effects, EntityRow, LoggedEvent, Snapshot

REST_SECONDS = 60.0
POLL_SECONDS = 0.1
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


async def at_rest(rows: Any, seconds: float = REST_SECONDS) -> Snapshot:
    """Wait until nothing is under way; all rows of that very moment, as a timer may be due in the next.

    Raises:
        AssertionError: it did not come to rest in that time; tells what still waits.
    """
    left: dict[str, int] = {}
    try:
        async with asyncio.timeout(seconds):
            while True:
                async with _one_moment(rows):
                    if not (left := await unfinished(rows)):
                        return await snapshot(rows)
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise AssertionError(f"after {seconds} s there are still {left}") from None


async def log_faults(rows: Any) -> list[str]:
    """Where the log has a gap, a hash does not verify, or a replay is not what is stored; at rest or not."""
    async with _one_moment(rows):
        return checks.log_faults(await snapshot(rows))


async def faults_at_rest(rows: Any, received: Mapping[str, int]) -> list[str]:
    """Everything that is wrong with a shop once it is at rest; empty where all is well."""
    return checks.shop_faults(await at_rest(rows), received)


def _one_moment(rows: Any) -> Any:
    return rows.transaction(isolation="repeatable_read", readonly=True)
