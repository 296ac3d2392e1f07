"""How a view takes the log's events: where it stands, its turns, and what it does with an event that it can't take."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec
import structlog

from ultramarket.errors import Unavailable
from ultramarket.ports.database import Connection, Database
from ultramarket.runtime.partitioning import PARTITIONS, partitions_of

BATCH = 50
"""Events of one partition in one turn, at most."""
FAR_BATCH = 250
"""The same for a view that is far behind: what a turn costs by itself is shared by more."""
FAR = BATCH * PARTITIONS
"""Events that wait from which on a view is far behind."""

Place = tuple[str, int]
"""Kind and number of a partition."""

_ENTER = """
insert into view_offset (view, kind, no)
select $1, kind, no from unnest($2::text[], $3::int[]) as k (kind, n), generate_series(0, n - 1) as no
on conflict do nothing
"""
_LOOK = """
select o.kind, o.no, o.seq, greatest(coalesce(p.tail, 0) - o.seq, 0) as behind,
    case when p.tail > o.seq then extract(epoch from now() - (
        select min(e.at) from event e where e.kind = o.kind and e.no = o.no and e.seq = o.seq + 1
    ))::float8 end as seconds
from view_offset o left join partition p on p.kind = o.kind and p.no = o.no
where o.view = $1
"""
_LEAD = "select pg_try_advisory_xact_lock(hashtextextended('view:' || $1, 0)) as leads"
_READ = """
select o.kind, o.no, o.seq as after, e.*
from view_offset o
join partition p on p.kind = o.kind and p.no = o.no and p.tail > o.seq
cross join lateral (
    select e.seq, e.id, e.version, e.type, e.at, case when $3 then e.data else '' end as data,
        $4 and exists (
            select from entity n where n.kind = e.kind and n.id = e.id and n.version > e.version
        ) as overtaken
    from event e where e.kind = o.kind and e.no = o.no and e.seq > o.seq order by e.seq limit $2
) e
where o.view = $1
order by o.kind, o.no, e.seq
"""
_MOVE = """
update view_offset o set seq = n.seq
from unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[]) as n (kind, no, before, seq)
where o.view = $1 and o.kind = n.kind and o.no = n.no and o.seq = n.before
"""
_PARK = """
insert into view_parked (view, kind, no, seq, reason) values ($1, $2, $3, $4, $5)
on conflict (view, kind, no, seq) do update set reason = excluded.reason, at = now()
"""

log = structlog.get_logger()


class LogEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as the log has it.

    Attributes:
        data: empty for a view that doesn't ask for it.
        overtaken: the entity has a later event, and the view needs to know of the last one only.
    """

    kind: str
    no: int
    seq: int
    id: str
    version: int
    type: str
    at: datetime
    data: str = ""
    overtaken: bool = False


