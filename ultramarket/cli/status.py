"""`ultramarket status`."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import asyncpg
import msgspec
import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from ultramarket.adapters.postgres_lock import KEY
from ultramarket.cli.database import load_settings, with_database
from ultramarket.cli.members import GONE, Member, members_table, read_members, with_rates
from ultramarket.cli.options import DataDir, Json
from ultramarket.cli.printing import age, out, print_table, say, say_json, say_table
from ultramarket.settings import Settings

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
    max(case when p.tail > o.seq then extract(epoch from now() - (
        select min(e.at) from event e where e.kind = o.kind and e.no = o.no and e.seq = o.seq + 1
    )) end)::float8 as behind_seconds,
    (select count(*) from view_parked v where v.view = o.view) as parked
from view_offset o left join partition p on p.kind = o.kind and p.no = o.no
group by o.view order by o.view
"""
_OWNER = """
select a.application_name as name, a.backend_start as since
from pg_locks l join pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.granted and l.mode = 'ExclusiveLock'
    and (l.classid::bigint << 32 | l.objid::bigint) = $1
    and l.database = (select oid from pg_database where datname = current_database())
"""

WATCH_SECONDS = 1.0


class Kind(msgspec.Struct, frozen=True):
    """What there is of a kind: partitions that were taken once, events in their logs, entities."""

    kind: str
    partitions: int
    events: int
    entities: int


class ViewStatus(msgspec.Struct, frozen=True):
    """A view: events that it has read, events that wait for it, the age of the oldest of them, events not taken."""

    view: str
    offset: int
    behind: int
    behind_seconds: float | None
    parked: int


class Waiting(msgspec.Struct, frozen=True):
    """What waits: messages in the outbox, the age of the oldest in seconds, timers, those that are due, parked ones."""

    messages: int
    oldest_seconds: float | None
    timers: int
    timers_due: int
    parked: int


class Pulse(msgspec.Struct, frozen=True):
    """How the shop is at the moment.

    Attributes:
        owner: the process that runs on the database alone, None when none does.
        members: the processes that share it.
    """

    owner: str | None
    members: list[Member]
    waiting: Waiting


class Status(msgspec.Struct, frozen=True):
    """How the shop's database stands; `owner` and `members` as in the pulse."""

    server: str
    owner: str | None
    members: list[Member]
    kinds: list[Kind]
    waiting: Waiting
    views: list[ViewStatus]


async def read(connection: "asyncpg.Connection[asyncpg.Record]") -> Status:
    """The status, all of it of one moment."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        pulse = await _read_pulse(connection)
        return Status(
            server=str(await connection.fetchval("show server_version")),
            owner=pulse.owner,
            members=pulse.members,
            kinds=[Kind(**dict(row)) for row in await connection.fetch(_KINDS)],
            waiting=pulse.waiting,
            views=[ViewStatus(**dict(row)) for row in await connection.fetch(_VIEWS)],
        )


async def _read_pulse(connection: "asyncpg.Connection[asyncpg.Record]") -> Pulse:
    owner = await connection.fetchrow(_OWNER, KEY)
    waiting = await connection.fetchrow(_WAITING)
    assert waiting is not None  # noqa: S101 - it has no `where`
    return Pulse(
        owner=None
        if owner is None
        else f"{owner['name'].removeprefix('ultramarket owner ')} since {owner['since']:%F %T} UTC",
        members=await read_members(connection),
        waiting=Waiting(**dict(waiting)),
    )


def status(
    data_dir: DataDir = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Show the processes anew every second, until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """Show what the shop holds and what waits in it, read from its database; the platform may run or not.

    For example:

      ultramarket status

      ultramarket status --watch

      ultramarket status --json | jq .waiting
    """
    settings = load_settings(data_dir)
    if watch:
        _watch(settings, json=json)
        return
    found = with_database(settings, read)
    if json:
        say_json(found)
        return
    say(f"Runs       {_runs(found)}")
    say(f"Database   PostgreSQL {found.server}")
    waiting = found.waiting
    say(f"Outbox     {_outbox(waiting)}")
    say(f"Timers     {waiting.timers:,}, {waiting.timers_due:,} of them due")
    say(f"Parked     {waiting.parked:,}\n")
    if found.members:
        print_table(members_table(found.members))
        say("")
    say_table(
        ("Kind", "Entities", "Events", "Partitions"),
        [(k.kind, k.entities, k.events, k.partitions) for k in found.kinds],
    )
    say("")
    say_table(
        ("View", "Events read", "Behind", "Since", "Parked"),
        [
            (v.view, v.offset, v.behind, "" if v.behind_seconds is None else age(v.behind_seconds), v.parked)
            for v in found.views
        ],
    )


def _runs(found: Pulse | Status) -> str:
    alive = sum(member.state != GONE for member in found.members)
    if alive:
        return "1 process" if alive == 1 else f"{alive} processes"
    return found.owner or "no"


def _outbox(waiting: Waiting) -> str:
    oldest = "" if waiting.oldest_seconds is None else f", the oldest for {age(waiting.oldest_seconds)}"
    return f"{waiting.messages:,} messages{oldest}"


def _watch(settings: Settings, *, json: bool) -> None:
    """Show the pulse every second until interrupted: in place on a terminal, one after the other elsewhere."""
    console = out()
    try:
        if json or not console.is_terminal:
            with_database(settings, lambda connection: _repeat(connection, say_json if json else _say_pulse))
            return
        with Live(console=console, auto_refresh=False, screen=True) as live:

            def renew(pulse: Pulse) -> None:
                live.update(_pulse(pulse), refresh=True)

            with_database(settings, lambda connection: _repeat(connection, renew))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


async def _repeat(connection: "asyncpg.Connection[asyncpg.Record]", show: Callable[[Pulse], None]) -> None:
    before: dict[str, Member] = {}
    while True:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            found = await _read_pulse(connection)
        show(msgspec.structs.replace(found, members=with_rates(found.members, before)))
        before = {member.name: member for member in found.members}
        await asyncio.sleep(WATCH_SECONDS)


def _pulse(found: Pulse) -> Group:
    waiting = found.waiting
    head = (
        f"{datetime.now(UTC):%T} UTC · {_runs(found)} · outbox {_outbox(waiting)} · "
        f"timers due {waiting.timers_due:,} · parked {waiting.parked:,}"
    )
    return Group(Text(head), *((Text(""), members_table(found.members)) if found.members else ()))


def _say_pulse(found: Pulse) -> None:
    print_table(_pulse(found))
