"""Workers: several calls at once, one at a time for an id, repeated after a crash, failed and parked."""

import asyncio
from typing import Any

import pytest

from tests.conformance.toys import Courier, Look, Shop, TamperedJournal, Tell, Toy, eventually, running
from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.errors import Unavailable
from ultramarket.ports.journal import MANY, JournalLost, Lane
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime.actor import Worker
from ultramarket.runtime.partition import Partition
from ultramarket.runtime.system import Options
from ultramarket.runtime.turn import Failure, Unreadable
from ultramarket.runtime.workers import WorkerPool

ONE = Options(committers=1, poison_delays=(0.01, 0.01, 0.01))


async def parked(database: PostgresDatabase, count: int) -> bool:
    return len(await database.fetch("select 1 from parked")) == count


def deliver(n: int, *ids: str) -> Tell:
    return Tell(to=ids, n=n, kind="courier")


async def heard(shop: Shop, id: str, *numbers: int) -> None:
    async def same() -> bool:
        return await shop.heard(id) == [f"courier:{id} {n}" for n in numbers]

    await eventually(same)


async def test_calls_run_at_once_up_to_the_limit_and_one_at_a_time_for_an_id(dsn: str) -> None:
    async with running(Shop(dsn, options=ONE)) as shop:
        shop.courier.gate.clear()
        await asyncio.gather(
            *(shop.ask("toy", "s", deliver(n, "a")) for n in (1, 2, 3)), shop.ask("toy", "s", deliver(1, "b", "c"))
        )
        await eventually(lambda: shop.courier.running == 2)
        assert [(id_, n) for id_, n, _ in shop.courier.calls] == [("a", 1), ("b", 1)]
        shop.courier.gate.set()
        await heard(shop, "a", 1, 2, 3)
        await heard(shop, "b", 1)
        await heard(shop, "c", 1)
        assert shop.courier.most == 2
        assert len(shop.courier.calls) == 5


async def test_a_call_that_fails_is_parked_and_its_pair_waits(dsn: str, database: PostgresDatabase) -> None:
    async with running(Shop(dsn, options=ONE)) as shop:
        shop.courier.poison = {2: ValueError("no such street")}
        for n in (1, 2, 3):
            await shop.ask("toy", "s", deliver(n, "a"))
        await shop.ask("toy", "other", deliver(7, "a"))

        async def done() -> bool:
            return await parked(database, 1) and "courier:a 7" in await shop.heard("a")

        await eventually(done)
        assert [n for _, n, _ in shop.courier.calls].count(2) == 8
        assert await shop.heard("a") == ["courier:a 1", "courier:a 7"]


async def test_a_world_that_is_away_is_waited_for_and_nothing_is_parked(dsn: str, database: PostgresDatabase) -> None:
    async with running(Shop(dsn, options=ONE)) as shop:
        shop.courier.poison = {1: Unavailable("away", "The world is away.", 0)}
        await shop.ask("toy", "s", deliver(1, "a"))
        await eventually(lambda: len(shop.courier.calls) > 10)
        assert await parked(database, 0)
        shop.courier.poison = {}
        await heard(shop, "a", 1)


async def test_an_answer_that_can_not_be_sent_fails_the_message(dsn: str, database: PostgresDatabase) -> None:
    async with running(Shop(dsn, options=ONE)) as shop:
        shop.courier.answer_kind = "nobody"
        await shop.ask("toy", "s", deliver(1, "a"))

        async def done() -> bool:
            return await parked(database, 1)

        await eventually(done)
        assert shop.runtime.ready()


async def test_a_call_whose_commit_was_lost_is_repeated_with_the_same_message(
    dsn: str, database: PostgresDatabase
) -> None:
    async with running(Shop(dsn, options=ONE)) as shop:
        await shop.ask("toy", "s", Look())
        lost: list[Any] = []

        async def lose(journal: TamperedJournal) -> None:
            if journal.turns == ["a"] and not lost:
                lost.append(1)
                raise JournalLost("by the test")

        shop.knobs.before_commit = lose
        await shop.ask("toy", "s", deliver(1, "a"))
        await heard(shop, "a", 1)
        assert shop.courier.calls == [("a", 1, "toy/s/1/0")] * 2
        assert await database.fetch("select 1 from outbox") == []


