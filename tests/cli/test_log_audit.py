from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
import pytest

from ultramarket.cli.log_audit import LogAudit, Report
from ultramarket.runtime.actor import Actor
from ultramarket.runtime.codec import Chain, encode
from ultramarket.runtime.partitioning import partition_of


class Added(msgspec.Struct, frozen=True, tag=True):
    amount: int


class Tally(msgspec.Struct, frozen=True):
    total: int


class Counter(Actor[Tally, Any, Added]):
    kind = "counter"
    state = Tally
    commands = Added
    events = Added
    shape = 2

    def evolve(self, state: Tally | None, event: Added) -> Tally:
        if event.amount > 1000:
            raise ValueError("too much")
        return Tally((state.total if state else 0) + event.amount)


async def audit(dsn: str, *changes: str) -> Report:
    """Two counters with two and one events, changed afterwards, audited."""
    connection = await asyncpg.connect(dsn)
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    await connection.execute(
        "create table event_old partition of event for values from ('2026-01-01') to ('2026-02-01')"
    )
    try:
        for id, amounts in (("a", (1, 2)), ("b", (5,))):
            no, head = partition_of("counter", id), Chain.START
            for version, amount in enumerate(amounts, start=1):
                data = encode(Added(amount))
                head = Chain.link(head, ("counter", id, "Added", "c", "staff"), version, at, data)
                await connection.execute(
                    "insert into event values ('counter', $1, $2, $3, $2, 'Added', $4, $5, 'c', 'staff', 't', $6)",
                    no, version, id, data, at, head,
                )  # fmt: skip
            await connection.execute(
                "insert into entity values ('counter', $1, $2, 2, $3, $4)",
                id, len(amounts), head, encode(Tally(sum(amounts))),
            )  # fmt: skip
            await connection.execute("insert into partition values ('counter', $1, 1, $2)", no, len(amounts))
        for change in changes:
            await connection.execute(change)
        read: list[int] = []
        report = await LogAudit([Counter()], read.append).run(connection)
        assert sum(read) == report.events
        return report
    finally:
        await connection.close()


async def test_a_log_that_is_whole_is_found_so(dsn: str) -> None:
    assert await audit(dsn) == Report(partitions=2, events=3, entities=2)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ("update event set data = '{\"type\":\"Added\",\"amount\":7}' where id = 'b'",
         "counter b: the hash of version 1 is not what its event gives."),
        ("update event set actor = 'guest' where id = 'b'",
         "counter b: the hash of version 1 is not what its event gives."),
        ("delete from event where id = 'a' and version = 1", "counter a: version 2 follows 0."),
        ("update entity set state = '{\"total\":4}' where id = 'a'",
         "counter a: its stored state is not what its events give."),
        ("update entity set state = '{}' where id = 'a'",
         "counter a: its stored state can't be read (Object missing required field `total`)."),
        ("update entity set version = 3 where id = 'a'",
         "counter a is stored in version 3, but its events go to 2."),
        ("update entity set head = '' where id = 'a'",
         "counter a: the stored head of its hashes is not that of its last event."),
        ("update entity set shape = 3 where id = 'a'",
         "counter a was stored by a newer program (shape 3, ours is 2)."),
        ("delete from entity where id = 'a'", "counter a has events but is not stored."),
        ("insert into entity values ('counter', 'z', 1, 2, '', '{}')", "counter z is stored but has no events."),
        ("update partition set tail = 9 where tail = 1",
         f"Partition counter.{partition_of('counter', 'b'):02}: its last event is 1, but its tail says 9."),
        ("update event set seq = 5 where id = 'b'",
         f"Partition counter.{partition_of('counter', 'b'):02}: event 5 follows 0."),
        ("update event set no = 15 where id = 'b'",
         "counter b: its events are in partition 15, where they don't belong."),
        ("update event set kind = 'gadget' where id = 'b'", "gadget b: this program knows no gadget."),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_found(dsn: str, change: str, finding: str) -> None:
    report = await audit(dsn, change)
    assert finding in report.findings
    assert report.wrong == len(report.findings)


async def test_an_event_that_its_actor_can_t_take_is_found(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: Counter, _state: Tally | None, _event: Added) -> Tally:
        raise ValueError("too much")

    monkeypatch.setattr(Counter, "evolve", refuse)
    report = await audit(dsn)
    assert report.findings == [
        "counter a: version 1 can't be replayed (ValueError: too much).",
        "counter b: version 1 can't be replayed (ValueError: too much).",
    ]


async def test_a_state_of_an_older_shape_is_counted_and_not_compared(dsn: str) -> None:
    report = await audit(dsn, "update entity set shape = 1, state = '{\"sum\":3}' where id = 'a'")
    assert (report.older, report.wrong) == (1, 0)


async def test_many_entities_are_compared_some_at_a_time(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ultramarket.cli.log_audit._COMPARED_AT_ONCE", 1)
    monkeypatch.setattr("ultramarket.cli.log_audit._PREFETCH", 2)
    report = await audit(dsn, "delete from entity where id = 'a'")
    assert (report.events, report.entities, report.findings) == (3, 2, ["counter a has events but is not stored."])


async def test_only_the_first_hundred_findings_keep_their_text() -> None:
    report = Report()
    for number in range(150):
        report.found(str(number))
    assert (report.wrong, len(report.findings)) == (150, 100)