class View(Protocol):
    """What a read model is to the projector."""

    @property
    def name(self) -> str:
        """A noun and a number, e.g. `products.1`, raised when what is written changes; its offsets stand under it."""
        ...

    @property
    def kinds(self) -> tuple[str, ...]:
        """Whose events it takes."""
        ...

    @property
    def needs_data(self) -> bool:
        """Whether it reads the events' data, or only which entities changed; those it may be told of once for many."""
        ...

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that it writes, and nobody else. Its statements name them without a schema."""
        ...

    async def apply(self, connection: Connection, events: Sequence[LogEvent]) -> None:
        """Write what the events mean, within the connection's transaction; they come in order within a partition.

        Raises:
            Unavailable: to be tried again as it is.
            Exception: one of the events can't be taken; it is found, parked, and the rest goes on without it.
        """
        ...


class OvertakenError(Exception):
    """Another process moved the view meanwhile; it is looked up anew."""


class Standing(NamedTuple):
    """Where a view stands.

    Attributes:
        places: the last event that it has taken of each partition.
        behind: events that wait for it.
        seconds: age of the oldest of them, 0 where none waits.
    """

    places: dict[Place, int]
    behind: int
    seconds: float


class Turn(NamedTuple):
    """What came of a turn: whether it was ours to make, and how far each partition was read."""

    leads: bool
    places: dict[Place, int]


class Projection:
    """A view and its place in the log, moved in the same transactions.

    Args:
        database: where log, offsets and view are.
        view: what is to be written.
        name: under which the offsets stand; the view's own, unless it is built a second time beside the first.
    """

    def __init__(self, database: Database, view: View, name: str | None = None, *, batch: int = BATCH) -> None:
        self.view = view
        self.name = name or view.name
        self._database = database
        self._batch = batch
        self._before: dict[Place, int] = {}

    async def enter(self) -> None:
        """Begin at the beginning of the log, unless it has begun already."""
        kinds = list(self.view.kinds)
        await self._database.execute(_ENTER, self.name, kinds, [partitions_of(kind) for kind in kinds])

    async def look(self) -> Standing:
        """See where the view stands."""
        rows = await self._database.fetch(_LOOK, self.name)
        return Standing(
            {(row["kind"], row["no"]): row["seq"] for row in rows},
            sum(row["behind"] for row in rows),
            max((row["seconds"] for row in rows if row["seconds"] is not None), default=0.0),
        )

    async def turn(self, *, far: bool = False) -> Turn:
        """Take the next events.

        Args:
            far: the view is far behind: take more at once, and of a view of states only the last event of each entity.

        Raises:
            Unavailable: the database, or what the view needs, can't be reached.
            OvertakenError: another process moved the view meanwhile.
        """
        events: list[LogEvent] = []
        try:
            async with self._database.transaction() as connection:
                row = await connection.fetchrow(_LEAD, self.name)
                leads = row is not None and row["leads"]
                if leads:
                    events = await self._read(connection, far=far)
                    if events:
                        await self._take(connection, events)
        except (Unavailable, OvertakenError):
            raise
        except Exception as error:
            if not events:
                raise
            log.warning("a batch of events can't be projected whole", view=self.name, error=repr(error))
            await self._apart(events)
        return Turn(leads, _ends(events))

    async def finish(self, connection: Connection) -> None:
        """Take all that was in the log when this began, within this transaction.

        Raises:
            Unavailable: the database, or what the view needs, can't be reached.
            OvertakenError: another process moved the view meanwhile.
            Exception: an event can't be taken; `turn` parks it.
        """
        while events := await self._read(connection, far=True):
            await self._take(connection, events)
            if len(events) < FAR_BATCH:  # no partition had more
                break

    async def _read(self, connection: Connection, *, far: bool) -> list[LogEvent]:
        view = self.view
        limit = max(self._batch, FAR_BATCH) if far else self._batch
        rows = await connection.fetch(_READ, self.name, limit, view.needs_data, far and not view.needs_data)
        self._before = {(row["kind"], row["no"]): row["after"] for row in rows}
        return [
            LogEvent(
                kind=row["kind"],
                no=row["no"],
                seq=row["seq"],
                id=row["id"],
                version=row["version"],
                type=row["type"],
                at=row["at"],
                data=row["data"],
                overtaken=row["overtaken"],
            )
            for row in rows
        ]

    async def _take(self, connection: Connection, events: Sequence[LogEvent]) -> None:
        await self._move(connection, events)
        if news := [event for event in events if not event.overtaken]:
            await self.view.apply(connection, news)

    async def _move(self, connection: Connection, events: Sequence[LogEvent]) -> None:
        """Move the offsets past the events; whoever moved them meanwhile makes this turn void."""
        ends = _ends(events)
        kinds, numbers = [kind for kind, _ in ends], [no for _, no in ends]
        before = [self._before[place] for place in ends]
        tag = await connection.execute(_MOVE, self.name, kinds, numbers, before, list(ends.values()))
        if tag != f"UPDATE {len(ends)}":
            raise OvertakenError

    async def _apart(self, events: Sequence[LogEvent]) -> None:
        """Project halves, and halves of the half that fails, until the offender is alone and parked."""
        middle = len(events) // 2
        for part in (events[:middle], events[middle:]):
            if not part:
                continue
            try:
                async with self._database.transaction() as connection:
                    await self._take(connection, part)
            except (Unavailable, OvertakenError):
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is narrowed down, logged and parked
                if len(part) > 1:
                    await self._apart(part)
                    continue
                await self._park(part[0], error)
            self._before |= _ends(part)

    async def _park(self, event: LogEvent, error: Exception) -> None:
        place = {"view": self.name, "kind": event.kind, "no": event.no, "seq": event.seq}
        log.error("an event can't be projected and was parked", **place, type=event.type, exc_info=error)
        async with self._database.transaction() as connection:
            await self._move(connection, [event])
            await connection.execute(_PARK, *place.values(), f"{type(error).__name__}: {error}")


def _ends(events: Sequence[LogEvent]) -> dict[Place, int]:
    """The last seq of each partition in the events."""
    return {(event.kind, event.no): event.seq for event in events}
