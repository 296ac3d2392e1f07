"""What happens to work under way in a partition that becomes another process's."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from tests.conformance.toys import Add, Shop, TamperedJournal, running
from ultramarket.errors import Unavailable
from ultramarket.ports.asking import Answer
from ultramarket.ports.journal import JournalLost, Lane
from ultramarket.ports.mailbox import Deliver, Delivery
from ultramarket.ports.membership import MembershipLost, Standing
from ultramarket.runtime import ownership
from ultramarket.runtime.clock import Clock
from ultramarket.runtime.committer import Limits
from ultramarket.runtime.following import Following
from ultramarket.runtime.owner import Owner
from ultramarket.runtime.ownership import Ownership
from ultramarket.runtime.partition import Partition
from ultramarket.runtime.partitioning import partition_of
from ultramarket.runtime.system import Options
from ultramarket.runtime.turn import Follow
from ultramarket.runtime.watch import Watchers


@pytest_asyncio.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    """With one committer: it alone is asked."""
    async with running(Shop(dsn, options=Options(committers=1))) as shop:
        yield shop


def place(shop: Shop, id: str) -> tuple[Owner, Partition]:
    """The owner of a toy, and its partition."""
    [owner] = shop.runtime._owners
    return owner, shop.runtime._partitions["toy", partition_of("toy", id)]


async def test_a_commit_that_holds_is_answered_although_its_partition_was_lost_meanwhile(
    shop: Shop, logs: list[Any]
) -> None:
    owner, partition = place(shop, "a")

    async def lose(_: TamperedJournal) -> None:
        owner.lose(partition)

    shop.knobs.after_commit = lose
    answer = await shop.ask("toy", "a", Add(n=2))
    assert (answer.rejection, answer.version, partition.lane) == (None, 1, None)
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == []


async def test_turns_of_a_partition_that_was_lost_before_their_commit_are_not_written_and_their_neighbours_are(
    shop: Shop, logs: list[Any]
) -> None:
    owner, partition = place(shop, "a")
    other = next(name for name in "bcdefgh" if partition_of("toy", name) != partition.no)
    judged = owner._committer._judged

    async def lost_meanwhile(units: Any) -> Any:
        turns = await judged(units)
        owner.lose(partition)
        return turns

    owner._committer._judged = lost_meanwhile  # type: ignore[method-assign]  # the moment between judging and committing
    lost, good = await asyncio.gather(
        shop.ask("toy", "a", Add()), shop.ask("toy", other, Add()), return_exceptions=True
    )
    assert isinstance(lost, Unavailable)
    assert lost.code == "not_ready"
    assert isinstance(good, Answer)
    assert good.version == 1
    assert shop.knobs.commits == [[other]]
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == []


async def test_what_waits_behind_the_entities_of_a_lost_partition_is_judged(dsn: str) -> None:
    options = Options(committers=1, limits=Limits(entities=2))
    async with running(Shop(dsn, options=options)) as shop:
        owner, partition = place(shop, "a")
        names = [f"n{number}" for number in range(400)]
        lost = [name for name in names if partition_of("toy", name) == partition.no][:3]
        other, first = [name for name in names if partition_of("toy", name) != partition.no][:2]
        asks: list[asyncio.Task[Any]] = []

        async def more_comes_and_some_is_lost(_: TamperedJournal) -> None:
            if not asks:
                asks.extend(asyncio.create_task(shop.ask("toy", name, Add())) for name in (*lost, other))
                while partition.depth < len(lost):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0)
                owner.lose(partition)

        shop.knobs.before_commit = more_comes_and_some_is_lost
        await shop.ask("toy", first, Add())
        async with asyncio.timeout(20):
            *gone, answered = await asyncio.gather(*asks, return_exceptions=True)
    assert [error.code for error in gone] == ["not_ready"] * 3
    assert answered.version == 1


class Releasing:
    """A journal that takes and lets go."""

    def __init__(self) -> None:
        self.lanes: list[Lane] = []
        self.seen: list[Any] = []
        self.watch: Partition | None = None

    async def take_free(self, _owner: str, wanted: Sequence[tuple[str, int, str | None]]) -> list[Lane]:
        self.lanes += [Lane(kind, no, 2, 0) for kind, no, _ in wanted]
        return self.lanes

    async def release(self, lanes: Sequence[Lane]) -> int:
        self.seen += [(lane.no, self.watch and self.watch.lane) for lane in lanes]
        return len(lanes)


async def test_all_that_is_handed_over_is_let_go_of_before_the_first_of_it_is_released(shop: Shop) -> None:
    owner, first = place(shop, "a")
    second = next(each for each in owner.partitions if each.kind == "toy" and each is not first)
    journal = Releasing()
    journal.watch = second
    await owner.hand_over(journal, [first, second])  # type: ignore[arg-type]  # the part of a journal that it uses
    assert journal.seen == [(first.no, None), (second.no, None)]


async def test_a_partition_is_not_taken_again_while_turns_of_the_time_before_still_run(shop: Shop) -> None:
    owner, partition = place(shop, "a")
    journal = Releasing()
    taken: list[Any] = []

    async def prepare(_: Collection[tuple[str, int]]) -> None:
        pass

    async def lose_and_adopt(_: TamperedJournal) -> None:
        owner.lose(partition)
        taken.append(await owner.adopt(journal, [(partition, None)], prepare))  # type: ignore[arg-type]  # as above

    shop.knobs.after_commit = lose_and_adopt
    assert (await shop.ask("toy", "a", Add())).version == 1
    assert (taken, journal.lanes) == ([[]], [])
    assert await owner.adopt(journal, [(partition, None)], prepare) == [partition]  # type: ignore[arg-type]  # as above


async def test_a_partition_that_is_lost_while_it_is_taken_anew_is_not_kept_without_its_mailbox(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, partition = place(shop, "a")
    other = next(each for each in owner.partitions if each is not partition)

    async def take_again(taken: Partition) -> Lane:
        if taken is partition:
            owner.lose(partition)  # as when the lease ends, which closes the mailbox too
        return Lane(taken.kind, taken.no, 2, 0)

    monkeypatch.setattr(owner, "_take_again", take_again)
    await owner._take()
    assert (partition.lane, other.lane) == (None, Lane(other.kind, other.no, 2, 0))


async def test_a_follower_is_told_that_the_version_can_not_be_read() -> None:
    answers: list[Answer | Exception] = []
    answered = asyncio.Event()

    async def away(_kind: str, _id: str) -> int:
        raise Unavailable("database_unavailable", "Away.")

    def answer(given: Answer | Exception) -> None:
        answers.append(given)
        answered.set()

    following = Following(Watchers(), away, lambda _: True)
    partition = Partition("toy", 0, 4, lambda *_: None, lambda _: None)
    following.door(partition)(Delivery("toy", 0, "a", Follow(0), "system", "t", "f", answer=answer))
    await answered.wait()
    await following.stop()
    assert [getattr(each, "code", each) for each in answers] == ["database_unavailable"]


class Members:
    """A list of members whose every beat is what a test says."""

    lease_seconds = 10.0

    def __init__(self) -> None:
        self.standing: Standing | None = None
        self.seen: list[str] = []
        self.heard = lambda: None

    async def tell(self) -> None:
        self.seen.append("partitions are free")

    async def leave(self) -> None:
        self.seen.append("left")

    async def beat(self, *, owns: bool, figures: Mapping[str, Any]) -> Standing:  # noqa: ARG002 - nobody looks
        self.seen.append("owns" if owns else "stands by")
        if self.standing is None:
            raise MembershipLost("The database does not answer.")
        return self.standing


class Door:
    """A mailbox that knows whether it is consumed."""

    def __init__(self) -> None:
        self.consumed = False
        self.answered = asyncio.Event()
        self.answered.set()

    def ready(self) -> bool:
        return True

    def open(self, _kind: str, _no: int, _deliver: Deliver) -> None:
        self.consumed = True

    def close(self, _kind: str, _no: int) -> None:
        self.consumed = False

    async def drain(self, _kind: str, _no: int) -> None:
        try:
            await self.answered.wait()
        finally:
            self.consumed = False


class Taker:
    """An owner that gets what it wants."""

    def __init__(self, partitions: list[Partition]) -> None:
        self.partitions = partitions

    async def adopt(
        self, _journal: object, wanted: Sequence[tuple[Partition, str | None]], _prepare: object
    ) -> list[Partition]:
        for partition, _ in wanted:
            partition.begin(Lane(partition.kind, partition.no, 1, 0))
        return [partition for partition, _ in wanted]

    async def hand_over(self, _journal: object, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self.lose(partition)

    def lose(self, partition: Partition) -> None:
        partition.leave(Unavailable("not_ready", "Moved."))


class Member:
    """A member `one` of a shop with so many partitions."""

    def __init__(self, partitions: int = 1) -> None:
        self.members, self.door, self.now = Members(), Door(), 100.0
        self.partitions = [Partition("toy", no, 4, lambda *_: None, lambda _: None) for no in range(partitions)]
        self.partition = self.partitions[0]
        self.ownership = Ownership(
            "one",
            self.members,  # type: ignore[arg-type]  # the part of each that it uses
            None,  # type: ignore[arg-type]  # its connection is open
            self.door,  # type: ignore[arg-type]
            [Taker(self.partitions)],  # type: ignore[list-item]
            Clock(lambda: self.now),
            lambda partition: partition.offer,
            takes=True,
            figures=dict,
        )
        self.ownership._open = True

    @property
    def owned(self) -> int:
        """How many partitions are its own."""
        return sum(partition.lane is not None for partition in self.partitions)

    async def beat(self, owner: str | None, **members: bool) -> None:
        """Beat once, and see this owner at every partition; None: the database does not answer."""
        owners = {("toy", partition.no): owner for partition in self.partitions}
        self.members.standing = None if owner is None else Standing(members or {"one": True}, owners)
        await self.ownership._beat()


@pytest.fixture
async def member() -> Member:
    """A member that has just taken its partition."""
    member = Member()
    await member.beat("one")
    assert (member.partition.lane is None, member.door.consumed) == (False, True)
    return member


async def test_a_member_without_the_database_keeps_what_it_has_while_its_lease_runs(member: Member) -> None:
    member.now += 9.9
    await member.beat(None)
    assert (member.partition.lane is None, member.door.consumed) == (False, True)


async def test_a_member_whose_lease_has_run_out_consumes_nothing_that_others_may_have_taken(member: Member) -> None:
    member.now += 10.1
    await member.beat(None)
    assert (member.partition.lane, member.door.consumed) == (None, False)


async def test_a_member_that_sees_the_others_again_takes_what_nobody_has_taken(member: Member) -> None:
    member.now += 10.1
    await member.beat(None)
    await member.beat("one")
    assert (member.partition.lane is None, member.door.consumed) == (False, True)


async def test_what_is_another_s_is_consumed_no_more_although_its_lane_was_lost_before(member: Member) -> None:
    member.partition.lane = None  # as when the connection of its committer broke
    await member.beat("two", one=False, two=True)
    assert not member.door.consumed


async def test_what_could_not_be_released_is_not_kept_without_its_mailbox(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise JournalLost("the connection broke")

    monkeypatch.setattr(Taker, "hand_over", broken)
    await member.beat("one", one=False, two=True)
    assert (member.partition.lane, member.door.consumed) == (None, False)
    member.ownership._open = True
    await member.beat("one")  # the other one has gone again
    assert (member.partition.lane is None, member.door.consumed) == (False, True)


async def test_a_mailbox_that_was_closed_is_consumed_again_as_long_as_the_partition_is_ours(member: Member) -> None:
    member.door.consumed = False
    await member.beat("one")
    assert member.door.consumed


async def test_a_member_that_can_not_take_what_it_wants_does_not_beat_in_haste(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> list[Partition]:
        return []  # as while turns of the time before still run

    monkeypatch.setattr(Taker, "adopt", nothing)
    member.partition.lane = None
    member.ownership._hurry.clear()
    await member.beat("one")
    assert not member.ownership._hurry.is_set()


async def test_a_command_that_is_never_answered_holds_up_a_hand_over_for_a_while_only(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "DRAIN_SECONDS", 0.01)
    member.door.answered.clear()  # as where the owner gave up, or its commit hangs
    await member.beat("one", one=False, two=True)
    assert (member.partition.lane, member.door.consumed) == (None, False)


async def test_who_leaves_owns_nothing_in_the_eyes_of_the_others_before_it_lets_go(member: Member) -> None:
    async def close() -> None:
        pass

    member.ownership._journal = SimpleNamespace(close=close)  # type: ignore[assignment]  # the part that it uses
    member.members.seen.clear()
    await member.ownership.leave()
    assert member.members.seen == ["stands by", "partitions are free", "left"]
    assert (member.partition.lane, member.door.consumed) == (None, False)


async def test_who_leaves_without_the_database_lets_go_all_the_same(member: Member) -> None:
    async def close() -> None:
        pass

    member.ownership._journal = SimpleNamespace(close=close)  # type: ignore[assignment]  # as above
    member.members.standing = None
    await member.ownership.leave()
    assert (member.partition.lane, member.door.consumed) == (None, False)
