"""Durable timers: due now, later, moved, after a restart, stuck."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conformance.toys import Add, Hold, Put, SetWake, Shop, TamperedJournal, eventually, running
from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.errors import Unavailable
from ultramarket.ports.journal import JournalLost
from ultramarket.runtime.clock import Clock
from ultramarket.runtime.system import Options
from ultramarket.runtime.timers import Timers

START = datetime(2026, 3, 1, tzinfo=UTC)


async def woken(shop: Shop, id: str, *parts: tuple[str, ...]) -> None:
    async def same() -> bool:
        return (await shop.state(id)).woken == parts

    await eventually(same)


async def test_an_entity_is_woken_when_its_time_has_come_and_not_before(dsn: str, database: PostgresDatabase) -> None:
    async with running(Shop(dsn)) as shop:
        now = shop.runtime.now()
        await shop.ask("toy", "soon", SetWake(at=now + timedelta(seconds=0.1)))
        await shop.ask("toy", "late", SetWake(at=now + timedelta(seconds=50)))
        await shop.ask("toy", "later", SetWake(at=now + timedelta(days=50)))
        await shop.ask("toy", "past", SetWake(at=now - timedelta(days=50)))
        await woken(shop, "soon", ())
        await woken(shop, "past", ())
        rows = await database.fetch("select id from timer order by id")
        assert [row["id"] for row in rows] == ["late", "later"]
        assert (await shop.state("late")).woken == ()
        row = await database.fetchrow("select at, type from event where id = 'soon' and type = 'Woken'")
        assert row is not None
        assert row["at"] >= now + timedelta(seconds=0.1)


async def test_a_timer_that_moved_wakes_once_at_its_new_time(dsn: str) -> None:
    async with running(Shop(dsn)) as shop:
        now = shop.runtime.now()
        await shop.ask("toy", "a", SetWake(at=now + timedelta(seconds=50)))
        await shop.ask("toy", "a", SetWake(at=now + timedelta(seconds=0.1)))
        await woken(shop, "a", ())
        await shop.ask("toy", "b", SetWake(at=shop.runtime.now() + timedelta(seconds=0.15)))
        await shop.ask("toy", "b", SetWake(at=None))
        await shop.ask("toy", "c", SetWake(at=shop.runtime.now() + timedelta(seconds=0.3)))
        await woken(shop, "c", ())
        assert (await shop.state("b")).woken == ()


async def test_a_timer_fires_after_a_restart(dsn: str) -> None:
    async with running(Shop(dsn)) as shop:
        await shop.ask("toy", "a", SetWake(at=shop.runtime.now() + timedelta(seconds=0.3)))
    async with running(Shop(dsn)) as shop:
        await woken(shop, "a", ())


async def test_a_timer_due_while_the_partitions_are_away_fires_when_they_are_back(dsn: str) -> None:
    async with running(Shop(dsn, options=Options(committers=1))) as shop:
        gate = asyncio.Event()

        async def wait(_: TamperedJournal) -> None:
            await gate.wait()

        async def lose(_: TamperedJournal) -> None:
            shop.knobs.before_commit = None
            raise JournalLost("by the test")

        due = shop.runtime.now() + timedelta(seconds=0.2)
        await shop.ask("toy", "a", SetWake(at=due))
        shop.knobs.before_take, shop.knobs.before_commit = wait, lose
        with pytest.raises(Unavailable):
            await shop.ask("toy", "b", Add())
        await eventually(lambda: shop.runtime.now() > due and not shop.runtime._timers._heap)
        gate.set()
        await woken(shop, "a", ())


async def test_due_parts_come_with_the_wake_up_until_none_is_left(dsn: str) -> None:
    async with running(Shop(dsn, options=Options(committers=1))) as shop:
        now = shop.runtime.now()
        due = now + timedelta(seconds=0.3)
        await asyncio.gather(
            *(
                shop.ask("toy", "a", Put(name=f"p{n:03}", value=n, due_at=due + timedelta(microseconds=n)))
                for n in range(70)
            ),
            shop.ask("toy", "a", Put(name="far", value=1, due_at=now + timedelta(days=1))),
        )

        async def moved() -> bool:
            return len((await shop.state("a")).woken) > 1

        await eventually(moved)
        first = (await shop.state("a")).woken[0]
        assert set(first) <= {f"p{n:03}" for n in range(70)}


async def test_more_parts_due_at_one_moment_than_fit_a_wake_up_come_without_a_pause(dsn: str, logs: list[Any]) -> None:
    async with running(Shop(dsn, options=Options(committers=1))) as shop:
        due = shop.runtime.now() + timedelta(seconds=1)
        await asyncio.gather(*(shop.ask("toy", "a", Put(name=f"p{n:03}", value=n, due_at=due)) for n in range(200)))

        async def all_taken() -> bool:
            return sum(map(len, (await shop.state("a")).woken)) == 200

        await eventually(all_taken)
        assert [len(parts) for parts in (await shop.state("a")).woken] == [64, 64, 64, 8]
        assert not [entry for entry in logs if "did not move" in entry["event"]]


async def test_a_wake_up_that_moves_nothing_on_is_tried_with_growing_delays(dsn: str) -> None:
    async with running(Shop(dsn)) as shop:
        await shop.ask("toy", "a", Hold(stuck=True))
        await shop.ask("toy", "a", SetWake(at=shop.runtime.now()))
        before = shop.runtime.measures().commands
        await eventually(lambda: shop.runtime.measures().turns >= 2)
        await asyncio.sleep(0.3)
        assert shop.runtime.measures().commands <= before + 3
        await shop.ask("toy", "a", Hold(stuck=False))
        await woken(shop, "a", ())


async def test_a_stuck_entity_has_one_retry_however_often_the_timers_are_read(dsn: str, logs: list[Any]) -> None:
    async with running(Shop(dsn, options=Options(committers=1))) as shop:
        await shop.ask("toy", "a", Hold(stuck=True))
        await shop.ask("toy", "a", SetWake(at=shop.runtime.now()))
        await eventually(lambda: bool(shop.runtime._timers._retrying))
        for _ in range(10):
            turns = shop.runtime.measures().loads
            shop.runtime._timers.request()
            await eventually(lambda turns=turns: shop.runtime.measures().loads > turns)
        retries = [entry for entry in logs if "did not move" in entry["event"]]
        assert len(retries) <= 3


async def test_timers_wake_in_order_and_early_entries_do_no_harm() -> None:
    clock = Clock()
    clock.set(START)
    woken_: list[str] = []
    timers = Timers(clock, lambda _, id_, attempts: woken_.append(f"{id_}{attempts or ''}"))
    timers.set("toy", "before anything was read", START)
    assert timers._heap == []

    class Journal:
        async def due_timers(self, lanes: object, until: datetime) -> list[tuple[str, str, datetime]]:
            assert until >= START + timedelta(seconds=60)
            del lanes
            return [("toy", "b", START + timedelta(milliseconds=20)), ("toy", "a", START)]

    await timers.load(Journal(), [])  # type: ignore[arg-type]
    await timers.load(Journal(), [])  # type: ignore[arg-type]
    timers.set("toy", "far", START + timedelta(hours=1))
    timers.set("toy", "c", START + timedelta(milliseconds=30))
    task = asyncio.create_task(timers.run())
    follower = asyncio.create_task(timers.follow(Journal(), list))  # type: ignore[arg-type]
    await eventually(lambda: woken_ == ["a", "b", "c"])
    timers.set("toy", "d", clock.now())
    await eventually(lambda: woken_[3:] == ["d"])
    timers.request()
    await eventually(lambda: woken_[4:] == ["a", "b"])
    task.cancel()
    follower.cancel()
    await asyncio.gather(task, follower, return_exceptions=True)
