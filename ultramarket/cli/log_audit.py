"""Reads the whole log and checks it: gap-free numbers, hash chains, and that its replay gives what is stored.

Memory stays flat however long the log is: events stream through a cursor in the order of their entities, and the
stored rows are read beside it, some hundreds at a time. All of it is of one moment: a snapshot of the database.
"""

from collections.abc import Callable, Iterable
from typing import Any

import asyncpg
import msgspec

from ultramarket.runtime.actor import Actor
from ultramarket.runtime.codec import Chain, KindCodec
from ultramarket.runtime.partitioning import partition_of

SHOWN = 100
"""Findings that are kept with their text; all are counted."""
_PREFETCH = 1000
_COMPARED_AT_ONCE = 500
_GAPS_SHOWN = 10

_EVENTS = (
    "select kind, no, seq, id, version, type, data, at, command, actor, hash from event order by kind, id, version"
)
_STORED = """
select e.kind, e.id, e.version, e.shape, e.head, e.state
from unnest($1::text[], $2::text[]) as w(kind, id) join entity e on e.kind = w.kind and e.id = w.id
"""
_UNFOUNDED = """
select kind, id from entity e
where not exists (select from event x where x.kind = e.kind and x.id = e.id) limit 100
"""
_GAPS = """
select seq, before from (
  select seq, lag(seq, 1, 0::bigint) over (order by seq) as before from event where kind = $1 and no = $2
) numbered where seq <> before + 1 limit $3
"""
_LAST = "select coalesce(max(seq), 0) from event where kind = $1 and no = $2"


class Report(msgspec.Struct):
    """What the audit saw.

    Attributes:
        partitions: partitions whose numbers were checked.
        events: events whose hashes were checked.
        entities: entities that were replayed.
        older: entities stored in an older shape, whose states can't be compared; they are rebuilt when next loaded.
        wrong: how many things were wrong.
        findings: the first hundred of them, a sentence each.
    """

    partitions: int = 0
    events: int = 0
    entities: int = 0
    older: int = 0
    wrong: int = 0
    findings: list[str] = []

    def found(self, text: str) -> None:
        """Something is wrong."""
        self.wrong += 1
        if len(self.findings) < SHOWN:
            self.findings.append(text)


