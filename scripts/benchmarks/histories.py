"""Writes histories straight into the tables, as commits would have: numbered, chained, each in its partition.

A benchmark that needs a million entities takes one that was made over HTTP and writes copies of it under other ids.
`ultramarket doctor --log` finds nothing wrong with them: hashes, numbers and states are those of the copies.
"""

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeAlias
from unittest.mock import patch

import asyncpg

from ultramarket.adapters.embedded_postgres import EmbeddedPostgres
from ultramarket.adapters.embedded_postgres_cluster import SETTINGS
from ultramarket.runtime.codec import Chain
from ultramarket.runtime.partitioning import partition_of

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_EVENTS = (
    "select kind, id, version, type, data, at, command, actor, trace from event "
    "where kind = $1 and id = $2 order by version"
)
# As the commit statement does. COPY would leave a hole in each page, where later rows go, and with each a page of WAL.
_INSERT_EVENTS = """
insert into event (kind, no, seq, id, version, type, data, at, command, actor, trace, hash)
select * from unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::text[],
    $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::bytea[])
"""
_INSERT_ENTITIES = """
insert into entity (kind, id, version, shape, head, state)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::int[], $5::bytea[], $6::text[])
"""
_AT_REST = """
select not exists (select from outbox) and not exists (
    select from view_offset v join partition p on p.kind = v.kind and p.no = v.no where v.seq <> p.tail)
"""
_REST_SECONDS = 60.0
_POLL_SECONDS = 0.05
_TABLES = ("event", "entity", "order_card", "subject_key", "sandbox.payment", "sandbox.call")


async def at_rest(dsn: str) -> None:
    """Wait until a platform has nothing left to do: every message is taken, and the views have read the whole log."""
    connection = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(_REST_SECONDS):
            while not await connection.fetchval(_AT_REST):  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(_POLL_SECONDS)
    finally:
        await connection.close()


@contextmanager
def stopped_database(data_dir: Path) -> Iterator[str]:
    """The DSN of the embedded database in that directory, whose platform is stopped."""
    # Copies come in gigabytes: a checkpoint for each of them would only take time.
    with patch.dict(SETTINGS, max_wal_size="4GB"), EmbeddedPostgres(data_dir) as dsn:
        yield dsn


class Blank:
    """A text with places to fill: what stood in a place of the original is its name.

    Args:
        text: the original.
        places: a pattern with one group, as `places_of` makes it.
    """

    def __init__(self, text: str, places: re.Pattern[str]) -> None:
        self._pieces = places.split(text)
        self._names = self._pieces[1::2]

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with these values, by the names of the places."""
        if not self._names:
            return self._pieces[0]
        self._pieces[1::2] = [values[name] for name in self._names]
        return "".join(self._pieces)


def places_of(originals: Iterable[str]) -> re.Pattern[str]:
    """The pattern that finds these texts where they stand alone, not inside a longer word or number."""
    return re.compile(f"(?<![A-Za-z0-9])({'|'.join(map(re.escape, originals))})(?![A-Za-z0-9])")


@dataclass(frozen=True, slots=True)
class BlankEvent:
    """An event whose ids are places to fill; `version` is the original's."""

    version: int
    type: str
    at: datetime
    trace: str
    data: Blank
    command: Blank
    actor: Blank

    @classmethod
    def of(cls, row: asyncpg.Record, places: re.Pattern[str]) -> Self:
        """The blank of a stored event."""
        texts = (Blank(row[name], places) for name in ("data", "command", "actor"))
        return cls(row["version"], row["type"], row["at"], row["trace"], *texts)


@dataclass(frozen=True, slots=True)
class BlankEntity:
    """An entity with all its events."""

    kind: str
    shape: int
    state: Blank
    events: Sequence[BlankEvent]

    @classmethod
    async def of(cls, connection: Connection, kind: str, id: str, places: re.Pattern[str]) -> Self:
        """The blank of a stored entity."""
        stored = await connection.fetchrow("select shape, state from entity where kind = $1 and id = $2", kind, id)
        assert stored is not None  # noqa: S101 - the benchmark has just made it
        events = [BlankEvent.of(row, places) for row in await connection.fetch(_EVENTS, kind, id)]
        return cls(kind, stored["shape"], Blank(stored["state"], places), events)


class Histories:
    """Gathers events and entities, and writes them.

    Args:
        connection: to a database whose platform is stopped: an owner knows the ends of its partitions by heart.
        tails: the numbers of the last events of all partitions.
    """

    def __init__(self, connection: Connection, tails: dict[tuple[str, int], int]) -> None:
        self._connection = connection
        self._tails = tails
        self._events: list[tuple[Any, ...]] = []
        self._entities: list[tuple[Any, ...]] = []

    @classmethod
    async def open(cls, connection: Connection) -> Self:
        """Where the log ends now."""
        rows = await connection.fetch("select kind, no, tail from partition")
        return cls(connection, {(row["kind"], row["no"]): row["tail"] for row in rows})

    def append(
        self, kind: str, id: str, version: int, head: bytes, event: BlankEvent, values: Mapping[str, str]
    ) -> tuple[bytes, str]:
        """Add an event to an entity; gives the head of its chain, and the event's data."""
        place = (kind, partition_of(kind, id))
        seq = self._tails[place] = self._tails[place] + 1
        data, command, actor = event.data.fill(values), event.command.fill(values), event.actor.fill(values)
        head = Chain.link(head, (kind, id, event.type, command, actor), version, event.at, data)
        self._events.append(
            (*place, seq, id, version, event.type, data, event.at, command, actor, event.trace, head)
        )  # fmt: skip
        return head, data

    def copy(self, blank: BlankEntity, id: str, values: Mapping[str, str]) -> None:
        """Add an entity with all its events under another id."""
        head = Chain.START
        for event in blank.events:
            head, _ = self.append(blank.kind, id, event.version, head, event, values)
        state = blank.state.fill(values)
        self._entities.append((blank.kind, id, blank.events[-1].version, blank.shape, head, state))

    async def write(self) -> None:
        """Write what was gathered."""
        events, self._events = self._events, []
        entities, self._entities = self._entities, []
        await self._connection.execute(_INSERT_EVENTS, *zip(*events, strict=True))
        await self._connection.execute(_INSERT_ENTITIES, *zip(*entities, strict=True))

    async def finish(self) -> None:
        """Move the ends of the partitions past what was written, and the views with them; tidy up."""
        ends = [(kind, no, tail) for (kind, no), tail in self._tails.items()]
        await self._connection.executemany("update partition set tail = $3 where kind = $1 and no = $2", ends)
        await self._connection.executemany("update view_offset set seq = $3 where kind = $1 and no = $2", ends)
        for table in _TABLES:
            await self._connection.execute(f"vacuum (analyze) {table}")  # else it would be done while the clock runs