async def test_a_call_that_runs_while_the_partitions_are_taken_anew_is_not_made_twice(dsn: str) -> None:
    async with running(Shop(dsn, options=ONE)) as shop:
        shop.courier.gate.clear()
        await shop.ask("toy", "s", deliver(1, "a"))
        await shop.ask("toy", "s", deliver(2, "a"))
        await shop.courier.started.wait()

        async def lose(_: TamperedJournal) -> None:
            shop.knobs.before_commit = None
            raise JournalLost("by the test")

        shop.knobs.before_commit = lose
        try:
            await shop.ask("toy", "s", deliver(3, "a"))
        except Unavailable as error:
            assert error.code == "outcome_unknown"  # noqa: PT017 - it may also have been told to come again
        await eventually(shop.runtime.ready)
        shop.courier.gate.set()
        await heard(shop, "a", 1, 2)
        assert [n for _, n, _ in shop.courier.calls] == [1, 2]


async def test_a_crashed_process_leaves_its_calls_to_the_next(dsn: str) -> None:
    first = Shop(dsn, options=Options(grace_seconds=0.01))
    async with running(first):
        first.courier.gate.clear()
        for n in (1, 2):
            await first.ask("toy", "s", deliver(n, "a", "b"))
        await first.courier.started.wait()
    assert first.courier.running == 0
    async with running(Shop(dsn, toy=Toy(), courier=Courier())) as second:
        await heard(second, "a", 1, 2)
        await heard(second, "b", 1, 2)


async def test_a_call_that_ends_while_a_sweep_reads_its_message_is_not_made_again(dsn: str, logs: list[Any]) -> None:
    async with running(Shop(dsn, options=ONE)) as shop:
        looked_up: list[tuple[str, int | None]] = []

        async def earlier(message: str) -> int | None:
            found = await shop.runtime._reader.earlier(message)
            looked_up.append((message, found))
            return found

        for pool in shop.runtime._pools:
            pool._earlier = earlier
        shop.courier.gate.clear()
        await shop.ask("toy", "s", deliver(1, "a"))
        await shop.courier.started.wait()
        sweeper = shop.runtime._sweep_journal
        pending = sweeper.pending

        async def late(*args: Any) -> Any:
            rows = await pending(*args)
            if rows:
                shop.courier.gate.set()
                await heard(shop, "a", 1)
            return rows

        sweeper.pending = late  # type: ignore[method-assign]
        shop.runtime._sweeper.request()
        await eventually(lambda: bool(looked_up))
        await eventually(shop.runtime._idle)
        assert looked_up == [("toy/s/1/0", None)]
        assert shop.courier.calls == [("a", 1, "toy/s/1/0")]
        assert await shop.heard("a") == ["courier:a 1"]
        assert not [entry for entry in logs if entry["log_level"] == "error"]


class Notes(Worker[Tell]):
    """Notes its calls, which end at once."""

    kind = "notes"
    commands = Tell

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def work(self, id: str, command: Tell, message: str) -> tuple[()]:  # noqa: ARG002 - the port
        self.calls.append(message)
        return ()


def note(message: str, *, verified: bool = True, swept: bool = False) -> Delivery:
    delivery = Delivery("notes", 0, "a", Tell(to=(), n=1), "toy:s", "t", message, message=message, source="toy:s")
    delivery.verified, delivery.swept = verified, swept
    return delivery


async def nothing_before(_message: str) -> int:
    """Every message is there, and none before it."""
    return 0


@pytest.mark.parametrize("committed", [True, False])
async def test_the_next_call_of_an_id_waits_until_the_one_before_is_committed_or_left_to_the_outbox(
    *, committed: bool
) -> None:
    worker, done = Notes(), asyncio.Queue[Delivery]()
    finish = lambda _, delivery, __: done.put_nowait(delivery)  # noqa: E731 - a name for a line that is too long
    pool = WorkerPool({"notes": worker}, finish, lambda *_: None, nothing_before)
    partition = Partition("notes", 0, 10, pool.ready, lambda _: None)
    partition.lane = Lane("notes", 0, 1, 0)
    partition.offer(note("m1"))
    first = await done.get()
    partition.offer(note("m2"))
    await asyncio.sleep(0)
    assert worker.calls == ["m1"]
    if committed:
        partition.settle(first)
        await done.get()
        assert worker.calls == ["m1", "m2"]
    else:  # the commit failed: m2 must not be taken before m1
        partition.shelve(first)
        await asyncio.sleep(0)
        assert (worker.calls, partition.waiting) == (["m1"], {})


