"""Search on PostgreSQL: implements `ports.search.Search` on tables of the platform's own database."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from ultramarket.adapters import postgres_search_facets as facets
from ultramarket.adapters.postgres_search_highlights import Texts, highlight, words_of
from ultramarket.adapters.postgres_search_parameters import Parameters
from ultramarket.adapters.postgres_search_query import Place, ordered, page, read_place, write_place
from ultramarket.adapters.postgres_search_suggest import completions
from ultramarket.adapters.postgres_search_words import Match, Stems, Term, corrections, match, terms
from ultramarket.adapters.postgres_search_write import TABLES, write_documents, write_levels
from ultramarket.ports.database import Connection, Database
from ultramarket.ports.search import Availability, Found, Hit, SearchDocument, SearchQuery, Suggestions

FEW = 3
"""Fewer hits than these are too little: then words stand for those that are spelled alike, too."""


class _Words(NamedTuple):
    """The words of a query, what they stand for, and how they are asked for; None where no product can have them."""

    terms: tuple[Term, ...]
    corrections: dict[str, tuple[str, ...]]
    match: Match | None


class PostgresSearch:
    """Products in tables beside the log.

    Args:
        database: where the tables are; what is written goes through the connection that the view gives.
        language: whose titles give the order by title.
    """

    tables = TABLES

    def __init__(self, database: Database, *, language: str = "en") -> None:
        self._database = database
        self._language = language
        self._stems = Stems()

    async def write(self, connection: Connection, documents: Sequence[SearchDocument]) -> None:
        """Write documents in the transaction of the connection, each id once."""
        await write_documents(connection, documents, self._language)

    async def write_availability(self, connection: Connection, levels: Sequence[Availability]) -> None:
        """Write how much there is of SKUs in the transaction of the connection, each once."""
        await write_levels(connection, levels)

    async def find(self, query: SearchQuery) -> Found:
        """What the query finds: one statement, one more for facets, and a few where a word is not known yet or wrong.

        Raises:
            ValueError: the query or its cursor can't be; the message says so to people.
            Unavailable: the database can't be reached.
        """
        if not query.text.strip():
            return await self._found(query, None, await self._page(query, None))
        asked = await self._words(query)
        if asked.match is None:
            return Found(hits=(), facets=dict.fromkeys(facets.checked(query.facets), ()))
        asked, rows = await self._searched(query, asked, asked.match)
        return await self._found(query, asked, rows)

    async def suggest(self, text: str, language: str = "en", limit: int = 5) -> Suggestions:
        """What a text that is still being typed may become.

        Raises:
            ValueError: the text can't be searched for.
            Unavailable: the database can't be reached.
        """
        query = SearchQuery(text=text, language=language, limit=limit)
        asked = await self._words(query)
        if asked.match is None:
            return Suggestions()
        # Somebody who is typing means a name; descriptions have a word that begins like anything.
        rows = await self._page(query, asked.match, "names")
        if not rows:
            asked = await self._corrected(query, asked, ())
            rows = await self._page(query, asked.match, "names") if asked.corrections else rows
        found = await self._found(query, asked, rows)
        return Suggestions(hits=found.hits, completions=await completions(self._database, text, limit))

    def statement(self, query: SearchQuery, found: Match | None, column: str = "search") -> tuple[str, list[Any]]:
        """The statement of a page and one hit more, and its parameters; words are looked for in this column.

        Raises:
            ValueError: as `find`.
        """
        order = ordered(query, found, Parameters())
        return page(query, found, None if query.cursor is None else read_place(query.cursor, order), column)

    async def _page(self, query: SearchQuery, found: Match | None, column: str = "search") -> Sequence[Any]:
        sql, args = self.statement(query, found, column)
        return await self._database.fetch(sql, *args)

    async def _searched(self, query: SearchQuery, asked: _Words, found: Match) -> tuple[_Words, Sequence[Any]]:
        """The rows of a page, and the words as they were understood in the end."""
        if query.cursor is None:
            rows = await self._best(query, found, None)
            if len(rows) >= min(FEW, query.limit):
                return asked, rows
            corrected = await self._corrected(query, asked, rows)
            return corrected, await self._page(query, corrected.match) if corrected.corrections else rows
        place = read_place(query.cursor, ordered(query, found, Parameters()))
        if not place.typos:
            return asked, await self._best(query, found, place)
        first = await self._page(msgspec.structs.replace(query, cursor=None), found)
        corrected = await self._corrected(query, asked, first)
        return corrected, await self._page(query, corrected.match)

    async def _best(self, query: SearchQuery, found: Match, place: Place | None) -> Sequence[Any]:
        """The rows of a page. By relevance, descriptions come last: they are looked into where names don't fill it."""
        if query.order == "relevance" and (place is None or place.keys[0]):
            rows = await self._page(query, found, "names")
            if len(rows) > query.limit:
                return rows
        return await self._page(query, found)

    async def _words(self, query: SearchQuery) -> _Words:
        found = terms(query.text)
        if not found:
            return _Words((), {}, None)
        return _Words(found, {}, match(query.text, found, await self._stems_of(query, found, {})))

    async def _corrected(self, query: SearchQuery, asked: _Words, typed: Sequence[Any]) -> _Words:
        """The words with those that they may stand for; the rows that have them as typed stay first."""
        alike = await corrections(
            self._database, [word for term in asked.terms if not term.phrase for word in term.words]
        )
        if not alike:
            return asked
        stems = await self._stems_of(query, asked.terms, alike)
        found = match(query.text, asked.terms, stems, alike)._replace(typed=tuple(row["id"] for row in typed))
        return _Words(asked.terms, alike, found)

    async def _stems_of(
        self, query: SearchQuery, found: Sequence[Term], alike: Mapping[str, Sequence[str]]
    ) -> dict[str, str]:
        asked = [word for term in found for word in term.words] + [word for words in alike.values() for word in words]
        return await self._stems.of(self._database, query.language, asked)

    async def _found(self, query: SearchQuery, asked: _Words | None, rows: Sequence[Any]) -> Found:
        found = None if asked is None else asked.match
        shown = rows[: query.limit]
        marks: list[dict[str, str]] = [{} for _ in shown]
        if query.highlight and asked is not None:
            texts = [msgspec.json.decode(row["texts"], type=Texts) for row in shown]
            searched = words_of(asked.terms, asked.corrections)
            marks = await highlight(self._database, texts, query.language, self._stems, searched)
        following = None
        if len(rows) > query.limit:
            order = ordered(query, found, Parameters())
            following = write_place(shown[-1], order, typos=asked is not None and bool(asked.corrections))
        return Found(
            hits=tuple(
                Hit(id=row["id"], body=row["body"], in_stock=row["in_stock"], highlights=marked)
                for row, marked in zip(shown, marks, strict=True)
            ),
            facets=await facets.count(self._database, query, found),
            next=following,
        )
