"""Search on PostgreSQL passes the contract of every search engine, and tells what it asks."""

from collections.abc import Sequence

import pytest

from tests.conformance.search import NOON, SHIRTS, SearchContract, product, variant
from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.adapters.postgres_search import PostgresSearch
from ultramarket.adapters.postgres_search_words import Stems, configuration, slips_between, terms
from ultramarket.ports.search import Availability, SearchDocument, SearchQuery


class PostgresEngine:
    """The engine on the database of a test; what is committed is found."""

    def __init__(self, database: PostgresDatabase) -> None:
        self.search = PostgresSearch(database)
        self._database = database

    async def write(self, documents: Sequence[SearchDocument], levels: Sequence[Availability]) -> None:
        async with self._database.transaction() as connection:
            await self.search.write(connection, documents)
            await self.search.write_availability(connection, levels)

    async def refresh(self) -> None:
        """Nothing to wait for."""


@pytest.fixture
def engine(database: PostgresDatabase) -> PostgresEngine:
    return PostgresEngine(database)


class TestPostgresSearch(SearchContract):
    """The contract over PostgreSQL."""


async def test_what_is_written_is_there_with_its_transaction_or_not_at_all(
    database: PostgresDatabase, engine: PostgresEngine
) -> None:
    async def fail() -> None:
        async with database.transaction() as connection:
            await engine.search.write(connection, SHIRTS)
            raise RuntimeError("the view's offsets could not be moved")

    with pytest.raises(RuntimeError):
        await fail()
    assert (await engine.search.find(SearchQuery())).hits == ()


async def test_a_sale_that_leaves_some_writes_the_level_alone(
    database: PostgresDatabase, engine: PostgresEngine
) -> None:
    await engine.write([product("a", "A", variant("S"))], [Availability("S", 1, 5)])
    rows = "select (select xmin from product_card)::text || (select xmin from product_variant)::text as written"
    before = await database.fetchrow(rows)
    await engine.write([], [Availability("S", 2, 4)])
    assert await database.fetchrow(rows) == before
    await engine.write([], [Availability("S", 3, 0)])
    assert await database.fetchrow(rows) != before


async def test_every_stemmer_is_one_that_the_server_has(database: PostgresDatabase) -> None:
    for language in ("ar", "ca", "da", "de", "el", "en", "es", "eu", "fi", "fr", "ga", "hi", "hu", "hy", "id", "it"):
        assert await Stems().of(database, language, ["x1"])
    for language in ("lt", "nb", "ne", "nl", "nn", "no", "pt", "ro", "ru", "sr", "sv", "ta", "tr", "yi"):
        assert await Stems().of(database, language, ["x1"])


async def test_stems_are_asked_for_once() -> None:
    class Asked:
        calls: list[list[str]] = []  # noqa: RUF012 - of this test alone

        async def fetch(self, _sql: str, _dictionary: str, words: list[str]) -> list[dict[str, object]]:
            self.calls.append(words)
            return [{"word": word, "stems": [] if word == "the" else None} for word in words]

    stems, asked = Stems(), Asked()
    for _ in range(2):
        found = await stems.of(asked, "en", ["the", "x1"])  # type: ignore[arg-type]  # it is asked for nothing else
        assert found == {"the": "", "x1": "x1"}
    assert asked.calls == [["the", "x1"]]


def test_a_language_has_the_stems_of_its_first_part() -> None:
    assert configuration("de-AT") == "german"
    assert configuration("pt_BR") == "portuguese"
    assert configuration("ja") is None


def test_a_query_is_words_and_phrases_up_to_ten_words() -> None:
    assert terms('red "heavy cotton" "one" "') == (
        (("red",), False),
        (("heavy", "cotton"), True),
        (("one",), False),
    )
    assert sum(len(term.words) for term in terms('a b c d e f g h "i j k l" m')) == 10


@pytest.mark.parametrize(
    ("word", "other", "slips"),
    [("shirt", "shirt", 0), ("shrit", "shirt", 1), ("shrt", "shirt", 1), ("shirrt", "shirt", 1), ("cat", "dog", 3)],
)
def test_slips_are_letters_added_left_out_mistaken_or_exchanged(word: str, other: str, slips: int) -> None:
    assert slips_between(word, other) == slips


async def test_the_titles_of_a_language_give_the_order(database: PostgresDatabase) -> None:
    german = PostgresSearch(database, language="de")
    async with database.transaction() as connection:
        await german.write(
            connection,
            [
                product("a", {"en": "A", "de": "Z"}, created_at=NOON),
                product("b", {"en": "B", "de": "Y"}, created_at=NOON),
                product("c", {"fr": "X"}, created_at=NOON),
            ],
        )
    assert [hit.id for hit in (await german.find(SearchQuery(sort="title"))).hits] == ["c", "b", "a"]
