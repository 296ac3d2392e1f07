"""Where old addresses lead: handles that a product or collection had before, and the redirects of the staff.

Who has a handle now is decided by the claims alone; an old handle leads on only where nobody has it as their own. The
view reads the events' data: of a handle that was there for a moment only, the entity knows nothing any more.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from ultramarket.domain.folding import storable
from ultramarket.messages.redirect import RedirectAdded
from ultramarket.ports.database import Connection, Database
from ultramarket.views.pages import Conditions, Page, checked_limit, list_mark, page_of, read_cursor, write_cursor
from ultramarket.views.projection import LogEvent

_KNOWN = """
select n.kind, n.id, n.handle from handle_now n
join unnest($1::text[], $2::text[]) as e (kind, id) on n.kind = e.kind and n.id = e.id
"""
_NOW = """
insert into handle_now (kind, id, handle)
select kind, id, handle from json_to_recordset($1::text::json) as r (kind text, id text, handle text)
on conflict (kind, id) do update set handle = excluded.handle
"""
# Partitions are read side by side: the last who had the handle is told by the time.
_BEFORE = """
insert into handle_before (kind, handle, id, at)
select kind, handle, id, at
from json_to_recordset($1::text::json) as r (kind text, handle text, id text, at timestamptz)
on conflict (kind, handle) do update set id = excluded.id, at = excluded.at where excluded.at >= handle_before.at
"""
_ADD = """
insert into redirect (id, source, target, created_at) values ($1, $2, $3, $4)
on conflict (id) do update set target = excluded.target, created_at = excluded.created_at
"""
_REMOVE = "delete from redirect where id = $1"
_HAD = "select id from handle_before where kind = $1 and handle = $2"
_TARGET = "select target from redirect where source = $1"

_NAMING = frozenset({"ProductCreated", "ProductChanged", "CollectionCreated", "CollectionChanged"})
"""Events that may name a handle."""


class _Handled(msgspec.Struct, frozen=True):
    handle: str | None = None


class _Named(msgspec.Struct, frozen=True):
    """What the view reads of an event in `_NAMING`: the handle that the entity has from now on, where it says one."""

    product: _Handled = _Handled()
    collection: _Handled = _Handled()
    changes: _Handled = _Handled()

    @property
    def handle(self) -> str | None:
        return self.product.handle or self.collection.handle or self.changes.handle


class FoundRedirect(msgspec.Struct, frozen=True, kw_only=True):
    """A redirect of the staff."""

    id: str
    source: str
    target: str
    created_at: datetime


class RedirectFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which redirects are wanted: all, or the one of a path."""

    source: str | None = None


class RedirectView:
    """Projects handles and redirects, and finds where an address leads.

    Args:
        database: where the view's tables are.
    """

    # The number is raised when what is written changes: under a new name the view begins at the log's beginning.
    name = "redirects.1"
    kinds = ("product", "collection", "redirect")
    tables = ("handle_now", "handle_before", "redirect")
    needs_data = True

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply(self, connection: Connection, events: Sequence[LogEvent]) -> None:
        """Write the handles that came and went, and the redirects that were added and removed."""
        handles = []
        for event in events:
            if event.type in _NAMING:
                data = msgspec.json.decode(event.data, type=_Named)
                if data.handle is not None:
                    handles.append((event, data.handle))
            elif event.type == "RedirectAdded":
                added = msgspec.json.decode(event.data, type=RedirectAdded)
                await connection.execute(_ADD, event.id, added.source, added.target, event.at)
            elif event.type == "RedirectRemoved":
                await connection.execute(_REMOVE, event.id)
        if handles:
            await _write_handles(connection, handles)

    async def before(self, kind: str, handle: str) -> str | None:
        """Id of the last entity of this kind that had the handle and has another one since; None where none had.

        Raises:
            Unavailable: the database can't be reached.
        """
        row = await self._database.fetchrow(_HAD, kind, handle)
        return None if row is None else str(row["id"])

    async def target(self, path: str) -> str | None:
        """Where the staff lead this path; None where they lead it nowhere.

        Raises:
            Unavailable: the database can't be reached.
        """
        row = await self._database.fetchrow(_TARGET, path)
        return None if row is None else str(row["target"])

    async def find(self, filters: RedirectFilters, limit: int = 24, cursor: str | None = None) -> Page[FoundRedirect]:
        """A page of the staff's redirects, the newest first.

        Args:
            filters: which are wanted.
            limit: items, 1 to 100.
            cursor: `next` of the page before.

        Raises:
            ValueError: limit or cursor are not as they must be; the message says so to people.
            Unavailable: the database can't be reached.
        """
        conditions = Conditions()
        if filters.source is not None:
            conditions.add("source = {it}", it=storable(filters.source, "from"))
        mark = list_mark("redirects", filters)
        if cursor is not None:
            key, id = read_cursor(cursor, mark, datetime)
            conditions.add("(created_at, id) < ({key}, {id})", key=key, id=id)
        sql = (
            "select id, source, target, created_at from redirect "  # noqa: S608 - only text of this module; values are parameters
            f"where {conditions.sql()} order by created_at desc, id desc "
            f"limit {conditions.parameter(checked_limit(limit) + 1)}"
        )
        rows = await self._database.fetch(sql, *conditions.args)
        items = [
            FoundRedirect(id=row["id"], source=row["source"], target=row["target"], created_at=row["created_at"])
            for row in rows
        ]
        return page_of(items, [write_cursor(mark, item.created_at, item.id) for item in items], limit)


async def _write_handles(connection: Connection, handles: Sequence[tuple[LogEvent, str]]) -> None:
    """Write the handles that entities got, in order, and those that they had before."""
    places = {(event.kind, event.id): None for event, _ in handles}
    rows = await connection.fetch(_KNOWN, [kind for kind, _ in places], [id for _, id in places])
    now = {(row["kind"], row["id"]): row["handle"] for row in rows}
    before: dict[tuple[str, str], dict[str, Any]] = {}
    for event, handle in handles:
        old = now.get((event.kind, event.id), handle)
        if old != handle:
            row = {"kind": event.kind, "handle": old, "id": event.id, "at": event.at}
            last = before.get((event.kind, old))
            if last is None or last["at"] <= event.at:
                before[event.kind, old] = row
        now[event.kind, event.id] = handle
    names = [{"kind": kind, "id": id, "handle": handle} for (kind, id), handle in now.items()]
    await connection.execute(_NOW, msgspec.json.encode(names).decode())
    if before:
        await connection.execute(_BEFORE, msgspec.json.encode(list(before.values())).decode())
