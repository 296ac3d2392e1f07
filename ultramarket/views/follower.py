"""One view following the log: where it stands, its turns, and what it does with an event that it can't take."""

import asyncio
import random
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec
import structlog

from ultramarket.errors import Unavailable
from ultramarket.ports.database import Connection, Database
from ultramarket.runtime.partitioning import PARTITIONS

POLL_SECONDS = 1.0
STANDBY_POLL_SECONDS = 0.05
"""While another process projects and somebody here waits for it, its progress is looked up this often."""
GATHER_SECONDS = 0.05
"""Commits that follow each other this closely go into one turn, unless somebody waits."""
FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 10.0
BATCH = 50
"""Events of one partition in one turn, at most."""

_ENTER = """
insert into view_offset (view, kind, no)
select $1, kind, no from unnest($2::text[]) as kind, generate_series(0, $3 - 1) as no
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
    select e.seq, e.id, e.version, e.type, e.at, case when $3 then e.data else '' end as data
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
    """An event as the log has it; `data` is empty for a view that doesn't ask for it."""

    kind: str
    no: int
    seq: int
    id: str
    version: int
    type: str
    at: datetime
    data: str = ""


class View(Protocol):
    """What a read model is to the projector."""

    @property
    def name(self) -> str:
        """Stays for ever; its offsets stand under it."""
        ...

    @property
    def kinds(self) -> tuple[str, ...]:
        """Whose events it takes."""
        ...

    @property
    def needs_data(self) -> bool:
        """Whether it reads the events' data, or only that something happened."""
        ...

    async def apply(self, connection: Connection, events: Sequence[LogEvent]) -> None:
        """Write what the events mean, within the connection's transaction; they come in order within a partition.

        Raises:
            Unavailable: to be tried again as it is.
            Exception: one of the events can't be taken; it is found, parked, and the rest goes on without it.
        """
        ...


class _OvertakenError(Exception):
    """Another process moved the view meanwhile; it is looked up anew."""