class _Replayed:
    """One entity while its events go by."""

    def __init__(self, kind: str, id: str) -> None:
        self.kind = kind
        self.id = id
        self.version = 0
        self.head = Chain.START
        self.state: Any = None
        self.broken = False

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class LogAudit:
    """Audits one database.

    Args:
        actors: every kind of entity.
        advance: told, now and then, how many more events were read.
    """

    def __init__(self, actors: Iterable[Actor[Any, Any, Any]], advance: Callable[[int], None]) -> None:
        self._actors = {actor.kind: actor for actor in actors}
        self._codecs = {kind: KindCodec(actor) for kind, actor in self._actors.items()}
        self._advance = advance
        self._report = Report()

    async def run(self, connection: "asyncpg.Connection[asyncpg.Record]") -> Report:
        """Read everything and report; writes nothing."""
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            # Rows as they are needed, by index: a sort of the whole log would fill the disk first.
            await connection.execute("set local cursor_tuple_fraction = 0.0001; set local jit = off")
            await self._numbers(connection)
            await self._replay(connection)
            for row in await connection.fetch(_UNFOUNDED):
                self._report.found(f"{row['kind']} {row['id']} is stored but has no events.")
        return self._report

    async def _numbers(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """The events of a partition are numbered from 1 to its tail, without a gap or a repeat."""
        for row in await connection.fetch("select kind, no, tail from partition order by kind, no"):
            place = f"Partition {row['kind']}.{row['no']:02}"
            for gap in await connection.fetch(_GAPS, row["kind"], row["no"], _GAPS_SHOWN):
                self._report.found(f"{place}: event {gap['seq']} follows {gap['before']}.")
            last = await connection.fetchval(_LAST, row["kind"], row["no"])
            if last != row["tail"]:
                self._report.found(f"{place}: its last event is {last}, but its tail says {row['tail']}.")
            self._report.partitions += 1

    async def _replay(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        entity: _Replayed | None = None
        finished: list[_Replayed] = []
        async for row in connection.cursor(_EVENTS, prefetch=_PREFETCH):
            if entity is None or (row["kind"], row["id"]) != (entity.kind, entity.id):
                if entity is not None:
                    finished.append(entity)
                entity = _Replayed(row["kind"], row["id"])
                self._begin(entity, row["no"])
                if len(finished) >= _COMPARED_AT_ONCE:
                    await self._compare(connection, finished)
                    finished = []
            self._follow(entity, row)
            self._report.events += 1
            if self._report.events % _PREFETCH == 0:
                self._advance(_PREFETCH)
        if entity is not None:
            finished.append(entity)
        await self._compare(connection, finished)
        self._advance(self._report.events % _PREFETCH)

    def _begin(self, entity: _Replayed, no: int) -> None:
        self._report.entities += 1
        if entity.kind not in self._actors:
            self._spoilt(entity, f"{entity}: this program knows no {entity.kind}.")
        elif no != partition_of(entity.kind, entity.id):
            self._report.found(f"{entity}: its events are in partition {no}, where they don't belong.")

    def _follow(self, entity: _Replayed, row: asyncpg.Record) -> None:
        """Check an event against the one before, and apply it."""
        if entity.broken:
            return
        version, data = row["version"], row["data"]
        if version != entity.version + 1:
            self._spoilt(entity, f"{entity}: version {version} follows {entity.version}.")
            return
        names = (entity.kind, entity.id, row["type"], row["command"], row["actor"])
        head = Chain.link(entity.head, names, version, row["at"], data)
        if head != row["hash"]:
            self._spoilt(entity, f"{entity}: the hash of version {version} is not what its event gives.")
            return
        try:
            event = self._codecs[entity.kind].event(data)
            entity.state = self._actors[entity.kind].evolve(entity.state, event)
        except Exception as error:  # noqa: BLE001 - whatever an event does to its actor is a finding
            self._spoilt(entity, f"{entity}: version {version} can't be replayed ({type(error).__name__}: {error}).")
            return
        entity.version, entity.head = version, head

    async def _compare(self, connection: "asyncpg.Connection[asyncpg.Record]", entities: list[_Replayed]) -> None:
        """What is stored is what the events give."""
        whole = [entity for entity in entities if not entity.broken]
        rows = await connection.fetch(_STORED, [one.kind for one in whole], [one.id for one in whole])
        stored = {(row["kind"], row["id"]): row for row in rows}
        for entity in whole:
            row = stored.get((entity.kind, entity.id))
            if row is None:
                self._report.found(f"{entity} has events but is not stored.")
            elif row["version"] != entity.version:
                self._report.found(
                    f"{entity} is stored in version {row['version']}, but its events go to {entity.version}."
                )
            elif row["head"] != entity.head:
                self._report.found(f"{entity}: the stored head of its hashes is not that of its last event.")
            else:
                self._compare_state(entity, row)

    def _compare_state(self, entity: _Replayed, row: asyncpg.Record) -> None:
        shape = self._actors[entity.kind].shape
        if row["shape"] < shape:
            self._report.older += 1
            return
        if row["shape"] > shape:
            self._report.found(f"{entity} was stored by a newer program (shape {row['shape']}, ours is {shape}).")
            return
        try:
            same = self._codecs[entity.kind].state(row["state"]) == entity.state
        except msgspec.MsgspecError as error:
            self._report.found(f"{entity}: its stored state can't be read ({error}).")
            return
        if not same:
            self._report.found(f"{entity}: its stored state is not what its events give.")

    def _spoilt(self, entity: _Replayed, text: str) -> None:
        """Something is wrong with the entity: what comes after it would only repeat that."""
        entity.broken = True
        self._report.found(text)
