"""The journal on PostgreSQL: one connection, one statement a group of turns. Calls wait for each other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any

import asyncpg
import structlog

from ultramarket.ports.journal import (
    ANYBODY,
    DROP,
    LOOKED_AT,
    MANY,
    Anybody,
    ClaimTaken,
    CommitBusy,
    CommitRefused,
    EventRow,
    Fenced,
    JournalFailed,
    JournalFull,
    JournalLost,
    Lane,
    Loaded,
    Pending,
    Place,
    StoredEntity,
    TurnRows,
    Wanted,
)

_SQL = files("ultramarket.adapters") / "sql"
COMMIT = (_SQL / "commit.sql").read_text()
LOAD = (_SQL / "load.sql").read_text()
TAKE_FREE = (_SQL / "take_free.sql").read_text()
RELEASE = (_SQL / "release.sql").read_text()
ANSWER_SECONDS = 20.0
"""After this time without an answer the server has gone silently: it ends statements itself well before."""
DUE_PARTS = 64
"""How many due parts one wake-up takes; load.sql reads one more to know when the next is due."""

_SETTINGS = {
    "application_name": "ultramarket journal",
    "jit": "off",
    # The plan must not depend on how full the tables were when it was made: always by index, made once.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "statement_timeout": "15000",
    "lock_timeout": "10000",
    "timezone": "UTC",
}
_BY_CLASS: dict[str, type[Exception]] = {
    **dict.fromkeys(("21", "22", "23", "54"), CommitRefused),
    **dict.fromkeys(("08", "57", "25"), JournalLost),
    **dict.fromkeys(("53", "58"), JournalFull),  # 58: what the server stands on failed, e.g. its disk
}
_BUSY = frozenset({"40001", "40P01", "55P03"})

log = structlog.get_logger()


def classify(error: asyncpg.PostgresError) -> Exception:
    """The journal's error for a PostgreSQL error."""
    state = error.sqlstate or ""
    if state == "22012":
        return Fenced("a partition, a version or a message is not as its owner knows it")
    if state == "23505" and error.constraint_name != "claim_pkey":
        # Only a claim can collide while we own the partition; any other key means somebody else wrote it.
        return Fenced(f"{error.constraint_name}: {error.detail}")
    kind = CommitBusy if state in _BUSY else _BY_CLASS.get(state[:2], JournalFailed)
    if state == "23505":
        kind = ClaimTaken
    if state == "23514":
        # The only check there is: a month or day without its table. Nothing is wrong with what was to be written.
        kind = JournalFull
    return kind(f"{state} {error}")


