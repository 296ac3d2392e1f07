import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.errors import Unavailable
from ultramarket.ports.database import Connection
from ultramarket.views.projection import LogEvent
from ultramarket.views.projector import Projector

SOON = 10.0
"""Seconds until a test gives up on what should happen at once."""


class Notes:
    """A view that writes down what it is told, in order; `refuse` names data it can't take."""

    name = "notes"
    kinds = ("cart", "order")
    tables = ("note",)
    needs_data = True

    def __init__(self, refuse: Callable[[LogEvent], Exception | None] = lambda _: None) -> None:
        self.refuse = refuse
        self.batches: list[int] = []
        self.entered = asyncio.Event()

    async def apply(self, connection: Connection, events: Sequence[LogEvent]) -> None:
        self.batches.append(len(events))
        self.entered.set()
        for event in events:
            await connection.execute(
                "insert into note (kind, no, seq, text) values ($1, $2, $3, $4)",
                event.kind,
                event.no,
                event.seq,
                event.data,
            )
            error = self.refuse(event)
            if error is not None:
                raise error


@pytest.fixture
async def notes(database: PostgresDatabase) -> Notes:
    await database.execute("create table note (n serial, kind text, no int, seq bigint, text text)")
    return Notes()


@asynccontextmanager
async def running(database: PostgresDatabase, *views: Any, **options: Any) -> AsyncIterator[Projector]:
    projector = Projector(database, views, **options)
    await projector.start()
    try:
        yield projector
    finally:
        await projector.stop()


async def written(database: PostgresDatabase) -> list[tuple[str, int, int, str]]:
    rows = await database.fetch("select kind, no, seq, text from note order by n")
    return [(row["kind"], row["no"], row["seq"], row["text"]) for row in rows]


async def test_events_of_every_partition_come_once_and_in_order(
    database: PostgresDatabase, log: Any, notes: Notes
) -> None:
    for n in range(25):
        await log.append("cart", "a", n, no=n % 3, data=str(n))
    await log.append("order", "o", data="25")
    await log.append("payment", "p", data="not followed")
    async with running(database, notes, batch=4) as projector:
        assert await projector.wait("cart", 0, 9, SOON)
        assert await projector.wait("cart", 1, 8, SOON)
        assert await projector.wait("cart", 2, 8, SOON)
        assert await projector.wait("order", 0, 1, SOON)
    found = await written(database)
    assert len(found) == 26
    for no in range(3):
        texts = [text for kind, partition, _, text in found if (kind, partition) == ("cart", no)]
        assert texts == [str(n) for n in range(25) if n % 3 == no]


async def test_a_restart_goes_on_where_it_was(database: PostgresDatabase, log: Any, notes: Notes) -> None:
    await log.append("cart", "a", data="1")
    async with running(database, notes) as projector:
        assert await projector.wait("cart", 0, 1, SOON)
    await log.append("cart", "a", 2, data="2")
    async with running(database, notes) as projector:
        assert await projector.wait("cart", 0, 2, SOON)
    assert [text for *_, text in await written(database)] == ["1", "2"]


async def test_wake_brings_a_new_event_long_before_the_poll(database: PostgresDatabase, log: Any, notes: Notes) -> None:
    async with running(database, notes, poll_seconds=1000.0) as projector:
        assert await projector.wait("cart", 0, 0, SOON)
        waiting = asyncio.create_task(projector.wait("cart", 0, 1, SOON))
        await asyncio.sleep(0)
        await log.append("cart", "a", data="1")
        projector.wake("cart")
        assert await waiting


async def test_a_poll_finds_what_nobody_woke_it_for(database: PostgresDatabase, log: Any, notes: Notes) -> None:
    async with running(database, notes, poll_seconds=0.01):
        await log.append("cart", "a", data="1")
        async with asyncio.timeout(SOON):
            await notes.entered.wait()


async def test_waiting_for_what_does_not_come_ends_in_time(database: PostgresDatabase, notes: Notes) -> None:
    async with running(database, notes) as projector:
        assert not await projector.wait("cart", 0, 99, 0.05)
        assert not await projector.wait("cart", 77, 1, SOON)


