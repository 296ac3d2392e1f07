"""`ultramarket status`."""

import asyncpg
import msgspec

from ultramarket.adapters.postgres_lock import KEY
from ultramarket.cli.database import load_settings, with_database
from ultramarket.cli.options import DataDir, Json
from ultramarket.cli.printing import age, say, say_json, say_table

_KINDS = """
select coalesce(p.kind, e.kind) as kind, coalesce(p.partitions, 0) as partitions, coalesce(p.events, 0) as events,
    coalesce(e.entities, 0) as entities
from (select kind, count(*) as partitions, sum(tail)::bigint as events from partition group by kind) p
full join (select kind, count(*) as entities from entity group by kind) e on e.kind = p.kind
order by 1
"""
_WAITING = """
select (select count(*) from outbox) as messages,
    (select extract(epoch from now() - min(at))::float8 from outbox) as oldest_seconds,
    (select count(*) from timer) as timers,
    (select count(*) from timer where due_at <= now()) as timers_due,
    (select count(*) from parked) as parked
"""
_VIEWS = """
select o.view, sum(o.seq)::bigint as offset, sum(greatest(coalesce(p.tail, 0) - o.seq, 0))::bigint as behind,
    (select count(*) from view_parked v where v.view = o.view) as parked
from view_offset o left join partition p on p.kind = o.kind and p.no = o.no
group by o.view order by o.view
"""
_OWNER = """
select a.application_name as name, a.backend_start as since
from pg_locks l join pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.granted and (l.classid::bigint << 32 | l.objid::bigint) = $1
    and l.database = (select oid from pg_database where datname = current_database())
"""


class Kind(msgspec.Struct, frozen=True):
    """What there is of a kind: partitions that were taken once, events in their logs, entities."""

    kind: str
    partitions: int
    events: int
    entities: int


class ViewStatus(msgspec.Struct, frozen=True):
    """A view: events that it has read, events that wait for it, events that it could not take."""

    view: str
    offset: int
    behind: int
    parked: int


class Waiting(msgspec.Struct, frozen=True):
    """What waits: messages in the outbox, the age of the oldest in seconds, timers, those that are due, parked ones."""

    messages: int
    oldest_seconds: float | None
    timers: int
    timers_due: int
    parked: int


class Status(msgspec.Struct, frozen=True):
    """How the shop's database stands; `owner` is the process that runs on it, None when none does."""

    server: str
    owner: str | None
    kinds: list[Kind]
    waiting: Waiting
    views: list[ViewStatus]


async def read(connection: "asyncpg.Connection[asyncpg.Record]") -> Status:
    """The status, all of it of one moment."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        owner = await connection.fetchrow(_OWNER, KEY)
        waiting = await connection.fetchrow(_WAITING)
        assert waiting is not None  # noqa: S101 - it has no `where`
        return Status(
            server=str(await connection.fetchval("show server_version")),
            owner=None
            if owner is None
            else f"{owner['name'].removeprefix('ultramarket owner ')} since {owner['since']:%F %T} UTC",
            kinds=[Kind(**dict(row)) for row in await connection.fetch(_KINDS)],
            waiting=Waiting(**dict(waiting)),
            views=[ViewStatus(**dict(row)) for row in await connection.fetch(_VIEWS)],
        )


def status(data_dir: DataDir = None, *, json: Json = False) -> None:
    """Show what the shop holds and what waits in it, read from its database; the platform may run or not.

    For example:

      ultramarket status

      ultramarket status --json | jq .waiting
    """
    found = with_database(load_settings(data_dir), read)
    if json:
        say_json(found)
        return
    say(f"Runs       {found.owner or 'no'}")
    say(f"Database   PostgreSQL {found.server}")
    waiting = found.waiting
    oldest = "" if waiting.oldest_seconds is None else f", the oldest for {age(waiting.oldest_seconds)}"
    say(f"Outbox     {waiting.messages:,} messages{oldest}")
    say(f"Timers     {waiting.timers:,}, {waiting.timers_due:,} of them due")
    say(f"Parked     {waiting.parked:,}\n")
    say_table(
        ("Kind", "Entities", "Events", "Partitions"),
        [(k.kind, k.entities, k.events, k.partitions) for k in found.kinds],
    )
    say("")
    say_table(
        ("View", "Events read", "Behind", "Parked"), [(v.view, v.offset, v.behind, v.parked) for v in found.views]
    )
