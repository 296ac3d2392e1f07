"""One owner at a time, and it holds on when its connection breaks."""

import asyncio
import os

import asyncpg
import pytest

from ultramarket.adapters import postgres_lock
from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.adapters.postgres_lock import OwnerLock
from ultramarket.errors import UltraMarketError


async def held(database: PostgresDatabase) -> int:
    row = await database.fetchrow(
        "select count(*) as n from pg_locks l join pg_database d on d.oid = l.database "
        "where l.locktype = 'advisory' and l.granted and d.datname = current_database()"
    )
    assert row is not None
    return int(row["n"])


async def cut(database: PostgresDatabase) -> None:
    await database.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
        "where datname = current_database() and application_name like 'ultramarket owner%'"
    )


async def until_held(database: PostgresDatabase, count: int) -> None:
    async with asyncio.timeout(20):
        while await held(database) != count:  # noqa: ASYNC110 - the event is in the server
            await asyncio.sleep(0.01)


async def test_a_second_owner_is_told_who_the_first_is(dsn: str, database: PostgresDatabase) -> None:
    first, second = OwnerLock(dsn), OwnerLock(dsn)
    await first.acquire()
    with pytest.raises(UltraMarketError, match=f"in use by ultramarket owner .* pid {os.getpid()} .since 20"):
        await second.acquire()
    await first.release()
    await first.release()
    await until_held(database, 0)
    await second.acquire()
    assert await held(database) == 1
    await second.release()


async def test_another_database_has_an_owner_of_its_own(dsn: str, server: str) -> None:
    ours, theirs = OwnerLock(dsn), OwnerLock(server)
    await ours.acquire()
    await theirs.acquire()
    await ours.release()
    await theirs.release()


async def test_a_lock_whose_connection_broke_is_taken_again(
    dsn: str, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_lock, "RETRY_SECONDS", 0.01)
    lock = OwnerLock(dsn)
    await lock.acquire()
    keeper = asyncio.create_task(lock.keep())
    before = lock._connection
    await cut(database)
    async with asyncio.timeout(20):
        while lock._connection is before:  # noqa: ASYNC110 - the keeper has no event to tell
            await asyncio.sleep(0.01)
    await until_held(database, 1)
    assert not keeper.done()
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
    await lock.release()


async def test_a_lock_that_somebody_else_got_is_given_up(
    dsn: str, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_lock, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(postgres_lock, "GIVE_UP_SECONDS", 0.05)
    lock, thief = OwnerLock(dsn), OwnerLock(dsn)
    await lock.acquire()
    await cut(database)
    await until_held(database, 0)
    await thief.acquire()
    with pytest.raises(UltraMarketError, match="in use by"):
        await asyncio.wait_for(lock.keep(), 20)
    await thief.release()


async def test_a_lock_whose_session_went_without_a_word_is_missed(
    dsn: str, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_lock, "PING_SECONDS", 0.01)
    monkeypatch.setattr(postgres_lock, "ANSWER_SECONDS", 0.2)
    lock, thief = OwnerLock(dsn), OwnerLock(dsn)
    thief._name = "ultramarket owner elsewhere"
    await lock.acquire()
    connection = lock._connection
    assert connection is not None
    transport = connection._transport
    transport.pause_reading()  # type: ignore[attr-defined]  # what the server says, its farewell too, stays unheard
    await cut(database)
    await until_held(database, 0)
    await thief.acquire()
    with pytest.raises(UltraMarketError, match="in use by ultramarket owner elsewhere"):
        await asyncio.wait_for(lock.keep(), 20)
    await thief.release()
    await lock.release()


async def test_a_database_that_is_away_is_waited_for(
    dsn: str, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_lock, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(postgres_lock, "GIVE_UP_SECONDS", 0.0)
    lock = OwnerLock(dsn)
    await lock.acquire()
    keeper = asyncio.create_task(lock.keep())
    connect, tries = asyncpg.connect, list[int]()

    async def away(*args: object, **options: object) -> object:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("by the test")
        return await connect(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncpg, "connect", away)
    await cut(database)
    async with asyncio.timeout(20):
        while len(tries) < 3:  # noqa: ASYNC110 - the keeper has no event to tell
            await asyncio.sleep(0.01)
    await until_held(database, 1)
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
    await lock.release()


async def test_a_lock_let_go_on_purpose_is_not_taken_again(dsn: str, database: PostgresDatabase) -> None:
    lock = OwnerLock(dsn)
    await lock.acquire()
    await lock.release()
    await until_held(database, 0)
    assert not lock._lost.is_set()
