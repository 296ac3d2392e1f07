"""What a journal does for several processes that share a shop: who owns a partition, and the order of the outbox.

An adapter's test subclasses `JournalSharing` beside `JournalContract`.
"""

import asyncio

import pytest
import pytest_asyncio

from tests.conformance.journal import KIND, Journals, append, turn, waiting
from ultramarket.ports.journal import LOOKED_AT, MANY, Fenced, Journal, Lane, OutboxRow, TurnRows, Wanted


def message(name: str, source: str, id: str, no: int = 0) -> OutboxRow:
    """A message of this source for the thing `id`."""
    return OutboxRow(name, KIND, no, id, '{"body":1}', source)


async def earlier(journal: Journal, *names: str) -> dict[str, int]:
    """How many earlier messages of their pairs wait with those that are there."""
    loaded = await journal.load(Wanted(ordered=list(names)))
    assert loaded.messages == set(loaded.earlier)
    return loaded.earlier


class JournalSharing:
    """More tests of the port `Journal`."""

    @pytest_asyncio.fixture
    async def journal(self, journals: Journals) -> Journal:
        """An open journal on an empty store."""
        return await journals()

    # Who owns a partition

    async def test_a_partition_is_taken_from_the_one_whose_name_stands_there_only(self, journal: Journal) -> None:
        assert await journal.take(KIND, 0, "me") == Lane(KIND, 0, 1, 0)
        assert await journal.take(KIND, 0, "you", instead_of="another") is None
        assert await journal.take(KIND, 0, "you", instead_of=None) is None
        assert await journal.epochs([(KIND, 0)]) == {(KIND, 0): 1}
        assert await journal.take(KIND, 0, "you", instead_of="me") == Lane(KIND, 0, 2, 0)
        assert await journal.take(KIND, 0, "me", instead_of="me") is None
        assert await journal.take(KIND, 0, "you", instead_of="you") == Lane(KIND, 0, 3, 0)
        assert await journal.take(KIND, 0, "me") == Lane(KIND, 0, 4, 0)

    async def test_a_partition_that_nobody_ever_took_is_nobodys(self, journal: Journal) -> None:
        assert await journal.take(KIND, 0, "me", instead_of="you") is None
        assert await journal.epochs([(KIND, 0)]) == {}
        assert await journal.take(KIND, 0, "me", instead_of=None) == Lane(KIND, 0, 1, 0)

    async def test_a_partition_that_was_released_is_nobodys(self, journal: Journal) -> None:
        lane = await journal.take(KIND, 0, "me")
        lane = await append(journal, lane, turn("a", 0, 1))
        assert await journal.release([lane]) == 1
        assert await journal.take(KIND, 0, "you", instead_of="me") is None
        assert await journal.take(KIND, 0, "you", instead_of=None) == Lane(KIND, 0, 2, 1)

    async def test_only_the_owner_releases(self, journal: Journal) -> None:
        mine = await journal.take(KIND, 0, "me")
        yours = await journal.take(KIND, 0, "you")
        assert await journal.release([mine]) == 0
        assert await journal.release([Lane(KIND, 9, 1, 0)]) == 0
        assert await journal.take(KIND, 0, "me", instead_of=None) is None
        assert await journal.release([mine, yours]) == 1

    async def test_a_release_takes_no_right_to_write_on_and_a_take_does(self, journal: Journal) -> None:
        lane = await journal.take(KIND, 0, "me")
        await journal.release([lane])
        lane = await append(journal, lane, turn("a", 0, 1))  # the epoch alone decides
        await journal.take(KIND, 0, "you", instead_of=None)
        with pytest.raises(Fenced):
            await append(journal, lane, turn("a", 1, 2))

    @pytest.mark.parametrize("before", ["dead", None])
    async def test_of_many_who_take_instead_of_the_same_one_gets_it(
        self, journals: Journals, before: str | None
    ) -> None:
        members = [await journals() for _ in range(4)]
        for no in range(8):
            if before is not None:
                await members[0].take(KIND, no, before)
            lanes = await asyncio.gather(
                *(member.take(KIND, no, f"member {place}", before) for place, member in enumerate(members))
            )
            [lane] = [each for each in lanes if each is not None]
            assert lane == Lane(KIND, no, 1 if before is None else 2, 0)
            winner = lanes.index(lane)
            assert await members[0].take(KIND, no, "next", f"member {winner}") == Lane(KIND, no, lane.epoch + 1, 0)

    async def test_a_release_that_races_with_a_take_lets_go_of_its_own_epoch_only(self, journals: Journals) -> None:
        first, second = await journals(), await journals()
        for no in range(16):
            lane = await first.take(KIND, no, "me")
            released, taken = await asyncio.gather(first.release([lane]), second.take(KIND, no, "you", "me"))
            assert released == (taken is None)
            assert await first.take(KIND, no, "me", None if released else "you") is not None

    async def test_of_many_partitions_those_are_taken_that_stand_as_they_were_seen(self, journal: Journal) -> None:
        for no in (0, 1):
            await journal.take(KIND, no, "dead")
        await journal.take(KIND, 2, "alive")
        wanted = [(KIND, 0, "dead"), (KIND, 1, None), (KIND, 2, "dead"), (KIND, 3, None), (KIND, 4, "dead")]
        lanes = await journal.take_free("me", wanted)
        assert sorted(lanes, key=lambda lane: lane.no) == [Lane(KIND, 0, 2, 0), Lane(KIND, 3, 1, 0)]
        assert await journal.epochs([(KIND, no) for no in range(5)]) == {
            (KIND, 0): 2,
            (KIND, 1): 1,
            (KIND, 2): 1,
            (KIND, 3): 1,
        }
        assert await journal.take_free("me", []) == []
        lane = await append(journal, lanes[0] if lanes[0].no == 0 else lanes[1], turn("a", 0, 1))
        assert await journal.take_free("you", [(KIND, 0, "me")]) == [Lane(KIND, 0, 3, lane.tail)]

    async def test_of_many_who_take_many_each_partition_gets_one_owner(self, journals: Journals) -> None:
        members = [await journals() for _ in range(4)]
        for no in range(0, 16, 2):
            await members[0].take(KIND, no, "dead")
        wanted = [(KIND, no, None if no % 2 else "dead") for no in range(16)]
        taken = await asyncio.gather(
            *(
                member.take_free(f"member {place}", wanted[place:] + wanted[:place])
                for place, member in enumerate(members)
            )
        )
        # Who is in another's way leaves it out, and comes again.
        rest = await members[0].take_free("member 0", wanted)
        numbers = [lane.no for lanes in (*taken, rest) for lane in lanes]
        assert sorted(numbers) == list(range(16))
        epochs = await members[0].epochs([(KIND, no) for no in range(16)])
        assert epochs == {(KIND, no): 1 if no % 2 else 2 for no in range(16)}

    # The order of the outbox

    async def test_a_message_is_told_how_many_earlier_ones_of_its_pair_are_there(self, journal: Journal) -> None:
        lane = await journal.take(KIND, 0, "me")
        sent = [
            message("m1", "thing:a", "b"),
            message("other source", "thing:z", "b"),
            message("other target", "thing:a", "c"),
            message("m2", "thing:a", "b"),
            message("other partition", "thing:a", "b", no=1),
            message("m3", "thing:a", "b"),
        ]
        lane = await append(journal, lane, turn("a", 0, 1, outbox=sent))
        names = [row.message for row in sent]
        assert await earlier(journal, *names, "none") == {
            "m1": 0,
            "other source": 0,
            "other target": 0,
            "m2": 1,
            "other partition": 0,
            "m3": 2,
        }
        lane = await append(journal, lane, turn("b", 0, 2, taken=["m1"]))
        assert await earlier(journal, "m1", "m2", "m3") == {"m2": 0, "m3": 1}
        await append(journal, lane, turn("b", 1, 3, taken=["m2"]))
        assert await earlier(journal, "m3") == {"m3": 0}

    async def test_the_order_is_that_of_the_commits_whoever_sent_and_whatever_the_name(
        self, journals: Journals
    ) -> None:
        first, second = await journals(), await journals()
        lane = await append(first, await first.take(KIND, 0, "me"), turn("a", 0, 1, outbox=[message("z", "s", "b")]))
        taken = await second.take(KIND, 0, "you")
        assert taken.tail == lane.tail
        await append(second, taken, turn("a", 1, 2, outbox=[message("a", "s", "b")]))
        assert await earlier(first, "a", "z") == {"z": 0, "a": 1}

    async def test_a_parked_message_is_not_waited_for_and_one_that_comes_back_is(self, journal: Journal) -> None:
        lane = await journal.take(KIND, 0, "me")
        sent = [message("m1", "thing:a", "b"), message("m2", "thing:a", "b")]
        lane = await append(journal, lane, turn("a", 0, 1, outbox=sent))
        assert await earlier(journal, "m2") == {"m2": 1}
        assert await journal.park(lane, "m1", "thing:a", "because") is True
        assert await earlier(journal, "m1", "m2") == {"m2": 0}

    async def test_what_is_merely_wanted_is_told_nothing_of_its_order(self, journal: Journal) -> None:
        lane = await journal.take(KIND, 0, "me")
        await append(journal, lane, turn("a", 0, 1, outbox=[message("m1", "s", "b"), message("m2", "s", "b")]))
        loaded = await journal.load(Wanted(messages=["m1"], ordered=["m2"]))
        assert (loaded.messages, loaded.earlier) == ({"m1", "m2"}, {"m2": 1})

    async def test_behind_too_many_messages_of_a_partition_nobody_looks(self, journal: Journal) -> None:
        lane = await journal.take(KIND, 0, "me")
        sent = [message("first", "s", "b"), *(message(f"o{n}", "other", f"c{n}") for n in range(LOOKED_AT))]
        sent.append(message("last", "s", "b"))
        await append(journal, lane, turn("a", 0, 1, outbox=sent))
        at_most, one_more = f"o{LOOKED_AT - 2}", f"o{LOOKED_AT - 1}"
        assert await earlier(journal, "first", at_most, one_more, "last") == {
            "first": 0,
            at_most: 0,
            one_more: MANY,
            "last": MANY,
        }

    async def test_the_pairs_that_wait_are_those_with_a_message_in_the_outbox(self, journal: Journal) -> None:
        lane = await journal.take(KIND, 0, "me")
        sent = [
            message("m1", "thing:a", "b"),
            message("m2", "thing:a", "b"),
            message("m3", "toy:a", "b"),
            message("m4", "thing:a", "c", no=1),
        ]
        lane = await append(journal, lane, turn("a", 0, 1, outbox=sent))
        assert await journal.waiting([(KIND, 0)]) == {(KIND, 0, "thing:a", "b"), (KIND, 0, "toy:a", "b")}
        assert await journal.waiting([(KIND, 1), (KIND, 2), ("none", 0)]) == {(KIND, 1, "thing:a", "c")}
        assert await journal.waiting([]) == set()
        lane = await append(journal, lane, turn("b", 0, 2, taken=["m1", "m3"]))
        assert await journal.waiting([(KIND, 0)]) == {(KIND, 0, "thing:a", "b")}
        await append(journal, lane, turn("b", 1, 3, taken=["m2"]))
        assert await journal.waiting([(KIND, 0)]) == set()
        assert await waiting(journal) == []

    async def test_a_reader_sees_the_messages_of_a_pair_without_a_gap_while_they_come_and_go(
        self, journals: Journals
    ) -> None:
        writer, taker, reader = await journals(), await journals(), await journals()
        source, target = await writer.take(KIND, 0, "writer"), await taker.take(KIND, 1, "taker")
        names = [f"m{n:02}" for n in range(40)]
        done = asyncio.Event()
        seen: list[list[int]] = []

        async def write() -> None:
            lane = source
            for place, name in enumerate(names):
                lane = await append(writer, lane, turn("a", place, place + 1, outbox=[message(name, "s", "b", no=1)]))

        async def take() -> None:
            place = 0
            while place < len(names):
                if names[place] in (await taker.load(Wanted(messages=[names[place]]))).messages:
                    await taker.commit([(target, 0)], [TurnRows(KIND, 1, "b", 0, 0, taken=[names[place]])])
                    place += 1
            done.set()

        async def read() -> None:
            while not done.is_set():
                seen.append([count for _, count in sorted((await earlier(reader, *names)).items())])

        await asyncio.gather(write(), take(), read())
        assert all(counts == list(range(len(counts))) for counts in seen)
