"""The checks of `ultramarket doctor`, each a finding with what to do about it."""

import shutil
import stat
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import asyncpg
import msgspec

from ultramarket.adapters.migrations import FOLDER, check_server, read_folder, refuse_transaction_pooler
from ultramarket.adapters.postgres_upkeep import PARTITIONS_KEPT, check_partitions
from ultramarket.adapters.rabbitmq_topology import MAX_LENGTH, too_old
from ultramarket.cli import status
from ultramarket.cli.members import GONE
from ultramarket.errors import UltraMarketError
from ultramarket.messages.partitions import FEWER
from ultramarket.runtime.partitioning import PARTITIONS

if TYPE_CHECKING:
    from ultramarket.adapters.rabbitmq import BrokerReport

State = Literal["ok", "warning", "failed"]

SECRETS = ("staff.key", "master.key", "postgres.password")
_LITTLE_BYTES, _TOO_LITTLE_BYTES = 2 << 30, 256 << 20
_OLD_SECONDS = 60.0
_BEHIND = 10_000
_FULL = 0.8

_AHEAD = """
select to_regclass('event_' || to_char(today + interval '1 month', 'YYYY_MM')) is not null as log,
    to_regclass('reply_' || to_char(today + interval '2 days', 'YYYY_MM_DD')) is not null as replies
from (select now() at time zone 'UTC' as today) clock
"""
_ROOM = """
select coalesce(sum(setting::int) filter (where name = 'max_connections'), 0)
    - coalesce(sum(setting::int) filter (where name <> 'max_connections'), 0) as room,
    (
        select count(*) from pg_stat_activity
        where backend_type = 'client backend' and datname is distinct from current_database()
    ) as others
from pg_settings where name in ('max_connections', 'superuser_reserved_connections', 'reserved_connections')
"""
_DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


class Finding(msgspec.Struct, frozen=True):
    """What a check found: how it stands and, where it is not well, what to do."""

    check: str
    state: State
    detail: str


async def of_database(
    connection: "asyncpg.Connection[asyncpg.Record]", dsn: str, connections_a_process: int
) -> list[Finding]:
    """Every check that asks the database; one that can't be made is a failed one."""
    checks: tuple[tuple[str, Callable[[], Awaitable[Finding]]], ...] = (
        ("server", lambda: _server(connection)),
        ("pooler", lambda: _pooler(dsn)),
        ("durability", lambda: _durability(connection)),
        ("connections", lambda: _connections(connection, connections_a_process)),
        ("migrations", lambda: _migrations(connection)),
        ("partitions", lambda: _partitions(connection)),
        ("log ahead", lambda: _ahead(connection)),
        ("messages", lambda: _messages(connection)),
        ("views", lambda: _views(connection)),
    )
    findings = []
    for name, check in checks:
        try:
            findings.append(await check())
        except UltraMarketError as error:
            findings.append(Finding(name, "failed", str(error)))
        except asyncpg.UndefinedTableError:
            findings.append(Finding(name, "failed", "The tables are missing: run `ultramarket migrate`."))
    return findings


