"""Supervision: restarts, reconnections, and when to give up."""

import asyncio

import pytest

from tests.conformance.toys import Add, Look, Shop, TamperedJournal, eventually, running
from ultramarket.errors import UltraMarketError, Unavailable
from ultramarket.ports.journal import JournalFull, JournalLost
from ultramarket.runtime.owner import Backoff, GivingUp, Window
from ultramarket.runtime.system import Options

ONE = Options(committers=1)


def test_delays_double_up_to_ten_seconds_with_jitter() -> None:
    backoff = Backoff()
    for expected in (0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0):
        assert expected / 2 <= backoff.next() <= expected
    backoff.reset()
    assert backoff.next() <= 0.2


def test_a_window_counts_what_happened_within_its_seconds() -> None:
    window = Window(2, 5.0)
    assert [window.over(now) for now in (0.0, 1.0, 2.0, 6.5, 20.0)] == [False, False, True, False, False]


async def insist(shop: Shop) -> None:
    """Ask until a command gets through."""

    async def through() -> bool:
        try:
            await shop.ask("toy", "a", Look())
        except Unavailable:
            return False
        return True

    await eventually(through)


async def test_three_restarts_keep_the_connection_and_the_fourth_opens_a_new_one(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "next", lambda _: 0.0)
    async with running(Shop(dsn, options=ONE)) as shop:
        journal = shop.knobs.journals[2]
        first = journal.backend()

        async def crash(_: TamperedJournal) -> None:
            raise RuntimeError("by the test")

        for _ in range(3):
            shop.knobs.before_commit = crash
            with pytest.raises(Unavailable) as caught:
                await shop.ask("toy", "a", Add())
            assert caught.value.code == "outcome_unknown"
            shop.knobs.before_commit = None
            await insist(shop)
        assert journal.backend() == first
        shop.knobs.before_commit = crash
        with pytest.raises(Unavailable):
            await shop.ask("toy", "a", Add())
        shop.knobs.before_commit = None
        await insist(shop)
        assert journal.backend() != first
        assert await shop.runtime.read("toy", "a") is None


async def test_a_fourth_reconnection_within_a_minute_gives_up(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "next", lambda _: 0.0)
    async with running(Shop(dsn, options=ONE)) as shop:

        async def lose(_: TamperedJournal) -> None:
            raise JournalLost("by the test")

        for _ in range(4):
            shop.knobs.before_commit = lose
            with pytest.raises(Unavailable):
                await shop.ask("toy", "a", Add(), timeout=0.5)
            shop.knobs.before_commit = None
            failed = shop.runtime.failed
            assert failed is not None
            if not failed.done():
                await eventually(lambda failed=failed: shop.runtime.ready() or failed.done())  # type: ignore[misc]
        with pytest.raises(GivingUp):
            await asyncio.wait_for(shop.runtime.failure(), 10)


async def test_a_database_that_is_away_is_waited_for_without_giving_up(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "next", lambda _: 0.0)
    async with running(Shop(dsn, options=ONE)) as shop:
        tries: list[str] = []

        async def away(_: TamperedJournal) -> None:
            tries.append("take")
            if len(tries) < 12:
                raise JournalLost("by the test") if len(tries) % 2 else RuntimeError("by the test")

        async def lose(_: TamperedJournal) -> None:
            shop.knobs.before_commit = None
            raise JournalLost("by the test")

        shop.knobs.before_take, shop.knobs.before_commit = away, lose
        with pytest.raises(Unavailable):
            await shop.ask("toy", "a", Add())
        await eventually(shop.runtime.ready)
        assert shop.runtime.failed is not None
        assert not shop.runtime.failed.done()
        assert (await shop.ask("toy", "a", Add())).version == 1


async def test_a_store_without_room_is_waited_for_with_growing_delays(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays: list[float] = []
    real = Backoff.next

    def at_once(backoff: Backoff) -> float:
        delays.append(backoff._delay)
        real(backoff)
        return 0.0

    monkeypatch.setattr(Backoff, "next", at_once)
    async with running(Shop(dsn, options=ONE)) as shop:
        await shop.ask("toy", "a", Add())

        async def full(_: TamperedJournal) -> None:
            raise JournalFull("by the test")

        shop.knobs.before_commit = full

        async def refused() -> bool:
            with pytest.raises(Unavailable):
                await shop.ask("toy", "a", Add())
            return len(delays) > 7

        await eventually(refused)
        assert delays[:5] == [0.2, 0.4, 0.8, 1.6, 3.2]
        assert await shop.state("a") is not None
        shop.knobs.before_commit = None
        await insist(shop)
        await shop.ask("toy", "a", Add())
        assert (await shop.state("a")).total == 2


async def test_an_owner_that_gives_up_during_the_start_ends_it_at_once_and_leaves_nothing_running(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(dsn, options=ONE)
    [owner] = shop.runtime._owners

    async def give_up() -> None:
        raise GivingUp("3 reconnections did not help")

    monkeypatch.setattr(owner, "run", give_up)
    async with asyncio.timeout(10):
        with pytest.raises(UltraMarketError, match=r"^The start was given up: 3 reconnections did not help\.$"):
            await shop.runtime.start()
    assert all(task.done() for task in shop.runtime._tasks)


async def test_a_start_that_is_cancelled_leaves_nothing_running(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(dsn, options=ONE)
    reached = asyncio.Event()

    async def stay() -> None:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(shop.runtime._upkeep, "start", stay)
    start = asyncio.create_task(shop.runtime.start())
    async with asyncio.timeout(10):
        await reached.wait()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert shop.runtime._tasks
    assert all(task.done() for task in shop.runtime._tasks)