async def test_a_kind_that_no_view_follows_needs_no_waiting(database: PostgresDatabase, notes: Notes) -> None:
    projector = Projector(database, [notes])
    assert await projector.wait("payment", 3, 99, 0.0)
    assert await projector.wait("payment", 77, 99, 0.0)


async def test_an_event_that_cant_be_taken_is_parked_and_the_rest_goes_on(
    database: PostgresDatabase, log: Any, notes: Notes
) -> None:
    for n in range(1, 11):
        await log.append("cart", "a", n, data="bad" if n in {4, 5} else str(n))
    notes.refuse = lambda event: LookupError("can't be read") if event.data == "bad" else None
    async with running(database, notes) as projector:
        assert await projector.wait("cart", 0, 10, SOON)
    assert [seq for _, _, seq, _ in await written(database)] == [1, 2, 3, 6, 7, 8, 9, 10]
    rows = await database.fetch("select view, kind, no, seq, reason from view_parked order by seq")
    assert [tuple(row) for row in rows] == [
        ("notes", "cart", 0, 4, "LookupError: can't be read"),
        ("notes", "cart", 0, 5, "LookupError: can't be read"),
    ]


async def test_what_is_unavailable_is_tried_again_and_never_parked(
    database: PostgresDatabase, log: Any, notes: Notes
) -> None:
    answers = iter([Unavailable("database_unavailable", "away"), None])
    notes.refuse = lambda _: next(answers)
    await log.append("cart", "a", data="1")
    async with running(database, notes) as projector:
        assert await projector.wait("cart", 0, 1, SOON)
    assert [text for *_, text in await written(database)] == ["1"]
    assert await database.fetch("select * from view_parked") == []


async def test_a_lost_connection_is_survived(database: PostgresDatabase, log: Any, notes: Notes, dsn: str) -> None:
    other = await asyncpg.connect(dsn)
    async with running(database, notes) as projector:
        await log.append("cart", "a", data="1")
        assert await projector.wait("cart", 0, 1, SOON)
        await other.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        # The writer shares the pool: a connection that died without its knowing refuses the first write.
        async with asyncio.timeout(SOON):
            while True:
                with contextlib.suppress(Unavailable):
                    await log.append("cart", "a", 2, data="2")
                    break
        assert await projector.wait("cart", 0, 2, SOON)
    await other.close()
    assert [text for *_, text in await written(database)] == ["1", "2"]


async def test_two_processes_project_every_event_once(
    database: PostgresDatabase, dsn: str, log: Any, notes: Notes
) -> None:
    second = await PostgresDatabase.connect(dsn)
    try:
        async with running(database, notes, batch=3) as one, running(second, Notes(), batch=3) as other:
            for n in range(1, 61):
                await log.append("cart", "a", n, data=str(n))
                one.wake()
                other.wake()
            assert await one.wait("cart", 0, 60, SOON)
            assert await other.wait("cart", 0, 60, SOON)
    finally:
        await second.close()
    assert [seq for _, _, seq, _ in await written(database)] == list(range(1, 61))


async def test_who_does_not_lead_waits_for_the_one_that_does(
    database: PostgresDatabase, dsn: str, log: Any, notes: Notes
) -> None:
    second = await PostgresDatabase.connect(dsn)
    gate = asyncio.Event()

    class Slow(Notes):
        async def apply(self, connection: Connection, events: Sequence[LogEvent]) -> None:
            await super().apply(connection, events)
            await gate.wait()

    slow = Slow()
    try:
        async with running(database, slow):
            await log.append("cart", "a", data="1")
            async with asyncio.timeout(SOON):
                await slow.entered.wait()
            async with running(second, notes) as standby:
                assert not await standby.wait("cart", 0, 1, 0.2)
                gate.set()
                assert await standby.wait("cart", 0, 1, SOON)
    finally:
        await second.close()
    assert notes.batches == []
    assert len(await written(database)) == 1