class Desk:
    """A pool of one worker and its partition, and what became of the messages.

    Attributes:
        earlier: what is told of each message that is looked up.
        looked_up: the messages that were looked up.
    """

    def __init__(self, earlier: int | None) -> None:
        self.worker = Notes()
        self.earlier: int | Exception | None = earlier
        self.looked_up: list[str] = []
        self.finished: asyncio.Queue[Delivery] = asyncio.Queue()
        self.failed: asyncio.Queue[Failure] = asyncio.Queue()
        self.sweeps: list[float] = []
        self.pool = WorkerPool(
            {"notes": self.worker},
            lambda _, delivery, __: self.finished.put_nowait(delivery),
            lambda _, failure: self.failed.put_nowait(failure),
            self._look_up,
        )
        self.partition = Partition("notes", 0, 10, self.pool.ready, self.sweeps.append)
        self.partition.lane = Lane("notes", 0, 1, 0)

    async def _look_up(self, message: str) -> int | None:
        self.looked_up.append(message)
        if isinstance(self.earlier, Exception):
            raise self.earlier
        return self.earlier


async def test_no_call_is_made_for_a_message_that_was_taken_before() -> None:
    desk = Desk(None)
    desk.partition.offer(note("m1", verified=False))
    await eventually(desk.pool.idle)
    assert (desk.looked_up, desk.worker.calls) == (["m1"], [])
    assert (desk.partition.known, desk.partition.running, desk.sweeps) == (set(), {}, [])
    desk.earlier = 0
    desk.partition.offer(note("m2", verified=False))
    assert (await desk.finished.get()).message == "m2"


async def test_a_call_waits_in_the_outbox_for_the_earlier_message_of_its_pair() -> None:
    desk = Desk(1)
    desk.partition.offer(note("m2", verified=False))
    desk.partition.offer(note("m3", verified=False))
    await eventually(desk.pool.idle)
    assert (desk.looked_up, desk.worker.calls) == (["m2"], [])
    assert (desk.partition.known, desk.partition.running, desk.sweeps) == (set(), {}, [0.0])
    assert ("toy:s", "a") in desk.partition.behind
    began = asyncio.get_running_loop().time()
    desk.partition.begin_sweep(set())
    desk.earlier = 0
    for name in ("m1", "m2", "m3"):
        assert desk.partition.bring(note(name, verified=False, swept=True), began)
    desk.partition.end_sweep(began, set())
    for name in ("m1", "m2", "m3"):
        done = await desk.finished.get()
        assert done.message == name
        desk.partition.settle(done)
    assert desk.worker.calls == ["m1", "m2", "m3"]
    assert desk.partition.behind == {}


async def test_what_a_sweep_brings_is_in_order_and_only_looked_up_for_being_there() -> None:
    desk = Desk(MANY)
    assert desk.partition.bring(note("m1", verified=False, swept=True), 1.0)
    assert (await desk.finished.get()).message == "m1"
    assert (desk.looked_up, desk.worker.calls) == (["m1"], ["m1"])


async def test_what_this_process_has_just_committed_is_not_looked_up() -> None:
    desk = Desk(None)
    desk.partition.offer(note("m1"))
    assert (await desk.finished.get()).message == "m1"
    assert desk.looked_up == []


async def test_a_message_that_can_not_be_looked_up_counts_as_one_whose_world_is_away() -> None:
    desk = Desk(None)
    desk.earlier = Unavailable("database_unavailable", "The database can't be reached.", 1)
    desk.partition.offer(note("m1", verified=False))
    failure = await desk.failed.get()
    assert (failure.delivery.message, failure.error) == ("m1", desk.earlier)
    assert desk.worker.calls == []


@pytest.mark.parametrize("earlier", [None, 1])
async def test_a_message_that_can_not_be_read_fails_only_when_its_turn_has_come(earlier: int | None) -> None:
    desk = Desk(earlier)
    unreadable = note("m1", verified=False)
    unreadable.command = Unreadable("by the test")
    desk.partition.offer(unreadable)
    await eventually(desk.pool.idle)
    assert desk.failed.empty()
    desk.earlier = 0
    desk.partition.push(unreadable)
    assert "by the test" in str((await desk.failed.get()).error)
