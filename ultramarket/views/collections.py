"""Collections as lists show them. What is in one is asked of the products, see `ports.search.Chosen`."""

from collections.abc import Sequence

import msgspec

from ultramarket.domain.folding import fold
from ultramarket.messages.collection import ShownCollection
from ultramarket.ports.database import Connection, Database
from ultramarket.views.pages import Conditions, Page, checked_limit, list_mark, page_of, read_cursor, write_cursor
from ultramarket.views.projection import LogEvent
from ultramarket.views.reading import ReadMany, newest

TITLE_LETTERS = 200
"""So much of a title counts for the order of a list."""

# The same version is written again: a rebuild renews what an older release wrote.
_CARDS = """
insert into collection_card (id, version, published, title, body)
select id, version, published, title, body
from json_to_recordset($1::text::json) as r (id text, version bigint, published boolean, title text, body text)
order by id
on conflict (id) do update set version = excluded.version, published = excluded.published, title = excluded.title,
    body = excluded.body
where excluded.version >= collection_card.version
"""
_REMOVE = "delete from collection_card where id = any($1::text[])"


class CollectionFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which collections are wanted; None shows published ones and others: for staff only."""

    published: bool | None = True


class CollectionView:
    """Projects the collections, and lists them by title.

    Args:
        database: where the view's table is.
        shown: reads committed public forms, `Actors.read_many`.
        language: whose titles give the order.
    """

    # The number is raised when what is written changes: under a new name the view begins at the log's beginning.
    name = "collections.1"
    kinds = ("collection",)
    tables = ("collection_card",)
    needs_data = False

    def __init__(self, database: Database, shown: ReadMany, *, language: str = "en") -> None:
        self._database = database
        self._shown = shown
        self._language = language

    async def apply(self, connection: Connection, events: Sequence[LogEvent]) -> None:
        """Write the collections that the events touched, as they are now."""
        found: list[ShownCollection] = [
            form.value for form in (await newest(self._shown, "collection", events)).values()
        ]
        rows = [
            {
                "id": collection.id,
                "version": collection.version,
                "published": collection.published,
                "title": self._title(collection),
                "body": msgspec.json.encode(collection).decode(),
            }
            for collection in found
            if not collection.removed
        ]
        await connection.execute(_REMOVE, [collection.id for collection in found if collection.removed])
        await connection.execute(_CARDS, msgspec.json.encode(rows).decode())

    async def find(
        self, filters: CollectionFilters, limit: int = 24, cursor: str | None = None
    ) -> Page[ShownCollection]:
        """A page of collections by title, each as last projected.

        Args:
            filters: which are wanted.
            limit: items, 1 to 100.
            cursor: `next` of the page before.

        Raises:
            ValueError: limit or cursor are not as they must be; the message says so to people.
            Unavailable: the database can't be reached.
        """
        conditions = Conditions()
        if filters.published is not None:
            conditions.add("published = {it}", it=filters.published)
        mark = list_mark("collections", filters)
        if cursor is not None:
            key, id = read_cursor(cursor, mark, str)
            conditions.add("(title, id) > ({key}, {id})", key=key, id=id)
        sql = (
            "select id, title, body from collection_card "  # noqa: S608 - only text of this module; values are parameters
            f"where {conditions.sql()} order by title, id limit {conditions.parameter(checked_limit(limit) + 1)}"
        )
        rows = await self._database.fetch(sql, *conditions.args)
        items = [msgspec.json.decode(row["body"], type=ShownCollection) for row in rows]
        return page_of(items, [write_cursor(mark, row["title"], row["id"]) for row in rows], limit)

    def _title(self, collection: ShownCollection) -> str:
        title = collection.title.get(self._language) or next(iter(collection.title.values()), collection.handle)
        return fold(title)[:TITLE_LETTERS]
