"""Search over 100,000 variants: words, phrases, beginnings, typos, facets and suggestions, each on its own.

The search engine is asked in this process, without HTTP, so that its own time is seen; one query at a time, because the
goal is of a query and not of a queue.
"""

import os
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from time import perf_counter

import asyncpg

from scripts.benchmarks.catalogue import COLOURS
from scripts.benchmarks.meter import Meter
from scripts.benchmarks.rounds import Round, figures, percentile, timed
from scripts.benchmarks.rows import Row, Size
from scripts.benchmarks.shop import SIZES, postmaster
from scripts.benchmarks.statements import HOW, counted
from ultramarket.adapters.embedded_postgres import EmbeddedPostgres
from ultramarket.adapters.migrations import FOLDER, migrate
from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.adapters.postgres_search import PostgresSearch
from ultramarket.ports.search import Availability, SearchDocument, SearchQuery, SearchVariant

VARIANTS_AN_ENTITY = 50
"""Variants for each of `Size.entities`: 100,000 in a whole run."""
GOAL = "p99 under 50 ms"
_OF_A_PRODUCT = len(SIZES)
_BATCH = 500
_VOCABULARY = 5_000
_DESCRIPTION = 60
"""Words of a description."""
_COMMON = ("cotton", "heavy", "shirt", "jacket", "trousers", "running", "classic", "organic", "winter", "summer")
_SYLLABLES = (
    "ba",
    "con",
    "del",
    "fir",
    "gor",
    "hin",
    "jal",
    "kem",
    "lor",
    "mun",
    "nes",
    "pol",
    "rit",
    "sta",
    "tur",
    "vex",
)
_MADE = datetime(2026, 1, 1, tzinfo=UTC)

