"""The simulated journal passes the contract of every journal; and what only a simulated network can show."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from tests.conformance.journal import KIND, JournalContract, Journals, append, message, turn, versions, waiting
from tests.conformance.journal_races import JournalRaces
from tests.conformance.journal_sharing import JournalSharing
from tests.conformance.toys import eventually
from tests.simulation import store as stores
from tests.simulation.journal import SimJournal, Steady, Store
from ultramarket.ports.journal import Fenced, JournalLost, Lane, OutboxRow, ReplyRow, TurnRows, Wanted

START = datetime(2030, 1, 1, tzinfo=UTC)


@pytest_asyncio.fixture
async def journals() -> AsyncIterator[Journals]:
    store = Store(lambda: datetime.now(UTC))

    async def another() -> SimJournal:
        journal = SimJournal(store, Steady())
        await journal.open()
        return journal

    yield another


class TestSimJournal(JournalContract):
    """Passes the contract of every journal."""


class TestSimJournalRaces(JournalRaces):
    """Passes the second half of the contract."""


class TestSimJournalSharing(JournalSharing):
    """Passes what several processes need."""


class Wire(Steady):
    """A network that breaks where a test says so, once."""

    def __init__(self) -> None:
        self.breaks: str | None = None
        self.seconds: float | None = None
        self.trips: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def trip(self, what: str) -> None:
        self.trips.append(what)
        await self.gate.wait()
        await super().trip(what)
        if what == self.breaks:
            self.breaks = None
            raise JournalLost(what)

    def late(self) -> float | None:
        return self.seconds


class World:
    """A store whose clock stands, and two connections to it: ours over a wire that breaks, and another's."""

    def __init__(self) -> None:
        self.now = START
        self.store = Store(lambda: self.now)
        self.wire = Wire()
        self.mine, self.yours = SimJournal(self.store, self.wire), SimJournal(self.store, Steady())


@pytest_asyncio.fixture
async def world() -> World:
    made = World()
    await made.mine.open()
    await made.yours.open()
    return made


async def test_a_statement_makes_its_way_there_and_back(world: World) -> None:
    world.wire.trips.clear()
    await world.mine.take(KIND, 0, "me")
    with pytest.raises(Fenced):
        await world.mine.commit([(Lane(KIND, 0, 7, 0), 0)], [])
    assert world.wire.trips == ["take", "take answer", "commit", "commit answer"]


async def test_what_is_lost_on_the_way_there_is_not_written(world: World) -> None:
    lane = await world.mine.take(KIND, 0, "me")
    world.wire.breaks = "commit"
    with pytest.raises(JournalLost):
        await append(world.mine, lane, turn("a", 0, 1))
    with pytest.raises(JournalLost, match="not connected"):
        await world.mine.load(Wanted(messages=["m"]))
    await world.mine.open()
    assert await versions(world.mine, "a") == {}
    await append(world.mine, lane, turn("a", 0, 1))


async def test_what_is_lost_on_the_way_back_is_written(world: World) -> None:
    lane = await world.mine.take(KIND, 0, "me")
    world.wire.breaks = "commit answer"
    with pytest.raises(JournalLost):
        await append(world.mine, lane, turn("a", 0, 1))
    await world.mine.open()
    assert await versions(world.mine, "a") == {"a": 1}
    with pytest.raises(Fenced):
        await append(world.mine, lane, turn("a", 0, 1))


async def test_a_refusal_may_be_lost_too(world: World) -> None:
    world.wire.breaks = "commit answer"
    with pytest.raises(JournalLost):
        await append(world.mine, Lane(KIND, 0, 1, 0), turn("a", 0, 1))


async def test_a_late_commit_lands_before_the_next_owner_and_is_seen_by_its_take(world: World) -> None:
    lane = await world.mine.take(KIND, 0, "me")
    world.wire.breaks, world.wire.seconds = "commit", 0.0
    rows = turn("a", 0, 1, events=2)
    with pytest.raises(JournalLost):
        await append(world.mine, lane, rows)
    rows.events[0].seq = 99  # its client numbers it anew, the statement is on its way
    assert world.store.entities == {}
    await asyncio.sleep(0)
    assert await world.yours.take(KIND, 0, "you") == Lane(KIND, 0, 2, 2)
    assert [row.seq async for row in world.yours.history(KIND, "a")] == [1, 2]


async def test_a_late_commit_that_lands_after_a_take_is_fenced(world: World) -> None:
    lane = await world.mine.take(KIND, 0, "me")
    world.wire.breaks, world.wire.seconds = "commit", 0.02
    with pytest.raises(JournalLost):
        await append(world.mine, lane, turn("a", 0, 1))
    taken = await world.yours.take(KIND, 0, "you")
    assert taken == Lane(KIND, 0, 2, 0)
    await asyncio.gather(*world.store._landing)
    assert world.store.entities == {}
    await append(world.yours, taken, turn("a", 0, 1))


async def test_a_take_waits_for_a_commit_that_is_at_work(world: World) -> None:
    lane = await world.mine.take(KIND, 0, "me")
    world.wire.breaks, world.wire.seconds = "commit", 0.1
    with pytest.raises(JournalLost):
        await append(world.mine, lane, turn("a", 0, 1))
    await eventually(lambda: bool(world.store._locks))
    other = await world.yours.take(KIND, 1, "you")
    assert (other.tail, world.store.entities) == (0, {})
    assert await world.yours.take(KIND, 0, "you") == Lane(KIND, 0, 2, 1)


