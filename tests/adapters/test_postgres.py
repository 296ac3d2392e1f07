import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.errors import Unavailable

BACKEND = "select pg_backend_pid() as pid"


async def _terminate(dsn: str, pid: int) -> None:
    other = await asyncpg.connect(dsn)
    try:
        # With a timeout it waits until the backend is gone.
        assert await other.fetchval("select pg_terminate_backend($1, 5000)", pid)
    finally:
        await other.close()


async def test_rows_are_reached_by_name_and_a_command_tells_its_tag(database: PostgresDatabase) -> None:
    assert await database.execute("create table t (n int)") == "CREATE TABLE"
    assert await database.execute("insert into t select generate_series(1, 3)") == "INSERT 0 3"
    assert [row["n"] for row in await database.fetch("select n from t order by n")] == [1, 2, 3]
    assert await database.fetchrow("select n from t where n > $1", 3) is None


async def test_times_come_back_aware_and_in_utc(database: PostgresDatabase) -> None:
    row = await database.fetchrow("select '2026-03-01 12:00:00+02'::timestamptz as at")
    assert row is not None
    assert row["at"] == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert row["at"].utcoffset() == timedelta(0)


async def test_a_transaction_commits_at_its_end_and_rolls_back_on_an_exception(database: PostgresDatabase) -> None:
    await database.execute("create table t (n int)")
    async with database.transaction() as connection:
        await connection.execute("insert into t values (1)")

    async def change_of_mind() -> None:
        async with database.transaction() as connection:
            await connection.execute("insert into t values (2)")
            raise LookupError

    with pytest.raises(LookupError):
        await change_of_mind()
    assert [row["n"] for row in await database.fetch("select n from t")] == [1]


async def test_an_error_of_the_statement_passes_as_it_is(database: PostgresDatabase) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        await database.fetch("select * from nothing_here")
    with pytest.raises(asyncpg.InterfaceError):
        await database.fetch("select 1 as n", "one argument too many")


async def test_a_lost_connection_is_unavailable_and_the_next_call_has_a_new_one(
    database: PostgresDatabase, dsn: str
) -> None:
    pids: list[int] = []

    async def statement_on_a_dead_connection() -> None:
        async with database.transaction() as connection:
            pids.append((await connection.fetch(BACKEND))[0]["pid"])
            await _terminate(dsn, pids[0])
            await connection.fetch("select 1")

    with pytest.raises(Unavailable) as caught:
        await statement_on_a_dead_connection()
    assert caught.value.code == "database_unavailable"
    assert (await database.fetch(BACKEND))[0]["pid"] not in pids


async def test_a_connection_lost_before_the_commit_is_unavailable(database: PostgresDatabase, dsn: str) -> None:
    async def commit_on_a_dead_connection() -> None:
        async with database.transaction() as connection:
            await _terminate(dsn, (await connection.fetch(BACKEND))[0]["pid"])

    with pytest.raises(Unavailable):
        await commit_on_a_dead_connection()


async def test_the_exception_of_a_block_wins_over_the_loss_of_its_connection(
    database: PostgresDatabase, dsn: str
) -> None:
    async def error_on_a_dead_connection() -> None:
        async with database.transaction() as connection:
            await _terminate(dsn, (await connection.fetch(BACKEND))[0]["pid"])
            raise LookupError

    with pytest.raises(LookupError):
        await error_on_a_dead_connection()


async def test_no_free_connection_in_time_is_unavailable(dsn: str) -> None:
    database = await PostgresDatabase.connect(dsn, min_size=1, max_size=1, acquire_seconds=0.05)
    try:
        async with database.transaction():
            with pytest.raises(Unavailable):
                await database.fetch("select 1")
        assert len(await database.fetch("select 1")) == 1
    finally:
        await database.close()


async def test_a_statement_that_takes_too_long_is_unavailable(dsn: str) -> None:
    database = await PostgresDatabase.connect(dsn, command_seconds=0.05)
    try:
        with pytest.raises(Unavailable):
            await database.fetch("select pg_sleep(10)")
    finally:
        await database.close()


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await PostgresDatabase.connect("postgresql://nobody@127.0.0.1:1/none")


async def test_a_closed_pool_is_unavailable(dsn: str) -> None:
    database = await PostgresDatabase.connect(dsn)
    await database.close()
    with pytest.raises(Unavailable):
        await database.fetch("select 1")


async def test_a_cancelled_call_gives_its_connection_back(dsn: str) -> None:
    database = await PostgresDatabase.connect(dsn, min_size=1, max_size=1)
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await database.fetch("select pg_sleep(10)")
        assert len(await database.fetch("select 1")) == 1
    finally:
        await database.close()


async def test_the_connections_are_listed_by_name(database: PostgresDatabase) -> None:
    row = await database.fetchrow("select application_name as name from pg_stat_activity where pid = pg_backend_pid()")
    assert row is not None
    assert row["name"] == "ultramarket tests"


def test_a_plain_test_may_use_a_database_too(dsn: str) -> None:
    assert "um_test_" in dsn