Ask = Callable[[int], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Engine:
    """The filled search engine, and what measures it."""

    search: PostgresSearch
    meter: Meter
    dsn: str
    log: Path


async def run(work: Path, size: Size, log_level: str) -> list[Row]:  # noqa: ARG001 - every benchmark is called alike
    """The rows of each kind of query."""
    products = max(40, size.entities * VARIANTS_AN_ENTITY // _OF_A_PRODUCT)
    with EmbeddedPostgres(work / "search") as dsn:
        connection = await asyncpg.connect(dsn)
        await migrate(connection, FOLDER)
        database = await PostgresDatabase.connect(dsn)
        try:
            seconds = await _fill(database, products)
            search = PostgresSearch(database)
            log = work / "search" / "postgres.log"
            meter = Meter(os.getpid(), postmaster(work / "search"), connection)
            engine = Engine(search, meter, dsn, log)
            about = f"{products * _OF_A_PRODUCT:,} variants of {products:,} products, written at "
            about += f"{products / seconds:,.0f} products/s; one query at a time, asked in this process without HTTP"
            operations = size.part(10)
            return [await _row(engine, name, ask, operations, about) for name, ask in _kinds(search, products).items()]
        finally:
            await connection.close()
            await database.close()


def _kinds(search: PostgresSearch, products: int) -> dict[str, Ask]:
    """The queries by name; the number of a query says which one it is."""
    vocabulary = words()
    facets = ("vendor", "type", "tag", "option.Size", "option.Colour", "price", "in_stock")

    def query(text: str, **more: object) -> Awaitable[object]:
        return search.find(SearchQuery(text=text, currency="USD", **more))  # type: ignore[arg-type]  # fields by name

    return {
        "search, a rare word": lambda n: query(vocabulary[n % len(vocabulary)]),
        "search, a common word": lambda n: query(_COMMON[n % len(_COMMON)]),
        "search, two words and the next page": lambda n: _two_pages(search, f"{_COMMON[n % 10]} {vocabulary[n % 50]}"),
        "search, a phrase": lambda n: query(f'"{_COMMON[n % 10]} {_COMMON[(n + 1) % 10]}"'),
        "search, a beginning": lambda n: query(vocabulary[n % len(vocabulary)][:5]),
        "search, a typo": lambda n: query(slipped(vocabulary[n * 7 % len(vocabulary)])),
        "search, a SKU": lambda n: query(sku(n * 7 % products, n % _OF_A_PRODUCT)),
        "search, highlights": lambda n: query(_COMMON[n % len(_COMMON)], highlight=True),
        "facets of a word": lambda n: query(vocabulary[n % 200], facets=facets),
        "facets of a common word": lambda n: query(
            _COMMON[n % len(_COMMON)], facets=("vendor", "option.Size", "price")
        ),
        "facets of filters": lambda n: query(
            "", facets=facets, vendors=(f"Vendor {n % 40}",), options={"Size": ("M", "L")}, price_max=Decimal(50)
        ),
        "facets of everything": lambda _: query("", facets=("vendor", "option.Size", "price")),
        "suggestions": lambda n: search.suggest(vocabulary[n % len(vocabulary)][: 2 + n % 4]),
        "list, the newest": lambda _: query(""),
    }


async def _two_pages(search: PostgresSearch, text: str) -> None:
    query = SearchQuery(text=text)
    cursor = (await search.find(query)).next
    if cursor is not None:
        await search.find(SearchQuery(text=text, cursor=cursor))


async def _row(engine: Engine, name: str, ask: Ask, operations: int, about: str) -> Row:
    async def one(_: None, number: int) -> None:
        await ask(number)

    for number in range(min(operations, 64)):
        await ask(number)
    took: Round = await timed([None], range(operations), one, engine.meter)
    few = min(operations, 32)
    async with counted(engine.dsn, engine.log) as found:
        for number in range(few):
            await ask(number)
    return Row(
        name=name,
        value=percentile(took.latencies, 0.99) * 1000,
        unit="ms p99",
        goal=GOAL,
        conditions=f"{about}; {HOW}",
        operation=figures([took], found.count / few),
    )


async def _fill(database: PostgresDatabase, products: int) -> float:
    """Write the catalogue; gives the seconds that it took."""
    search = PostgresSearch(database)
    vocabulary = words()
    began = perf_counter()
    for start in range(0, products, _BATCH):
        batch = [document(number, vocabulary) for number in range(start, min(start + _BATCH, products))]
        levels = [
            Availability(variant.sku, 1, (number + place) % 5)
            for number, each in enumerate(batch, start)
            for place, variant in enumerate(each.variants)
        ]
        async with database.transaction() as connection:
            await search.write(connection, batch)
            await search.write_availability(connection, levels)
    seconds = perf_counter() - began
    for table in search.tables:
        await database.execute(f"vacuum analyze {table}")
    return seconds


def words() -> list[str]:
    """Words that were never heard of, always the same."""
    choices = random.Random(7)  # noqa: S311 - no secret
    made: dict[str, None] = {}
    while len(made) < _VOCABULARY:
        made["".join(choices.choices(_SYLLABLES, k=choices.randint(2, 4)))] = None
    return list(made)


def document(number: int, vocabulary: Sequence[str]) -> SearchDocument:
    """The product with this number: the earlier a word is in the vocabulary, the more products have it."""
    choices = random.Random(number)  # noqa: S311 - no secret

    def some(count: int) -> Iterator[str]:
        for _ in range(count):
            yield vocabulary[int(len(vocabulary) * choices.random() ** 3)]

    title = f"{choices.choice(_COMMON)} {' '.join(some(2))} {choices.choice(_COMMON)}"
    text = " ".join([*some(_DESCRIPTION), *choices.choices(_COMMON, k=2)])
    price = Decimal(choices.randint(500, 30_000)) / 100
    return SearchDocument(
        id=f"{number:040x}",
        version=1,
        handle=f"product-{number}",
        status="published" if number % 20 else "draft",
        title={"en": title.title()},
        description={"en": text},
        vendor=f"Vendor {number % 40}",
        type=f"Type {number % 12}",
        tags=(f"season {number % 4}", f"tag {number % 300}"),
        variants=tuple(
            SearchVariant(
                sku=sku(number, place),
                options={"Size": size, "Colour": COLOURS[(number + place) % len(COLOURS)]},
                prices={"USD": price + place, "EUR": price},
            )
            for place, size in enumerate(SIZES)
        ),
        created_at=_MADE + timedelta(seconds=number),
        body=f'{{"id": "{number}", "title": "{title}", "text": "{text}"}}',
    )


def sku(number: int, place: int) -> str:
    """The SKU of a variant."""
    return f"SE-{number:06}-{SIZES[place]}"


def slipped(word: str) -> str:
    """The word with two letters in its midst exchanged."""
    middle = len(word) // 2
    return word[: middle - 1] + word[middle] + word[middle - 1] + word[middle + 1 :]