async def test_a_late_take_fences_who_took_meanwhile(world: World) -> None:
    world.wire.breaks, world.wire.seconds = "take", 0.0
    with pytest.raises(JournalLost):
        await world.mine.take(KIND, 0, "me")
    await asyncio.gather(*world.store._landing)
    assert (world.store.partitions[KIND, 0].epoch, world.store.partitions[KIND, 0].owner) == (1, "me")


async def test_a_statement_that_is_given_up_drops_its_connection(world: World) -> None:
    lane = await world.mine.take(KIND, 0, "me")
    world.wire.gate.clear()
    commit = asyncio.create_task(append(world.mine, lane, turn("a", 0, 1)))
    await asyncio.sleep(0)
    commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await commit
    world.wire.gate.set()
    with pytest.raises(JournalLost, match="not connected"):
        await world.mine.take(KIND, 0, "me")
    assert world.store.entities == {}


async def test_a_connection_closed_while_a_statement_is_out_is_lost(world: World) -> None:
    lane = await world.mine.take(KIND, 0, "me")
    world.wire.gate.clear()
    commit = asyncio.create_task(append(world.mine, lane, turn("a", 0, 1)))
    await asyncio.sleep(0)
    await world.mine.close()
    world.wire.gate.set()
    with pytest.raises(JournalLost, match="closed meanwhile"):
        await commit


async def test_replies_are_found_for_24_hours(world: World) -> None:
    lane = await world.mine.take(KIND, 0, "me")
    await world.mine.commit([(lane, 0)], [TurnRows(KIND, 0, "a", 0, 0, replies=[ReplyRow("k", b"h", "1")])])
    wanted = Wanted(replies=[(KIND, "a", "k")])
    world.now = START + timedelta(hours=23, minutes=59)
    assert (await world.mine.load(wanted)).replies == {(KIND, "a", "k"): (b"h", "1")}
    world.now = START + timedelta(hours=24, minutes=1)
    assert (await world.mine.load(wanted)).replies == {}


async def test_messages_are_pending_once_they_are_old_enough(world: World) -> None:
    lane = await world.mine.take(KIND, 0, "me")
    await append(world.mine, lane, turn("a", 0, 1, outbox=[message("m")]))
    world.now = START + timedelta(seconds=1.9)
    assert await world.mine.pending([(KIND, 0)], 0, 2.0, 10) == []
    world.now = START + timedelta(seconds=2)
    assert [row.message for row in await world.mine.pending([(KIND, 0)], 0, 2.0, 10)] == ["m"]


async def test_a_parked_message_put_back_comes_at_its_old_place(world: World) -> None:
    lane = await world.mine.take(KIND, 0, "me")
    await append(world.mine, lane, turn("a", 0, 1, outbox=[message("m1"), message("m2")]))
    await world.mine.park(lane, "m1", "thing:a", "because")
    parked = world.store.parked.pop("m1")
    world.store.enqueue(parked.row, world.now, parked.source)
    assert await waiting(world.mine) == ["m1", "m2"]


# Planted faults


async def test_without_the_tail_check_two_owners_write_the_same_seq(world: World) -> None:
    lane = await world.mine.take(KIND, 0, "me")
    taken = await world.yours.take(KIND, 0, "you")
    await append(world.yours, taken, turn("a", 0, 1))
    world.store.planted = {stores.SKIP_THE_TAIL_CHECK}
    await append(world.mine, lane, turn("b", 0, 1))
    assert [(id_, row.seq) for id_, row in world.store.logs[KIND, 0]] == [("a", 1), ("b", 1)]
    assert world.store.partitions[KIND, 0].tail == 1


async def test_without_the_epoch_only_the_tail_is_checked(world: World) -> None:
    lane = await world.mine.take(KIND, 0, "me")
    lane = await append(world.mine, lane, turn("a", 0, 1, outbox=[message("m1")]))
    await world.yours.take(KIND, 0, "you")
    world.store.planted = {stores.DROP_THE_EPOCH}
    assert await world.mine.park(lane, "m1", "thing:a", "because") is True
    await append(world.mine, lane, turn("b", 0, 2))
    with pytest.raises(Fenced):
        await append(world.mine, lane, turn("c", 0, 2))


async def test_the_reply_of_a_commit_that_failed_is_written(world: World) -> None:
    world.store.planted = {stores.WRITE_THE_REPLY}
    with pytest.raises(Fenced):
        await append(world.mine, Lane(KIND, 0, 7, 0), turn("a", 0, 1, replies=[ReplyRow("k", b"h", "1")]))
    assert (await world.mine.load(Wanted(replies=[(KIND, "a", "k")]))).replies == {(KIND, "a", "k"): (b"h", "1")}
    assert await versions(world.mine, "a") == {}


@pytest.mark.parametrize(
    "look",
    [
        lambda journal: journal.load(Wanted(messages=["m"])),
        lambda journal: journal.pending([(KIND, 0)], 0, 0.0, 10),
    ],
)
async def test_the_row_of_a_message_goes_when_it_is_looked_at(
    world: World, look: Callable[[SimJournal], asyncio.Future[object]]
) -> None:
    lane = await world.mine.take(KIND, 0, "me")
    lane = await append(world.mine, lane, turn("a", 0, 1, outbox=[OutboxRow("m", KIND, 0, "b", "1", "toy:a")]))
    world.store.planted = {stores.DELETE_THE_ROW_EARLY}
    assert await look(world.mine)
    assert world.store.outbox == {}
    await append(world.mine, lane, turn("b", 0, 2, taken=["m"]))
