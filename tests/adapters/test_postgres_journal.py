"""The journal on PostgreSQL: the contract, and what only a real server can show."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.conformance.journal import KIND, JournalContract, Journals, append, turn, versions
from tests.conformance.journal_races import JournalRaces
from tests.conformance.journal_sharing import JournalSharing
from tests.conformance.toys import eventually
from ultramarket.adapters import postgres_journal
from ultramarket.adapters.postgres_journal import PostgresJournal, classify
from ultramarket.ports.journal import (
    CommitBusy,
    CommitRefused,
    Fenced,
    Journal,
    JournalError,
    JournalFailed,
    JournalFull,
    JournalLost,
    Lane,
    ReplyRow,
    TurnRows,
    Wanted,
)

Sql = Any  # asyncpg.Connection is generic in its stubs only
BACKENDS = "select pid from pg_stat_activity where datname = current_database() and application_name = $1"


@pytest_asyncio.fixture
async def journals(dsn: str) -> AsyncIterator[Journals]:
    opened: list[Journal] = []

    async def another() -> Journal:
        journal = PostgresJournal(dsn)
        await journal.open()
        opened.append(journal)
        return journal

    yield another
    for journal in opened:
        await journal.close()


@pytest_asyncio.fixture
async def sql(dsn: str) -> AsyncIterator[Sql]:
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


class TestPostgresJournal(JournalContract):
    """Passes the contract of every journal."""


class TestPostgresJournalRaces(JournalRaces):
    """Passes the second half of the contract."""


class TestPostgresJournalSharing(JournalSharing):
    """Passes what several processes need."""


async def terminate(sql: Sql) -> int:
    """End every connection of a journal; gives how many."""
    pids = await sql.fetch(BACKENDS, "ultramarket journal")
    for row in pids:
        await sql.execute("select pg_terminate_backend($1, 5000)", row["pid"])
    return len(pids)


async def waits_for_a_lock(sql: Sql) -> None:
    """Wait until a journal's statement waits for a lock."""

    async def waits() -> bool:
        return bool(
            await sql.fetchval(
                "select count(*) from pg_stat_activity where datname = current_database() "
                "and application_name = 'ultramarket journal' and wait_event_type = 'Lock'"
            )
        )

    await eventually(waits)


async def test_a_take_over_waits_for_a_commit_in_flight_and_sees_its_tail(journals: Journals, sql: Sql) -> None:
    first, second = await journals(), await journals()
    lane = await first.take(KIND, 0, "first")
    async with sql.transaction():
        # Holds the commit up in its middle: the claim it inserts waits for this transaction's.
        await sql.execute("insert into claim values ('sku', 'X', 'thing', 'elsewhere')")
        commit = asyncio.create_task(append(first, lane, turn("a", 0, 1, events=2, claims=[("sku", "X")])))
        await waits_for_a_lock(sql)
        take = asyncio.create_task(second.take(KIND, 0, "second"))
        await asyncio.sleep(0.05)
        assert not take.done()
        await sql.execute("delete from claim")
    assert await commit == Lane(KIND, 0, 1, 2)
    assert await take == Lane(KIND, 0, 2, 2)


async def test_a_commit_behind_a_take_over_is_fenced(journals: Journals, sql: Sql) -> None:
    first = await journals()
    lane = await first.take(KIND, 0, "first")
    async with sql.transaction():
        await sql.execute("update partition set epoch = epoch + 1")
        commit = asyncio.create_task(append(first, lane, turn("a", 0, 1)))
        await waits_for_a_lock(sql)
    with pytest.raises(Fenced):
        await commit
    assert await versions(first, "a") == {}


async def test_who_sees_a_seq_has_seen_all_before_it(journals: Journals, sql: Sql) -> None:
    journal = await journals()
    seen: list[list[int]] = []
    done = asyncio.Event()

    async def read() -> None:
        while not done.is_set():
            seen.append([row["seq"] for row in await sql.fetch("select seq from event order by seq")])

    reader = asyncio.create_task(read())
    lane = await journal.take(KIND, 0, "me")
    for n in range(60):
        lane = await append(journal, lane, turn(f"e{n}", 0, lane.tail + 1, events=1 + n % 3))
    done.set()
    await reader
    assert lane.tail == 120
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in seen)