async def _server(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    await check_server(connection)
    version = await connection.fetchval("show server_version")
    return Finding("server", "ok", f"PostgreSQL {version}, UTF8, no standby.")


async def _pooler(dsn: str) -> Finding:
    await refuse_transaction_pooler(dsn)
    return Finding("pooler", "ok", "Sessions keep their locks.")


async def _durability(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    """An answered write has to survive a power cut."""
    off = [name for name in _DURABLE if await connection.fetchval(f"show {name}") == "off"]
    if off:
        return Finding(
            "durability",
            "failed",
            f"The server has {' and '.join(off)} off: what a client was told is done may be lost. Turn it on.",
        )
    return Finding("durability", "ok", "A commit is on disk before it is answered.")


async def _connections(connection: "asyncpg.Connection[asyncpg.Record]", a_process: int) -> Finding:
    """Room on the server for the processes that run and one more, which a roll starts before it stops another."""
    (row,) = await connection.fetch(_ROOM)
    running = sum(member.state != GONE for member in (await status.read(connection)).members)
    room = (row["room"] - row["others"]) // a_process
    text = f"{row['room']:,}, of which other databases use {row['others']:,}; a process opens up to {a_process}"
    if room < running + 1:
        return Finding(
            "connections",
            "warning",
            f"{text}: enough for {room:,} processes, {running:,} run. "
            "Raise the server's max_connections or lower database_connections.",
        )
    return Finding("connections", "ok", f"{text}: enough for {room:,} processes.")


async def _migrations(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    rows = await connection.fetch("select name, checksum from migration order by number")
    ours = [(migration.name, migration.checksum) for migration in read_folder(FOLDER)]
    applied = [(row["name"], row["checksum"]) for row in rows]
    if applied == ours:
        return Finding("migrations", "ok", f"All {len(ours)} are applied.")
    if applied == ours[: len(applied)]:
        names = ", ".join(name for name, _ in ours[len(applied) :])
        return Finding("migrations", "failed", f"Not applied yet: {names}. Run `ultramarket migrate`.")
    if applied[: len(ours)] == ours:
        return Finding("migrations", "failed", "The database is of a newer version: start that one or a later one.")
    return Finding(
        "migrations", "failed", "What was applied is not what this version brings: bring the old files back."
    )


async def _partitions(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    check_partitions(await connection.fetchval(PARTITIONS_KEPT))
    return Finding("partitions", "ok", f"{PARTITIONS} a kind, fewer of {', '.join(sorted(FEWER))}.")


async def _ahead(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    row = await connection.fetchrow(_AHEAD)
    missing = [name for name in ("log", "replies") if row is not None and not row[name]]
    if missing:
        return Finding(
            "log ahead",
            "warning",
            f"Tables of the time to come are missing for the {' and the '.join(missing)}: "
            "a platform that runs makes them every hour, so start it before they are needed.",
        )
    return Finding("log ahead", "ok", "The tables of the next month and the next days are there.")


async def _messages(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    found = await status.read(connection)
    waiting = found.waiting
    if waiting.parked:
        return Finding("messages", "warning", f"{waiting.parked:,} are parked: see `ultramarket parked list`.")
    if found.owner is not None and (waiting.oldest_seconds or 0.0) > _OLD_SECONDS:
        return Finding(
            "messages",
            "warning",
            f"The oldest of {waiting.messages:,} waits for {waiting.oldest_seconds:.0f} s: see the platform's log.",
        )
    return Finding("messages", "ok", f"{waiting.messages:,} wait, none is parked.")


async def _views(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    found = await status.read(connection)
    parked = [view.view for view in found.views if view.parked]
    if parked:
        return Finding(
            "views", "warning", f"Events could not be shown in {', '.join(parked)}: see the table view_parked."
        )
    behind = [view.view for view in found.views if view.behind > _BEHIND]
    if behind and found.owner is not None:
        return Finding("views", "warning", f"Far behind the log: {', '.join(behind)}; see the platform's log.")
    return Finding("views", "ok", "They are in step with the log." if found.views else "There are none yet.")


async def of_broker(url: str, queues: Iterable[str]) -> list[Finding]:
    """The checks of the broker, or that it can't be reached."""
    from ultramarket.adapters.rabbitmq import RabbitMq  # noqa: PLC0415 - most shops have no broker, and it takes long

    try:
        found = await RabbitMq(url).examine(queues)
    except UltraMarketError as error:
        return [Finding("broker", "failed", str(error))]
    faults = " ".join(found.faults)
    state: State = "failed" if too_old(found.version) else "warning" if faults else "ok"
    return [Finding("broker", state, faults or f"RabbitMQ {found.version}."), _queues(found), _dead_letters(found)]


def _queues(found: "BrokerReport") -> Finding:
    if not found.depths:
        return Finding("queues", "ok", "There are none yet: the first process that starts makes them.")
    waiting = sum(depth.messages for depth in found.depths)
    fullest = max(found.depths, key=lambda depth: depth.messages)
    text = f"{waiting:,} messages wait in {len(found.depths)} queues"
    if fullest.messages >= MAX_LENGTH * _FULL:
        return Finding(
            "queues", "warning", f"{text}, {fullest.messages:,} in {fullest.queue}: a full one is answered 503."
        )
    alone = [depth.queue for depth in found.depths if depth.messages and not depth.consumers]
    if alone:
        return Finding("queues", "warning", f"{text}; nobody takes those in {', '.join(alone)}: is a process running?")
    if found.missing:
        return Finding("queues", "warning", f"{text}; missing: {', '.join(found.missing)}. The next start makes them.")
    return Finding("queues", "ok", f"{text}.")


def _dead_letters(found: "BrokerReport") -> Finding:
    if found.dead:
        return Finding(
            "dead letters",
            "warning",
            f"{found.dead:,} lie in um.dead: nobody could read or keep them. Messages among them still wait in the "
            "database; look why in the platform's log, then purge the queue.",
        )
    return Finding("dead letters", "ok", "There is none.")


def of_files(data_dir: Path) -> list[Finding]:
    """The checks of the data directory."""
    return [_disk(data_dir), _secrets(data_dir)]


def _disk(data_dir: Path) -> Finding:
    free = shutil.disk_usage(data_dir if data_dir.exists() else data_dir.absolute().anchor).free
    text = f"{free / (1 << 30):,.1f} GiB free in {data_dir.absolute()}"
    if free < _TOO_LITTLE_BYTES:
        return Finding("disk", "failed", f"{text}: make room now, or writes fail.")
    if free < _LITTLE_BYTES:
        return Finding("disk", "warning", f"{text}: make room soon.")
    return Finding("disk", "ok", f"{text}.")


def _secrets(data_dir: Path) -> Finding:
    there = [data_dir / name for name in SECRETS if (data_dir / name).exists()]
    open_ = [str(path) for path in there if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if open_:
        return Finding("secrets", "failed", f"Other users can read them: chmod 600 {' '.join(open_)}")
    return Finding("secrets", "ok", f"{', '.join(path.name for path in there) or 'none yet'}: for this user alone.")