async def test_stopping_in_the_middle_of_a_turn_leaves_nothing_of_it(
    database: PostgresDatabase, log: Any, notes: Notes
) -> None:
    class Endless(Notes):
        async def apply(self, connection: Connection, events: Sequence[LogEvent]) -> None:
            await super().apply(connection, events)
            await asyncio.Event().wait()

    endless = Endless()
    await log.append("cart", "a", data="1")
    async with running(database, endless):
        async with asyncio.timeout(SOON):
            await endless.entered.wait()
    assert await written(database) == []
    async with running(database, notes) as projector:
        assert await projector.wait("cart", 0, 1, SOON)
    assert len(await written(database)) == 1


async def test_the_lag_tells_events_and_the_age_of_the_oldest(
    database: PostgresDatabase, log: Any, notes: Notes
) -> None:
    for n in range(1, 4):
        await log.append("cart", "a", n, data=str(n), age=3600.0 / n)
    notes.refuse = lambda _: Unavailable("database_unavailable", "away")
    async with running(database, notes) as projector:
        async with asyncio.timeout(SOON):
            await notes.entered.wait()
        events, seconds = projector.lag()["notes"]
        assert events == 3
        assert 3600 <= seconds < 3700
        notes.refuse = lambda _: None
        assert await projector.wait("cart", 0, 3, SOON)
    async with running(database, notes) as projector:
        assert await projector.wait("cart", 0, 3, SOON)
        assert projector.lag() == {"notes": (0, 0.0)}


async def test_data_is_read_only_for_a_view_that_asks_for_it(
    database: PostgresDatabase, log: Any, notes: Notes
) -> None:
    notes.needs_data = False
    await log.append("cart", "a", data="big")
    async with running(database, notes) as projector:
        assert await projector.wait("cart", 0, 1, SOON)
    assert await written(database) == [("cart", 0, 1, "")]


async def test_an_error_outside_of_any_event_is_logged_and_tried_again(
    database: PostgresDatabase, log: Any, notes: Notes
) -> None:
    await log.append("cart", "a", data="1")
    await database.execute("alter table view_offset rename to view_offset_away")
    async with running(database, notes) as projector:
        assert not await projector.wait("cart", 0, 1, 0.05)
        await database.execute("alter table view_offset_away rename to view_offset")
        assert await projector.wait("cart", 0, 1, SOON)


async def test_a_process_that_was_overtaken_while_it_looked_for_an_offender_starts_over(
    database: PostgresDatabase, log: Any, notes: Notes
) -> None:
    class Overtaken(Notes):
        async def apply(self, connection: Connection, events: Sequence[LogEvent]) -> None:
            if len(events) > 1:
                raise LookupError("one of them")
            await notes.apply(connection, events)
            # As another process would, between the halves of this one.
            await database.execute("update view_offset set seq = 1 where kind = 'cart' and no = 1")

    await log.append("cart", "a", no=0, data="0")
    await log.append("cart", "b", no=1, data="1")
    async with running(database, Overtaken()) as projector:
        assert await projector.wait("cart", 1, 1, SOON)
    assert [text for *_, text in await written(database)] == ["0"]
    assert await database.fetch("select * from view_parked") == []


async def test_an_error_while_reading_the_log_parks_nothing(database: PostgresDatabase, log: Any, notes: Notes) -> None:
    await log.append("cart", "a", data="1")
    await database.execute("alter table event rename column data to data_away")
    async with running(database, notes) as projector:
        assert not await projector.wait("cart", 0, 1, 0.05)
        await database.execute("alter table event rename column data_away to data")
        assert await projector.wait("cart", 0, 1, SOON)
    assert await database.fetch("select * from view_parked") == []


async def test_the_position_is_the_same_in_every_process_and_changes_with_what_is_shown(
    database: PostgresDatabase, log: Any, notes: Notes
) -> None:
    async with running(database, notes) as one, running(database, Notes()) as other:
        assert (one.position("notes"), one.position("unheard-of")) == (None, None)
        seen = []
        for n in range(3):
            await log.append("cart", "a", n, no=n, data=str(n))
            one.wake()
            assert await one.wait("cart", n, 1, SOON)
            assert await other.wait("cart", n, 1, SOON)
            assert len(await written(database)) == n + 1
            seen.append(one.position("notes"))
            assert other.position("notes") == one.position("notes")
        assert len(set(seen)) == 3
        assert None not in seen
