"""What a journal does when more than one thing stands against a commit, or more than one process is at work.

The simulation relies on each of these: an adapter's test subclasses `JournalRaces` beside `JournalContract`.
"""

import asyncio
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from tests.conformance.journal import KIND, Journals, append, event, message, turn, versions, waiting
from ultramarket.ports.journal import (
    DROP,
    ClaimTaken,
    CommitRefused,
    Fenced,
    Journal,
    JournalLost,
    Lane,
    PartRow,
    ReplyRow,
    TurnRows,
    Wanted,
)


class JournalRaces:
    """More tests of the port `Journal`."""

    @pytest_asyncio.fixture
    async def journal(self, journals: Journals) -> Journal:
        """An open journal on an empty store."""
        return await journals()

    @pytest_asyncio.fixture
    async def lane(self, journal: Journal) -> Lane:
        """A lane where `a` is at version 1, owns the SKU X, and sent `m` to `b`."""
        lane = await journal.take(KIND, 0, "me")
        return await append(journal, lane, turn("a", 0, 1, claims=[("sku", "X")], outbox=[message("m")]))

    async def test_a_moved_lane_counts_more_than_a_taken_claim(self, journal: Journal, lane: Lane) -> None:
        stale = Lane(KIND, 0, lane.epoch, 0)
        with pytest.raises(Fenced):
            await append(journal, stale, turn("b", 0, 2, claims=[("sku", "X")]))

    async def test_a_moved_version_counts_more_than_a_taken_claim(self, journal: Journal, lane: Lane) -> None:
        with pytest.raises(Fenced):
            await append(journal, lane, turn("a", 0, 2), turn("b", 0, 3, claims=[("sku", "X")]))

    async def test_a_message_taken_before_counts_more_than_a_taken_claim(self, journal: Journal, lane: Lane) -> None:
        with pytest.raises(Fenced):
            await append(journal, lane, turn("b", 0, 2, claims=[("sku", "X")], taken=["none"]))

    async def test_a_taken_claim_counts_more_than_a_message_that_stands_there_already(
        self, journal: Journal, lane: Lane
    ) -> None:
        with pytest.raises(ClaimTaken):
            await append(journal, lane, turn("b", 0, 2, claims=[("sku", "X")], outbox=[message("m")]))

    async def test_its_own_claim_is_taken_too(self, journal: Journal, lane: Lane) -> None:
        with pytest.raises(ClaimTaken):
            await append(journal, lane, turn("a", 1, 2, claims=[("sku", "X")]))

    @pytest.mark.parametrize("first", ["a", "b"])
    async def test_a_claim_may_change_hands_within_a_commit(self, journal: Journal, lane: Lane, first: str) -> None:
        turns = [turn("a", 1, 2, drops=[("sku", "X")]), turn("b", 0, 3, claims=[("sku", "X")])]
        await append(journal, lane, *(turns if first == "a" else reversed(turns)))
        assert await journal.taken_claims([("sku", "X")]) == {("sku", "X"): (KIND, "b")}

    async def test_a_message_can_not_be_taken_twice_in_one_commit(self, journal: Journal, lane: Lane) -> None:
        with pytest.raises(Fenced):
            await append(journal, lane, turn("b", 0, 2, taken=["m", "m"]))
        with pytest.raises(Fenced):
            await append(journal, lane, turn("b", 0, 2, taken=["m"]), turn("c", 0, 3, taken=["m"]))
        assert await waiting(journal) == ["m"]

    async def test_a_message_can_not_be_taken_by_the_commit_that_sends_it(self, journal: Journal, lane: Lane) -> None:
        with pytest.raises(Fenced):
            await append(journal, lane, turn("b", 0, 2, outbox=[message("new")], taken=["new"]))
        with pytest.raises(Fenced):
            await append(journal, lane, turn("b", 0, 2, outbox=[message("new"), message("new")]))

    async def test_a_message_may_be_sent_again_by_the_commit_that_takes_it(self, journal: Journal, lane: Lane) -> None:
        lane = await append(journal, lane, turn("c", 0, 2, outbox=[message("later")]))
        await append(journal, lane, turn("b", 0, 3, outbox=[message("m")], taken=["m"]))
        assert await waiting(journal) == ["later", "m"]

    async def test_a_part_set_twice_in_one_turn_is_refused(self, journal: Journal, lane: Lane) -> None:
        with pytest.raises(CommitRefused):
            await append(journal, lane, turn("a", 1, 2, parts=[PartRow("p", "1", None), PartRow("p", "2", None)]))

    async def test_a_lane_twice_in_a_commit_fails_whole(self, journal: Journal, lane: Lane) -> None:
        with pytest.raises(Fenced):
            await journal.commit([(lane, 2), (lane, 2)], [turn("a", 1, 2)])

    async def test_an_event_at_a_place_that_is_taken_fails_whole(self, journal: Journal, lane: Lane) -> None:
        now = datetime.now(UTC)
        rows = turn("b", 0, 2)
        rows.events = [event(2, 1, at=now)]
        lane = await append(journal, lane, rows)
        rows = turn("c", 0, 2)
        rows.events = [event(2, 1, at=now)]
        with pytest.raises(Fenced):
            await journal.commit([(lane, 3)], [rows])

    async def test_a_lane_alone_moves_its_tail(self, journal: Journal, lane: Lane) -> None:
        await journal.commit([(lane, 7)], [])
        assert (await journal.take(KIND, 0, "me")).tail == 7

    async def test_what_touches_no_entity_changes_nothing_of_it(self, journal: Journal, lane: Lane) -> None:
        due = datetime(2030, 1, 1, tzinfo=UTC)
        lane = await append(journal, lane, turn("a", 1, 2, timer=due, parts=[PartRow("p", "1", None)]))
        rows = TurnRows(
            KIND, 0, "a", 2, 2, timer=DROP, parts=[PartRow("p", "2", None)], drops=[("sku", "X")], taken=["m"]
        )
        await journal.commit([(lane, lane.tail)], [rows])
        assert await waiting(journal) == []
        assert await journal.due_timers([(KIND, 0)], due) == [(KIND, "a", due)]
        assert (await journal.load(Wanted(parts=[(KIND, "a", "p")]))).parts == {(KIND, "a", "p"): "1"}
        assert await journal.taken_claims([("sku", "X")]) == {("sku", "X"): (KIND, "a")}

    async def test_of_two_replies_under_one_key_one_is_found(self, journal: Journal, lane: Lane) -> None:
        for text in ("1", "2"):
            await journal.commit(
                [(lane, lane.tail)], [TurnRows(KIND, 0, "a", 1, 1, replies=[ReplyRow("k", b"", text)])]
            )
        assert (await journal.load(Wanted(replies=[(KIND, "a", "k")]))).replies == {(KIND, "a", "k"): (b"", "2")}

    async def test_a_message_that_is_gone_is_not_parked(self, journal: Journal, lane: Lane) -> None:
        assert await journal.park(lane, "none", "thing:a", "because") is False
        assert await journal.blocked([(KIND, 0)]) == set()

    async def test_nobody_parks_in_a_partition_that_nobody_took(self, journal: Journal, lane: Lane) -> None:
        with pytest.raises(Fenced):
            await journal.park(Lane(KIND, 9, lane.epoch, 0), "m", "thing:a", "because")

    async def test_parking_does_not_disturb_who_commits(self, journal: Journal, lane: Lane) -> None:
        assert await journal.park(lane, "m", "thing:a", "because") is True
        with pytest.raises(Fenced):
            await append(journal, lane, turn("b", 0, 2, taken=["m"]))
        await append(journal, lane, turn("b", 0, 2))

    async def test_a_reader_sees_all_of_a_commit_or_nothing(self, journals: Journals) -> None:
        writer, reader = await journals(), await journals()
        lane = await writer.take(KIND, 0, "me")
        seen = []
        done = asyncio.Event()
        wanted = Wanted(entities=[(KIND, "a"), (KIND, "b")], parts=[(KIND, "a", "p")], replies=[(KIND, "b", "k")])

        async def read() -> None:
            while not done.is_set():
                found = await reader.load(wanted)
                kept = found.replies.get((KIND, "b", "k"), (b"", "0"))[1]
                parts = found.parts.get((KIND, "a", "p"), "0")
                seen.append({int(kept), int(parts), *(entity.version for entity in found.entities.values())})

        reading = asyncio.create_task(read())
        for version in range(1, 40):
            lane = await append(
                writer,
                lane,
                turn("a", version - 1, lane.tail + 1, parts=[PartRow("p", str(version), None)]),
                turn("b", version - 1, lane.tail + 2, replies=[ReplyRow("k", b"", str(version))]),
            )
        done.set()
        await reading
        assert all(len(one) == 1 for one in seen)

    async def test_a_commit_that_was_given_up_is_there_whole_or_never(self, journals: Journals) -> None:
        second = await journals()
        version = tail = 0
        for loops in range(24):
            first = await journals()
            lane = await first.take(KIND, 0, "first")
            assert lane.tail == tail
            commit = asyncio.create_task(
                append(first, lane, turn("a", version, tail + 1, outbox=[message(f"m{loops}")]))
            )
            for _ in range(loops % 8):
                await asyncio.sleep(0)
            commit.cancel()
            await asyncio.gather(commit, return_exceptions=True)
            if commit.cancelled() and loops % 8:
                with pytest.raises(JournalLost):
                    await first.load(Wanted(messages=["m"]))
            taken = await second.take(KIND, 0, "second")
            version, tail = (await versions(second, "a")).get("a", 0), taken.tail
            assert version == tail
            assert len(await waiting(second)) == tail
            # Nothing lands after the take: the new owner writes on, and finds what it left.
            taken = await append(second, taken, turn("a", version, tail + 1, outbox=[message(f"n{loops}")]))
            version, tail = version + 1, taken.tail
            assert (await versions(second, "a"))["a"] == tail
