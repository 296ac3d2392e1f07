"""The log in PostgreSQL, as the port `Feed` reads it."""

from collections.abc import Mapping, Sequence
from typing import Any

from ultramarket.ports.database import Database
from ultramarket.ports.feed import Logged, Place

_TAILS = """
select w.kind, w.no, coalesce(p.tail, 0) as tail
from unnest($1::text[], $2::int[]) as w (kind, no) left join partition p on p.kind = w.kind and p.no = w.no
"""
# A partition without news costs its row in `partition` alone; the months of the log are looked into for the others.
_AFTER = """
select e.kind, e.no, e.seq, e.id, e.version, e.type, e.at, e.data
from unnest($1::text[], $2::int[], $3::bigint[]) as w (kind, no, seq)
join partition p on p.kind = w.kind and p.no = w.no and p.tail > w.seq
cross join lateral (
    select * from event e where e.kind = w.kind and e.no = w.no and e.seq > w.seq order by e.seq limit $4
) e
order by e.kind, e.no, e.seq
"""
_HISTORY = """
select kind, no, seq, id, version, type, at, data from event
where kind = $1 and id = $2 and version > $3 order by version limit $4
"""


class PostgresFeed:
    """Implements `ports.feed.Feed` over the table `event`, whichever months of it are attached."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tails(self, places: Sequence[Place]) -> dict[Place, int]:
        """The seq of each partition's last event."""
        rows = await self._database.fetch(_TAILS, [kind for kind, _ in places], [no for _, no in places])
        return {(row["kind"], row["no"]): row["tail"] for row in rows}

    async def after(self, positions: Mapping[Place, int], limit: int) -> list[Logged]:
        """The events after these places, all of them with one statement and as of one moment."""
        kinds, numbers = [kind for kind, _ in positions], [no for _, no in positions]
        return _logged(await self._database.fetch(_AFTER, kinds, numbers, list(positions.values()), limit))

    async def history(self, kind: str, id: str, version: int, limit: int) -> list[Logged]:
        """The events of an entity after this version."""
        return _logged(await self._database.fetch(_HISTORY, kind, id, version, limit))


def _logged(rows: Sequence[Any]) -> list[Logged]:
    return [
        Logged(
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