async def test_replies_are_found_for_24_hours(journals: Journals, sql: Sql) -> None:
    journal = await journals()
    lane = await journal.take(KIND, 0, "me")
    await journal.commit([(lane, 0)], [TurnRows(KIND, 0, "a", 0, 0, replies=[ReplyRow("k", b"h", "1")])])
    wanted = Wanted(replies=[(KIND, "a", "k")])
    await sql.execute("update reply set at = at - interval '23 hours 59 minutes'")
    assert (await journal.load(wanted)).replies == {(KIND, "a", "k"): (b"h", "1")}
    await sql.execute("update reply set at = at - interval '2 minutes'")
    assert (await journal.load(wanted)).replies == {}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("select 1 / 0", Fenced),
        ("select cast('x' as int)", CommitRefused),
        ("select (select 1 union select 2)", CommitRefused),
        ("insert into setting values (null, 'x')", CommitRefused),
        ("insert into setting values ('partitions', 'x')", Fenced),
        ("do $$ begin raise exception 'busy' using errcode = '40001'; end $$", CommitBusy),
        ("do $$ begin raise exception 'too much' using errcode = '54000'; end $$", CommitRefused),
        ("do $$ begin raise exception 'full' using errcode = '53100'; end $$", JournalFull),
        ("do $$ begin raise exception 'gone' using errcode = '08006'; end $$", JournalLost),
        ("do $$ begin raise exception 'disk' using errcode = '58030'; end $$", JournalFull),
        ("do $$ begin raise exception 'damaged' using errcode = 'XX001'; end $$", JournalFailed),
        ("select * from a_table_that_is_not_there", JournalFailed),
        ("set statement_timeout = 1; select pg_sleep(10)", JournalLost),
        ("begin read only; insert into setting values ('x', 'x')", JournalLost),
        ("insert into claim values ('a', 'b', 'c', 'd'), ('a', 'b', 'c', 'e')", CommitRefused),
    ],
)
async def test_sql_errors_are_told_apart(sql: Sql, statement: str, expected: type[JournalError]) -> None:
    with pytest.raises(asyncpg.PostgresError) as caught:
        await sql.execute(statement)
    assert isinstance(classify(caught.value), expected)


async def test_a_deadlock_is_busy(dsn: str, sql: Sql) -> None:
    other = await asyncpg.connect(dsn)
    try:
        await sql.execute("insert into setting values ('a', ''), ('b', '')")
        first, second = sql.transaction(), other.transaction()
        await first.start()
        await second.start()
        await sql.execute("update setting set value = '1' where name = 'a'")
        await other.execute("update setting set value = '1' where name = 'b'")
        results = await asyncio.gather(
            sql.execute("update setting set value = '1' where name = 'b'"),
            other.execute("update setting set value = '1' where name = 'a'"),
            return_exceptions=True,
        )
        [error] = [result for result in results if isinstance(result, asyncpg.PostgresError)]
        assert isinstance(classify(error), CommitBusy)
    finally:
        await first.rollback()
        await second.rollback()
        await other.close()


async def test_an_error_of_no_known_class_is_the_journals_too(sql: Sql, journals: Journals) -> None:
    journal = await journals()
    await sql.execute("drop table claim")
    with pytest.raises(JournalFailed, match=r"^42P01 "):
        await journal.taken_claims([("a", "b")])


async def test_a_terminated_connection_is_lost_and_can_be_opened_again(journals: Journals, sql: Sql) -> None:
    journal = await journals()
    lane = await journal.take(KIND, 0, "me")
    assert await terminate(sql) == 1
    with pytest.raises(JournalLost):
        await append(journal, lane, turn("a", 0, 1))
    with pytest.raises(JournalLost):
        await journal.load(Wanted(entities=[(KIND, "a")]))
    await journal.open()
    assert await versions(journal, "a") == {}
    await append(journal, lane, turn("a", 0, 1))


async def test_a_connection_terminated_in_the_middle_of_a_commit_is_lost(journals: Journals, sql: Sql) -> None:
    journal = await journals()
    lane = await journal.take(KIND, 0, "me")
    async with sql.transaction():
        await sql.execute("insert into claim values ('sku', 'X', 'thing', 'elsewhere')")
        commit = asyncio.create_task(append(journal, lane, turn("a", 0, 1, claims=[("sku", "X")])))
        await waits_for_a_lock(sql)
        await terminate(sql)
        with pytest.raises(JournalLost):
            await commit


async def test_a_cancelled_statement_drops_the_connection(journals: Journals, sql: Sql) -> None:
    journal = await journals()
    await journal.take(KIND, 0, "me")
    async with sql.transaction():
        await sql.execute("lock table partition")
        take = asyncio.create_task(journal.take(KIND, 0, "me"))
        await waits_for_a_lock(sql)
        take.cancel()
        with pytest.raises(asyncio.CancelledError):
            await take
    with pytest.raises(JournalLost):
        await journal.take(KIND, 0, "me")


async def test_a_server_that_is_not_there_is_lost() -> None:
    with pytest.raises(JournalLost):
        await PostgresJournal("postgresql://nobody@127.0.0.1:1/none").open()


async def test_a_server_that_says_nothing_any_more_counts_as_lost(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_journal, "ANSWER_SECONDS", 0.2)
    journal = PostgresJournal(dsn)
    await journal.open()
    with pytest.raises(JournalLost, match="broke"):
        await journal._run("select pg_sleep(10)")
    await journal.open()
    assert await journal.numbers("order_number", 1) != []
    await journal.close()
