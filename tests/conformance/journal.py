"""What every journal must do; an adapter's test subclasses `JournalContract` and supplies the fixture `journals`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from ultramarket.ports.journal import (
    DROP,
    ClaimTaken,
    CommitRefused,
    EventRow,
    Fenced,
    Journal,
    JournalLost,
    Lane,
    OutboxRow,
    PartRow,
    ReplyRow,
    TurnRows,
    Wanted,
)

Journals = Callable[[], Awaitable[Journal]]
KIND = "thing"
HEAD = b"\x01" * 32


def event(seq: int, version: int, data: str = '{"n":1}', at: datetime | None = None) -> EventRow:
    """An event row of a test."""
    time = at or datetime.now(UTC)
    return EventRow(seq, version, "Happened", data, time, f"command-{version}", "system", "trace", HEAD)


def turn(id: str, before: int, seq: int, *, events: int = 1, no: int = 0, **rest: Any) -> TurnRows:
    """A turn that appends events after version `before`, with seq from `seq` on."""
    rows = [event(seq + place, before + 1 + place) for place in range(events)]
    version = before + events
    return TurnRows(KIND, no, id, before, version, 1, HEAD, f'{{"v":{version}}}', events=rows, **rest)


def message(name: str, id: str = "b", no: int = 0) -> OutboxRow:
    """A message for the thing `id`."""
    return OutboxRow(name, KIND, no, id, '{"body":1}', "toy:s")


async def append(journal: Journal, lane: Lane, *turns: TurnRows) -> Lane:
    """Commit turns of one lane; gives the lane as it is then."""
    after = lane.tail + sum(len(rows.events) for rows in turns)
    await journal.commit([(lane, after)], turns)
    return Lane(lane.kind, lane.no, lane.epoch, after)


async def waiting(journal: Journal, lanes: Sequence[tuple[str, int]] = ((KIND, 0),)) -> list[str]:
    """Names of the messages in the outbox, in order."""
    return [row.message for row in await journal.pending(lanes, 0, 0.0, 1000)]


async def versions(journal: Journal, *ids: str) -> dict[str, int]:
    """Versions of the things that exist."""
    loaded = await journal.load(Wanted(entities=[(KIND, id_) for id_ in ids]))
    return {id_: stored.version for (_, id_), stored in loaded.entities.items()}


class JournalContract:
    """The tests of the port `Journal`."""

    @pytest_asyncio.fixture
    async def journal(self, journals: Journals) -> Journal:
        """An open journal on an empty store."""
        return await journals()

    async def test_a_lane_starts_at_epoch_one_and_tail_nought_and_keeps_its_tail(self, journal: Journal) -> None:
        lane = await journal.take(KIND, 0, "me")
        assert lane == Lane(KIND, 0, 1, 0)
        await append(journal, lane, turn("a", 0, 1, events=3))
        assert await journal.take(KIND, 0, "me") == Lane(KIND, 0, 2, 3)

    async def test_what_a_commit_wrote_is_read_back(self, journal: Journal) -> None:
        lane = await journal.take(KIND, 0, "me")
        due = datetime(2030, 1, 1, tzinfo=UTC)
        rows = turn(
            "a",
            0,
            1,
            events=2,
            replies=[ReplyRow("key", b"hash", '{"answer":1}')],
            outbox=[message("m1"), message("m2")],
            parts=[PartRow("p", '{"q":1}', due), PartRow("r", "2", None)],
            timer=due,
            claims=[("sku", "X")],
        )
        now = await journal.commit([(lane, 2)], [rows])
        assert now.utcoffset() == timedelta(0)
        loaded = await journal.load(
            Wanted(
                entities=[(KIND, "a"), (KIND, "none")],
                parts=[(KIND, "a", "p"), (KIND, "a", "none")],
                replies=[(KIND, "a", "key"), (KIND, "a", "none")],
                messages=["m1", "none"],
            )
        )
        assert list(loaded.entities) == [(KIND, "a")]
        stored = loaded.entities[KIND, "a"]
        assert (stored.version, stored.shape, stored.head, stored.state) == (2, 1, HEAD, '{"v":2}')
        assert loaded.parts == {(KIND, "a", "p"): '{"q":1}'}
        assert loaded.replies == {(KIND, "a", "key"): (b"hash", '{"answer":1}')}
        assert loaded.messages == {"m1"}
        assert await journal.due_timers([(KIND, 0)], due) == [(KIND, "a", due)]
        assert await journal.due_timers([(KIND, 0)], due - timedelta(seconds=1)) == []
        assert await journal.due_timers([(KIND, 1)], due) == []
        assert await journal.taken_claims([("sku", "X"), ("sku", "Y")]) == {("sku", "X"): (KIND, "a")}
        assert [row async for row in journal.history(KIND, "a")] == rows.events

    async def test_history_gives_every_event_in_order_however_many(self, journal: Journal) -> None:
        lane = await journal.take(KIND, 0, "me")
        await append(journal, lane, turn("a", 0, 1, events=1201))
        found = [(row.seq, row.version) async for row in journal.history(KIND, "a")]
        assert found == [(n, n) for n in range(1, 1202)]

    @pytest.mark.parametrize(
        "wrong", [Lane(KIND, 0, 2, 0), Lane(KIND, 0, 0, 0), Lane(KIND, 0, 1, 5), Lane(KIND, 9, 1, 0)]
    )
    async def test_a_stale_epoch_or_tail_writes_nothing(self, journal: Journal, wrong: Lane) -> None:
        await journal.take(KIND, 0, "me")
        rows = turn("a", 0, 1, outbox=[message("m")], replies=[ReplyRow("k", b"", "1")], claims=[("sku", "X")])
        with pytest.raises(Fenced):
            await journal.commit([(wrong, wrong.tail + 1)], [rows])
        assert await versions(journal, "a") == {}
        assert await waiting(journal) == []
        assert await journal.taken_claims([("sku", "X")]) == {}
        assert (await journal.load(Wanted(replies=[(KIND, "a", "k")]))).replies == {}
        assert await journal.take(KIND, 0, "me") == Lane(KIND, 0, 2, 0)

    async def test_one_stale_lane_undoes_the_whole_commit(self, journal: Journal) -> None:
        good, bad = await journal.take(KIND, 0, "me"), await journal.take(KIND, 1, "me")
        await journal.take(KIND, 1, "other")
        with pytest.raises(Fenced):
            await journal.commit([(good, 1), (bad, 1)], [turn("a", 0, 1), turn("b", 0, 1, no=1)])
        assert await versions(journal, "a", "b") == {}

    async def test_a_version_that_moved_fails_the_whole_commit(self, journal: Journal) -> None:
        lane = await append(journal, await journal.take(KIND, 0, "me"), turn("a", 0, 1))
        with pytest.raises(Fenced):
            await journal.commit([(lane, 3)], [turn("a", 7, 2), turn("b", 0, 3)])
        with pytest.raises(Fenced):
            await journal.commit([(lane, 3)], [turn("a", 0, 2), turn("b", 0, 3)])
        assert await versions(journal, "a", "b") == {"a": 1}

    @pytest.mark.parametrize("before", [0, 1])
    async def test_an_entity_twice_in_a_commit_fails_whole(self, journal: Journal, before: int) -> None:
        lane = await journal.take(KIND, 0, "me")
        if before:
            lane = await append(journal, lane, turn("a", 0, 1))
        with pytest.raises(Fenced):
            await journal.commit(
                [(lane, lane.tail + 2)], [turn("a", before, lane.tail + 1), turn("a", before, lane.tail + 2)]
            )
        assert await versions(journal, "a") == ({"a": 1} if before else {})

    async def test_a_message_taken_before_fails_the_whole_commit(self, journal: Journal) -> None:
        lane = await append(journal, await journal.take(KIND, 0, "me"), turn("a", 0, 1, outbox=[message("m")]))
        lane = await append(journal, lane, turn("b", 0, 2, taken=["m"]))
        assert await waiting(journal) == []
        with pytest.raises(Fenced):
            await journal.commit([(lane, 3)], [turn("b", 1, 3, taken=["m"])])
        assert await versions(journal, "b") == {"b": 1}

    async def test_a_message_may_stand_in_the_outbox_once_only(self, journal: Journal) -> None:
        lane = await append(journal, await journal.take(KIND, 0, "me"), turn("a", 0, 1, outbox=[message("m")]))
        with pytest.raises(Fenced):
            await append(journal, lane, turn("a", 1, 2, outbox=[message("m")]))

    async def test_a_refusal_stores_its_reply_and_creates_no_entity(self, journal: Journal) -> None:
        lane = await journal.take(KIND, 0, "me")
        refusal = TurnRows(KIND, 0, "ghost", 0, 0, replies=[ReplyRow("k", b"h", "no")], claims=[("sku", "X")])
        await journal.commit([(lane, 0)], [refusal])
        loaded = await journal.load(Wanted(entities=[(KIND, "ghost")], replies=[(KIND, "ghost", "k")]))
        assert loaded.entities == {}
        assert loaded.replies == {(KIND, "ghost", "k"): (b"h", "no")}
        assert await journal.taken_claims([("sku", "X")]) == {}
        assert (await journal.take(KIND, 0, "me")).tail == 0

    async def test_a_take_over_fences_whoever_had_the_lane(self, journals: Journals) -> None:
        first, second = await journals(), await journals()
        mine = await first.take(KIND, 0, "first")
        yours = await second.take(KIND, 0, "second")
        assert (mine.epoch, yours.epoch) == (1, 2)
        with pytest.raises(Fenced):
            await append(first, mine, turn("a", 0, 1))
        yours = await append(second, yours, turn("a", 0, 1))
        assert yours.tail == 1

    async def test_takers_and_committers_racing_leave_a_log_without_gaps(self, journals: Journals) -> None:
        first, second = await journals(), await journals()
        done: list[int] = []

        async def work(journal: Journal, name: str) -> None:
            for round_ in range(15):
                lane = await journal.take(KIND, 0, name)
                try:
                    while True:
                        lane = await append(journal, lane, turn(f"{name}-{round_}-{lane.tail}", 0, lane.tail + 1))
                        done.append(lane.tail)
                        if lane.tail % 7 == 0:
                            break
                except Fenced:
                    continue

        await asyncio.gather(work(first, "first"), work(second, "second"))
        assert sorted(done) == list(range(1, len(done) + 1))
        assert (await first.take(KIND, 0, "me")).tail == len(done)

    async def test_a_text_that_can_not_be_kept_is_refused_and_the_connection_lives(self, journal: Journal) -> None:
        lane = await journal.take(KIND, 0, "me")
        for bad in ("nul \0", "lone \ud800"):
            rows = turn("a", 0, 1)
            rows.state = bad
            with pytest.raises(CommitRefused):
                await append(journal, lane, rows)
            with pytest.raises(CommitRefused):
                await journal.load(Wanted(entities=[(KIND, bad)]))
            with pytest.raises(CommitRefused):
                await journal.taken_claims([("sku", bad)])
        assert (await append(journal, lane, turn("a", 0, 1))).tail == 1

    async def test_what_does_not_fit_an_index_is_refused(self, journal: Journal) -> None:
        lane = await journal.take(KIND, 0, "me")
        incompressible = "".join(chr(0x4E00 + (n * 7919) % 20000) for n in range(5000))
        with pytest.raises(CommitRefused):
            await append(journal, lane, turn("a", 0, 1, claims=[("sku", incompressible)]))
        assert await versions(journal, "a") == {}

    async def test_a_number_out_of_range_is_refused(self, journal: Journal) -> None:
        lane = await journal.take(KIND, 0, "me")
        rows = turn("a", 0, 1)
        rows.shape = 1 << 40
        with pytest.raises(CommitRefused):
            await append(journal, lane, rows)
        assert (await append(journal, lane, turn("a", 0, 1))).tail == 1

    async def test_a_claim_is_taken_once_released_and_taken_again(self, journal: Journal) -> None:
        lane = await append(journal, await journal.take(KIND, 0, "me"), turn("a", 0, 1, claims=[("sku", "X")]))
        with pytest.raises(ClaimTaken):
            await append(journal, lane, turn("b", 0, 2, claims=[("sku", "X")]))
        assert await versions(journal, "b") == {}
        lane = await append(journal, lane, turn("a", 1, 2, drops=[("sku", "X")]))
        lane = await append(journal, lane, turn("b", 0, 3, claims=[("sku", "X")]))
        assert await journal.taken_claims([("sku", "X")]) == {("sku", "X"): (KIND, "b")}

    async def test_the_same_claim_twice_in_a_commit_is_taken(self, journal: Journal) -> None:
        lane = await journal.take(KIND, 0, "me")
        with pytest.raises(ClaimTaken):
            await append(journal, lane, turn("a", 0, 1, claims=[("s", "X")]), turn("b", 0, 2, claims=[("s", "X")]))

    async def test_an_entity_can_not_give_back_the_claim_of_another(self, journal: Journal) -> None:
        lane = await append(journal, await journal.take(KIND, 0, "me"), turn("a", 0, 1, claims=[("sku", "X")]))
        await append(journal, lane, turn("b", 0, 2, drops=[("sku", "X")]))
        assert await journal.taken_claims([("sku", "X")]) == {("sku", "X"): (KIND, "a")}

    async def test_claims_racing_over_two_connections_have_one_winner(self, journals: Journals) -> None:
        first, second = await journals(), await journals()
        lanes = await first.take(KIND, 0, "first"), await second.take(KIND, 1, "second")
        results = await asyncio.gather(
            append(first, lanes[0], turn("a", 0, 1, claims=[("sku", "X")])),
            append(second, lanes[1], turn("b", 0, 1, no=1, claims=[("sku", "X")])),
            return_exceptions=True,
        )
        assert sorted(type(result).__name__ for result in results) == ["ClaimTaken", "Lane"]

    async def test_parts_are_set_changed_and_dropped(self, journal: Journal) -> None:
        lane = await journal.take(KIND, 0, "me")
        parts = [PartRow("p", "1", None), PartRow("q", "2", None)]
        lane = await append(journal, lane, turn("a", 0, 1, parts=parts))
        parts = [PartRow("p", "3", None), PartRow("q", None, None), PartRow("none", None, None)]
        await append(journal, lane, turn("a", 1, 2, parts=parts))
        loaded = await journal.load(Wanted(parts=[(KIND, "a", "p"), (KIND, "a", "q")]))
        assert loaded.parts == {(KIND, "a", "p"): "3"}

    async def test_due_parts_come_earliest_first_at_most_64_with_the_time_of_the_next(self, journal: Journal) -> None:
        start = datetime(2030, 1, 1, tzinfo=UTC)
        parts = [PartRow(f"p{n:03}", str(n), start + timedelta(seconds=n)) for n in range(100)]
        parts.append(PartRow("never", "1", None))
        lane = await append(journal, await journal.take(KIND, 0, "me"), turn("a", 0, 1, parts=parts))
        await append(journal, lane, turn("b", 0, 2, parts=[PartRow("p", "1", start + timedelta(days=1))]))

        async def due(id: str, seconds: int) -> tuple[list[str], datetime | None]:
            now = start + timedelta(seconds=seconds)
            loaded = await journal.load(Wanted(due=[(KIND, id)], now=now))
            return sorted(loaded.due.get((KIND, id), {})), loaded.next_due.get((KIND, id))

        assert await due("a", 9) == ([f"p{n:03}" for n in range(10)], start + timedelta(seconds=10))
        assert await due("a", 1000) == ([f"p{n:03}" for n in range(64)], start + timedelta(seconds=64))
        assert await due("b", 0) == ([], start + timedelta(days=1))
        assert await due("none", 0) == ([], None)

    async def test_a_timer_moves_and_goes(self, journal: Journal) -> None:
        early, late = datetime(2030, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
        lane = await append(journal, await journal.take(KIND, 0, "me"), turn("a", 0, 1, timer=early))
        lane = await append(journal, lane, turn("a", 1, 2, timer=late))
        lane = await append(journal, lane, turn("a", 2, 3))
        assert await journal.due_timers([(KIND, 0)], late) == [(KIND, "a", late)]
        await append(journal, lane, turn("a", 3, 4, timer=DROP))
        assert await journal.due_timers([(KIND, 0)], late) == []

    async def test_pending_messages_come_in_the_order_they_were_sent(self, journal: Journal) -> None:
        lane = await journal.take(KIND, 0, "me")
        first = [message(name) for name in ("z", "a", "m")]
        lane = await append(journal, lane, turn("a", 0, 1, outbox=first))
        lane = await append(
            journal, lane, turn("a", 1, 2, outbox=[message("elsewhere", no=1), message("b")]), turn("c", 0, 3)
        )
        assert await waiting(journal) == ["z", "a", "m", "b"]
        assert await waiting(journal, [(KIND, 1), (KIND, 0)]) == ["z", "a", "m", "elsewhere", "b"]
        found = await journal.pending([(KIND, 0)], 0, 0.0, 2)
        assert [row.message for row in found] == ["z", "a"]
        rest = await journal.pending([(KIND, 0)], found[-1].n, 0.0, 10)
        assert [(row.message, row.kind, row.no, row.id, row.body) for row in rest] == [
            ("m", KIND, 0, "b", '{"body":1}'),
            ("b", KIND, 0, "b", '{"body":1}'),
        ]
        assert await journal.pending([(KIND, 0)], 0, 3600.0, 10) == []

    async def test_the_epochs_of_partitions_are_as_they_were_taken_last(self, journal: Journal) -> None:
        await journal.take(KIND, 0, "me")
        await journal.take(KIND, 1, "me")
        await journal.take(KIND, 1, "you")
        assert await journal.epochs([(KIND, 0), (KIND, 1), (KIND, 2)]) == {(KIND, 0): 1, (KIND, 1): 2}
        assert await journal.epochs([]) == {}

    async def test_a_parked_message_leaves_the_outbox_and_blocks_its_pair(self, journal: Journal) -> None:
        lane = await journal.take(KIND, 0, "me")
        lane = await append(journal, lane, turn("a", 0, 1, outbox=[message("m1"), message("m2")]))
        assert await journal.park(lane, "m1", "thing:a", "because") is True
        assert await journal.park(lane, "m1", "thing:a", "again") is False
        assert await waiting(journal) == ["m2"]
        assert await journal.blocked([(KIND, 0), (KIND, 1)]) == {(KIND, 0, "thing:a", "b")}
        assert await journal.blocked([(KIND, 1)]) == set()

    async def test_only_the_owner_parks(self, journals: Journals) -> None:
        first, second = await journals(), await journals()
        lane = await first.take(KIND, 0, "first")
        lane = await append(first, lane, turn("a", 0, 1, outbox=[message("m1")]))
        await second.take(KIND, 0, "second")
        with pytest.raises(Fenced):
            await first.park(lane, "m1", "thing:a", "because")
        assert await waiting(first) == ["m1"]

    async def test_numbers_are_unique_and_grow(self, journals: Journals) -> None:
        first, second = await journals(), await journals()
        got = [await journal.numbers("order_number", 3) for journal in (first, second, first)]
        assert got == [[100001, 100002, 100003], [100004, 100005, 100006], [100007, 100008, 100009]]

    async def test_calls_of_one_journal_wait_for_each_other(self, journal: Journal) -> None:
        lanes = await asyncio.gather(*(journal.take(KIND, no, "me") for no in range(16)))
        assert [lane.no for lane in lanes] == list(range(16))

    async def test_a_call_that_is_given_up_while_it_waits_leaves_the_others_alone(self, journal: Journal) -> None:
        first = asyncio.create_task(journal.take(KIND, 0, "me"))
        second = asyncio.create_task(journal.take(KIND, 1, "me"))
        await asyncio.sleep(0)
        second.cancel()
        assert await first == Lane(KIND, 0, 1, 0)
        with pytest.raises(asyncio.CancelledError):
            await second
        assert await journal.take(KIND, 1, "me") == Lane(KIND, 1, 1, 0)

    async def test_a_closed_journal_is_lost_until_it_is_opened_again(self, journal: Journal) -> None:
        await journal.close()
        await journal.close()
        with pytest.raises(JournalLost):
            await journal.take(KIND, 0, "me")
        with pytest.raises(JournalLost):
            await journal.load(Wanted(messages=["m"]))
        with pytest.raises(JournalLost):
            await journal.commit([], [])
        opened = await journal.open()
        assert opened.utcoffset() == timedelta(0)
        assert await journal.take(KIND, 0, "me") == Lane(KIND, 0, 1, 0)
