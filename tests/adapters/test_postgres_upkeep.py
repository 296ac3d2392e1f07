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
    await upkeep(database, 16)
    assert await tables(database, "reply") == replies
    assert await tables(database, "event") == events
    await upkeep(database, 16)


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
            round_ = asyncio.create_task(upkeep(database, 16))
            while not round_.done():
                await writer.execute("insert into reply values ('toy', 'a', 'key', '', '{}')")
            await writer.close()
            assert await round_ is False
        assert await upkeep(database, 16) is True
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
                await upkeep(database, 16)
        assert await upkeep(database, 16) is True
    finally:
        await reader.close()


async def test_another_number_of_partitions_stops(database: PostgresDatabase) -> None:
    with pytest.raises(UltraMarketError, match="made with 16 partitions a kind, this program has 32"):
        await upkeep(database, 32)
    with pytest.raises(UltraMarketError):
        check_partitions(None, 16)


def test_a_day_is_kept_until_the_day_after_the_next_has_begun() -> None:
    names = ["reply_2026_02_26", "reply_2026_02_27", "reply_2026_02_28", "reply_2026_03_01", "reply_default"]
    assert expired(names, date(2026, 3, 1)) == ["reply_2026_02_26"]


async def test_a_round_that_can_not_reach_the_database_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = asyncio.Queue[int]()

    async def away(database: object, partitions: int) -> None:
        del database
        rounds.put_nowait(partitions)
        raise Unavailable("database_unavailable", "by the test")

    monkeypatch.setattr(postgres_upkeep, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(postgres_upkeep, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(postgres_upkeep, "upkeep", away)
    task = asyncio.create_task(keep_up(None, 16))  # type: ignore[arg-type]
    async with asyncio.timeout(20):
        assert [await rounds.get() for _ in range(3)] == [16, 16, 16]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