class PostgresJournal:
    """See `ultramarket.ports.journal.Journal`."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: asyncpg.Connection[Any] | None = None
        self._commit: Any = None
        self._load: Any = None
        self._lock = asyncio.Lock()

    async def open(self) -> datetime:
        """Connect (again) and prepare the statements; gives the store's time."""
        await self.close()
        try:
            self._connection = await asyncpg.connect(
                self._dsn, server_settings=_SETTINGS, timeout=10, command_timeout=ANSWER_SECONDS
            )
            self._commit = await self._connection.prepare(COMMIT)
            self._load = await self._connection.prepare(LOAD)
        except (
            OSError,
            TimeoutError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
        ) as error:
            await self.close()
            raise JournalLost(f"can't connect to the database: {error}") from error
        rows = await self._run("select clock_timestamp() as now")
        return rows[0]["now"]  # type: ignore[no-any-return]

    async def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # A broken or busy connection has no manners to observe: the server sees it go.
            connection.terminate()

    async def take(self, kind: str, no: int, owner: str, instead_of: str | Anybody | None = ANYBODY) -> Lane | None:
        """Become the owner of a partition; waits for a commit in flight."""
        rows = await self._run(
            "insert into partition as p (kind, no, epoch, owner) select $1, $2, 1, $3 "
            "where $4 or $5::text is null or exists (select 1 from partition where kind = $1 and no = $2) "
            "on conflict (kind, no) do update set epoch = p.epoch + 1, owner = excluded.owner "
            "where $4 or p.owner is not distinct from $5 returning epoch, tail",
            kind,
            no,
            owner,
            instead_of is ANYBODY,
            None if instead_of is ANYBODY else instead_of,
        )
        return Lane(kind, no, rows[0]["epoch"], rows[0]["tail"]) if rows else None

    async def take_free(self, owner: str, wanted: Sequence[tuple[str, int, str | None]]) -> list[Lane]:
        """Become the owner of those of these partitions that can be had at once."""
        rows = await self._run(TAKE_FREE, owner, *_columns(wanted, 3))
        return [Lane(row["kind"], row["no"], row["epoch"], row["tail"]) for row in rows]

    async def release(self, lanes: Sequence[Lane]) -> int:
        """Own these partitions no more."""
        return len(await self._run(RELEASE, *_columns([(lane.kind, lane.no, lane.epoch) for lane in lanes], 3)))

    async def waiting(self, lanes: Sequence[tuple[str, int]]) -> set[Place]:
        """The pairs that have a message in the outbox for these partitions."""
        rows = await self._run(
            "select distinct o.kind, o.no, o.source, o.id from unnest($1::text[], $2::int[]) as w(kind, no) "
            "join outbox o on o.kind = w.kind and o.no = w.no",
            *_columns(lanes, 2),
        )
        return {(row["kind"], row["no"], row["source"], row["id"]) for row in rows}

    async def epochs(self, lanes: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The epochs of these partitions."""
        rows = await self._run(
            "select p.kind, p.no, p.epoch from unnest($1::text[], $2::int[]) as w(kind, no) "
            "join partition p on p.kind = w.kind and p.no = w.no",
            *_columns(lanes, 2),
        )
        return {(row["kind"], row["no"]): row["epoch"] for row in rows}

    async def load(self, wanted: Wanted) -> Loaded:
        """Everything wanted, in one select."""
        arguments = (
            *_columns(wanted.entities, 2),
            *_columns(wanted.parts, 3),
            *_columns(wanted.due, 2),
            *_columns(wanted.replies, 3),
            wanted.messages,
            wanted.ordered,
            LOOKED_AT,
        )
        return _loaded(await self._guard(lambda: self._load.fetch(*arguments)), wanted)

    async def taken_claims(self, claims: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, str]]:
        """Those of the claims that somebody holds."""
        rows = await self._run(
            "select c.namespace, c.value, c.kind, c.id from unnest($1::text[], $2::text[]) as w(namespace, value) "
            "join claim c on c.namespace = w.namespace and c.value = w.value",
            *_columns(claims, 2),
        )
        return {(row["namespace"], row["value"]): (row["kind"], row["id"]) for row in rows}

    async def commit(self, lanes: Sequence[tuple[Lane, int]], turns: Sequence[TurnRows]) -> datetime:
        """Append the turns, all or nothing."""
        arguments = _commit_arguments(lanes, turns)
        row = await self._guard(lambda: self._commit.fetchrow(*arguments))
        return row["now"]  # type: ignore[no-any-return]

    async def pending(
        self, lanes: Sequence[tuple[str, int]], after: int, older_than: float, limit: int
    ) -> list[Pending]:
        """Messages waiting for these partitions, in order."""
        rows = await self._run(
            "select o.n, o.message, o.kind, o.no, o.id, o.body, o.source "
            "from unnest($1::text[], $2::int[]) as w(kind, no) "
            "join outbox o on o.kind = w.kind and o.no = w.no and o.n > $3 "
            "and o.at <= clock_timestamp() - $4::interval order by o.n limit $5",
            *_columns(lanes, 2),
            after,
            timedelta(seconds=older_than),
            limit,
        )
        return [Pending(**dict(row)) for row in rows]

    async def park(self, lane: Lane, message: str, source: str, reason: str) -> bool:
        """Move a message from the outbox to the parked ones."""
        rows = await self._run(
            "with owned as (select 1 from partition where kind = $1 and no = $2 and epoch = $3 for share), "
            "moved as (delete from outbox where message = $4 and exists (select 1 from owned) returning *), "
            "kept as (insert into parked (message, n, kind, no, id, source, body, reason) "
            "select message, n, kind, no, id, $5, body, $6 from moved returning 1) "
            "select (select count(*) from owned) as owned, (select count(*) from kept) as kept",
            lane.kind,
            lane.no,
            lane.epoch,
            message,
            source,
            reason,
        )
        if not rows[0]["owned"]:
            raise Fenced(f"{lane.kind}.{lane.no:02d} has another owner than that of epoch {lane.epoch}")
        return bool(rows[0]["kept"])

    async def blocked(self, lanes: Sequence[tuple[str, int]]) -> set[tuple[str, int, str, str]]:
        """(kind, no, source, id) of the parked messages of these partitions."""
        rows = await self._run(
            "select distinct p.kind, p.no, p.source, p.id from unnest($1::text[], $2::int[]) as w(kind, no) "
            "join parked p on p.kind = w.kind and p.no = w.no",
            *_columns(lanes, 2),
        )
        return {(row["kind"], row["no"], row["source"], row["id"]) for row in rows}

    async def due_timers(self, lanes: Sequence[tuple[str, int]], until: datetime) -> list[tuple[str, str, datetime]]:
        """The timers of these partitions due until then."""
        rows = await self._run(
            "select t.kind, t.id, t.due_at from unnest($1::text[], $2::int[]) as w(kind, no) "
            "join timer t on t.kind = w.kind and t.no = w.no and t.due_at <= $3",
            *_columns(lanes, 2),
            until,
        )
        return [(row["kind"], row["id"], row["due_at"]) for row in rows]

    async def history(self, kind: str, id: str) -> AsyncIterator[EventRow]:
        """The events of an entity in order."""
        after = 0
        while rows := await self._run(
            "select seq, version, type, data, at, command, actor, trace, hash from event "
            "where kind = $1 and id = $2 and version > $3 order by version limit 500",
            kind,
            id,
            after,
        ):
            for row in rows:
                yield EventRow(**dict(row))
            after = rows[-1]["version"]

    async def numbers(self, sequence: str, count: int) -> list[int]:
        """The next numbers of a sequence."""
        rows = await self._run("select nextval($1::text::regclass) as n from generate_series(1, $2)", sequence, count)
        return [row["n"] for row in rows]

    async def _run(self, sql: str, *args: Any) -> Any:
        return await self._guard(lambda: self._connection.fetch(sql, *args))  # type: ignore[union-attr]  # _guard looks

    async def _guard(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Make a call of the driver when it is its turn, over the connection that is open then."""
        async with self._lock:
            if self._connection is None:
                raise JournalLost("not connected")
            return await self._translated(call)

    async def _translated(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Translate the driver's errors; a broken connection is dropped at once."""
        try:
            return await call()
        except asyncpg.PostgresError as error:
            translated = classify(error)
            if isinstance(translated, JournalLost):
                await self.close()
            raise translated from error
        except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
            # InternalClientError: the server's farewell is being read when the next statement goes out. InterfaceError
            # also stands for a value that the driver can't encode: then the connection still lives.
            if self._connection is not None and not self._connection.is_closed() and _is_value_error(error):
                raise CommitRefused(str(error)) from error
            await self.close()
            raise JournalLost(f"the connection to the database broke: {error}") from error
        except UnicodeEncodeError as error:
            raise CommitRefused(f"a text can't be encoded: {error.reason}") from error
        except asyncio.CancelledError:
            # A statement cut short has an unknown outcome; its connection can't be used on.
            await self.close()
            raise


def _is_value_error(error: Exception) -> bool:
    return isinstance(error, asyncpg.DataError)


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _loaded(rows: Sequence[Any], wanted: Wanted) -> Loaded:
    found = Loaded()
    for row in rows:
        what, kind, id, name = row["what"], row["kind"], row["id"], row["name"]
        if what == "entity":
            found.entities[kind, id] = StoredEntity(row["version"], row["shape"], row["bytes"], row["text"])
        elif what == "part":
            found.parts[kind, id, name] = row["text"]
        elif what == "due":
            due = found.due.setdefault((kind, id), {})
            assert wanted.now is not None  # noqa: S101 - due parts are only asked for with a time
            if row["at"] <= wanted.now and len(due) < DUE_PARTS:
                due[name] = row["text"]
            else:
                known = found.next_due.get((kind, id))
                found.next_due[kind, id] = row["at"] if known is None else min(known, row["at"])
        elif what == "reply":
            found.replies[kind, id, name] = (row["bytes"], row["text"])
        else:
            found.messages.add(name)
            if what == "ordered":
                found.earlier[name] = MANY if row["version"] is None else row["version"]
    return found


def _commit_arguments(lanes: Sequence[tuple[Lane, int]], turns: Sequence[TurnRows]) -> list[list[Any]]:
    """The 64 arrays of commit.sql, in its order."""
    lane_rows = [(lane.kind, lane.no, lane.epoch, lane.tail, after) for lane, after in lanes]
    touched = [t for t in turns if t.version > t.before]
    fresh = [(t.kind, t.id, t.version, t.shape, t.head, t.state) for t in touched if t.before == 0]
    changed = [(t.kind, t.id, t.before, t.version, t.shape, t.head, t.state) for t in touched if t.before > 0]
    events = [
        (t.kind, t.no, e.seq, t.id, e.version, e.type, e.data, e.at, e.command, e.actor, e.trace, e.hash)
        for t in touched
        for e in t.events
    ]
    replies = [(t.kind, t.id, r.command, r.body_hash, r.reply) for t in turns for r in t.replies]
    outbox = [(o.message, o.kind, o.no, o.id, o.body, o.source) for t in turns for o in t.outbox]
    taken = [message for t in turns for message in t.taken]
    part_set = [(t.kind, t.id, p.part, p.value, p.due_at) for t in touched for p in t.parts if p.value is not None]
    part_dropped = [(t.kind, t.id, p.part) for t in touched for p in t.parts if p.value is None]
    timer_set = [(t.kind, t.no, t.id, t.timer) for t in touched if isinstance(t.timer, datetime)]
    timer_dropped = [(t.kind, t.id) for t in touched if t.timer is DROP]
    claims = sorted((namespace, value, t.kind, t.id) for t in touched for namespace, value in t.claims)
    drops = sorted((namespace, value, t.kind, t.id) for t in touched for namespace, value in t.drops)
    return [
        *_columns(lane_rows, 5),
        *_columns(fresh, 6),
        *_columns(changed, 7),
        *_columns(events, 12),
        *_columns(replies, 5),
        *_columns(outbox, 6),
        taken,
        *_columns(part_set, 5),
        *_columns(part_dropped, 3),
        *_columns(timer_set, 4),
        *_columns(timer_dropped, 2),
        *_columns(claims, 4),
        *_columns(drops, 4),
    ]
