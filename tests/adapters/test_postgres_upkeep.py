"""The log's months and the replies' days are made ahead of time; old replies go."""

import asyncio
from datetime import date

import asyncpg
import pytest

from ultramarket.adapters import postgres_upkeep
from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.adapters.postgres_upkeep import check_partitions, expired, keep_up, upkeep
from ultramarket.errors import UltraMarketError, Unavailable


async def tables(database: PostgresDatabase, parent: str) -> list[str]:
    rows = await database.fetch(
        "select c.relname::text as name from pg_inherits i join pg_class c on c.oid = i.inhrelid "
        "where i.inhparent = $1::text::regclass order by 1",
        parent,
    )
    return [row["name"] for row in rows]


async def test_days_and_months_ahead_are_made_and_days_that_are_over_go(database: PostgresDatabase) -> None:
    replies, events = await tables(database, "reply"), await tables(database, "event")
    assert (len(replies), len(events)) == (9, 5)
    await database.execute(
        "create table reply_2020_01_01 partition of reply for values from ('2020-01-01') to ('2020-01-02')"
    )
    await database.execute(f'drop table "{replies[-1]}"; drop table "{events[-1]}"')
    await upkeep(database)
    assert await tables(database, "reply") == replies
    assert await tables(database, "event") == events
    await upkeep(database)


async def test_a_long_reader_stops_neither_upkeep_nor_commits(dsn: str, database: PostgresDatabase) -> None:
    replies = await tables(database, "reply")
    await database.execute(
        "create table reply_2020_01_01 partition of reply for values from ('2020-01-01') to ('2020-01-02')"
    )
    reader = await asyncpg.connect(dsn)
    try:
        async with reader.transaction():
            await reader.execute("lock table reply in access share mode")  # as pg_dump does
            writer = await asyncpg.connect(dsn, server_settings={"lock_timeout": "5s"})
            round_ = asyncio.create_task(upkeep(database))
            while not round_.done():
                await writer.execute("insert into reply values ('toy', 'a', 'key', '', '{}')")
            await writer.close()
            assert await round_ is False
        assert await upkeep(database) is True
        assert await tables(database, "reply") == replies
    finally:
        await reader.close()


async def test_tables_of_tomorrow_that_can_not_be_made_stop(dsn: str, database: PostgresDatabase) -> None:
    for name in (await tables(database, "reply"))[1:]:
        await database.execute(f'drop table "{name}"')
    reader = await asyncpg.connect(dsn)
    try:
        async with reader.transaction():
            await reader.execute("lock table reply in access share mode")
            with pytest.raises(Unavailable):
                await upkeep(database)
        assert await upkeep(database) is True
    finally:
        await reader.close()


async def test_another_number_of_partitions_stops(database: PostgresDatabase) -> None:
    await database.execute("update setting set value = '32' where name = 'partitions'")
    with pytest.raises(UltraMarketError, match="made with partitions = 32, this program has 16"):
        await upkeep(database)
    with pytest.raises(UltraMarketError):
        check_partitions(None)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            "update setting set value = '8' where name = 'partitions.review'",
            "partitions.review = 8, this program has 4",
        ),
        ("insert into setting values ('partitions.cart', '4')", "partitions.cart = 4, this program has None"),
        ("delete from setting where name = 'partitions.review'", "partitions.review = None, this program has 4"),
    ],
)
async def test_another_number_of_partitions_of_one_kind_stops(
    database: PostgresDatabase, change: str, text: str
) -> None:
    await database.execute(change)
    with pytest.raises(UltraMarketError, match=text):
        await upkeep(database)


def test_a_day_is_kept_until_the_day_after_the_next_has_begun() -> None:
    names = ["reply_2026_02_26", "reply_2026_02_27", "reply_2026_02_28", "reply_2026_03_01", "reply_default"]
    assert expired(names, date(2026, 3, 1)) == ["reply_2026_02_26"]


async def test_a_round_that_can_not_reach_the_database_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = asyncio.Queue[object]()

    async def away(database: object) -> None:
        rounds.put_nowait(database)
        raise Unavailable("database_unavailable", "by the test")

    monkeypatch.setattr(postgres_upkeep, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(postgres_upkeep, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(postgres_upkeep, "upkeep", away)
    task = asyncio.create_task(keep_up(None))  # type: ignore[arg-type]
    async with asyncio.timeout(20):
        assert [await rounds.get() for _ in range(3)] == [None, None, None]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