class Follower:
    """Keeps one view in step with the log; one process at a time does so, by an advisory lock for each turn."""

    def __init__(self, database: Database, view: View, *, batch: int, poll_seconds: float) -> None:
        self.view = view
        self._database = database
        self._batch = batch
        self._poll_seconds = poll_seconds
        self._passed: dict[tuple[str, int], int] = {}
        self._progress = asyncio.Condition()
        self._woken = asyncio.Event()
        self._urgent = asyncio.Event()
        self._waiting = 0
        self._leads = True
        self._behind = 0
        self._oldest = 0.0

    async def run(self) -> None:
        """Follow until cancelled; a failure is logged and tried again after 0.2 to 10 s."""
        entered = False
        failures = 0
        while True:
            self._woken.clear()
            try:
                if not entered:
                    await self._database.execute(_ENTER, self.view.name, list(self.view.kinds), PARTITIONS)
                    entered = True
                more = await self._look() and await self._turn()
                failures = 0
            except Exception as error:  # noqa: BLE001 - a view outlives whatever happens to it; all of it is logged
                failures += 1
                await self._back_off(error, failures)
                continue
            if not more:
                await self._rest()

    def wake(self) -> None:
        """There may be something new."""
        self._woken.set()

    async def wait(self, kind: str, no: int, seq: int, timeout: float) -> bool:
        """Wait until the view has passed this place of the log; False when it has not within the time (seconds)."""

        def passed() -> bool:
            return self._passed.get((kind, no), 0) >= seq

        if passed():
            return True
        self._waiting += 1
        self._urgent.set()
        self._woken.set()
        try:
            async with asyncio.timeout(timeout), self._progress:
                await self._progress.wait_for(passed)
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True

    def lag(self) -> tuple[int, float]:
        """Events that wait for the view, and the age of the oldest of them in seconds, when last looked at."""
        if not self._behind:
            return 0, 0.0
        return self._behind, asyncio.get_running_loop().time() - self._oldest

    async def _look(self) -> bool:
        """See where the view stands; True when it is behind."""
        rows = await self._database.fetch(_LOOK, self.view.name)
        self._behind = sum(row["behind"] for row in rows)
        ages = [row["seconds"] for row in rows if row["seconds"] is not None]
        self._oldest = asyncio.get_running_loop().time() - max(ages, default=0.0)
        await self._stand({(row["kind"], row["no"]): row["seq"] for row in rows})
        return self._behind > 0

    async def _turn(self) -> bool:
        """Project the next events; False when there are none, or another process is at it."""
        events: list[LogEvent] = []
        try:
            async with self._database.transaction() as connection:
                row = await connection.fetchrow(_LEAD, self.view.name)
                self._leads = row is not None and row["leads"]
                events = await self._read(connection) if self._leads else []
                if not events:
                    return False
                await self._take(connection, events)
        except (Unavailable, _OvertakenError):
            raise
        except Exception as error:
            if not events:
                raise
            log.warning("a batch of events can't be projected whole", view=self.view.name, error=repr(error))
            await self._apart(events)
        else:
            await self._stand(_ends(events))
        return True

    async def _read(self, connection: Connection) -> list[LogEvent]:
        rows = await connection.fetch(_READ, self.view.name, self._batch, self.view.needs_data)
        self._passed |= {(row["kind"], row["no"]): row["after"] for row in rows}
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
            )
            for row in rows
        ]

    async def _take(self, connection: Connection, events: Sequence[LogEvent]) -> None:
        await self._move(connection, events)
        await self.view.apply(connection, events)

    async def _move(self, connection: Connection, events: Sequence[LogEvent]) -> None:
        """Move the offsets past the events; whoever moved them meanwhile makes this turn void."""
        ends = _ends(events)
        kinds, numbers = [kind for kind, _ in ends], [no for _, no in ends]
        before = [self._passed[place] for place in ends]
        tag = await connection.execute(_MOVE, self.view.name, kinds, numbers, before, list(ends.values()))
        if tag != f"UPDATE {len(ends)}":
            raise _OvertakenError

    async def _apart(self, events: Sequence[LogEvent]) -> None:
        """Project halves, and halves of the half that fails, until the offender is alone and parked."""
        middle = len(events) // 2
        for part in (events[:middle], events[middle:]):
            if not part:
                continue
            try:
                async with self._database.transaction() as connection:
                    await self._take(connection, part)
            except (Unavailable, _OvertakenError):
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is narrowed down, logged and parked
                if len(part) > 1:
                    await self._apart(part)
                    continue
                await self._park(part[0], error)
            await self._stand(_ends(part))

    async def _park(self, event: LogEvent, error: Exception) -> None:
        place = {"view": self.view.name, "kind": event.kind, "no": event.no, "seq": event.seq}
        log.error("an event can't be projected and was parked", **place, type=event.type, exc_info=error)
        async with self._database.transaction() as connection:
            await self._move(connection, [event])
            await connection.execute(_PARK, *place.values(), f"{type(error).__name__}: {error}")

    async def _stand(self, places: dict[tuple[str, int], int]) -> None:
        """The view is at these places now; tell those who wait."""
        self._passed |= places
        async with self._progress:
            self._progress.notify_all()

    async def _rest(self) -> None:
        """Until something may be new; a while longer, for more to gather, when nobody waits."""
        if not self._waiting:
            self._urgent.clear()
        hurried = self._waiting and not self._leads
        await _event(self._woken, STANDBY_POLL_SECONDS if hurried else self._poll_seconds)
        if not self._waiting:
            await _event(self._urgent, GATHER_SECONDS)

    async def _back_off(self, error: Exception, failures: int) -> None:
        if isinstance(error, _OvertakenError):
            return
        delay = min(FIRST_RETRY_SECONDS * 2 ** (failures - 1), LAST_RETRY_SECONDS)
        delay *= random.uniform(0.5, 1.0)  # noqa: S311 - jitter, so that replicas don't come back at the same moment
        trace = None if isinstance(error, Unavailable) else error
        log.warning("a view stands still", view=self.view.name, error=str(error), again_in=delay, exc_info=trace)
        await asyncio.sleep(delay)


def _ends(events: Sequence[LogEvent]) -> dict[tuple[str, int], int]:
    """The last seq of each partition in the events."""
    return {(event.kind, event.no): event.seq for event in events}


async def _event(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, this long at most."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
