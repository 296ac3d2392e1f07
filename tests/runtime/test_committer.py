"""Groups over a real log: one commit for all, what is refused fails alone, nothing is taken twice."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from tests.conformance.toys import (
    Add,
    Break,
    Fill,
    Free,
    Give,
    Look,
    Own,
    Put,
    SetWake,
    Shop,
    TamperedJournal,
    Tell,
    eventually,
    running,
)
from ultramarket.errors import Unavailable
from ultramarket.messages.common import Wake
from ultramarket.ports.asking import Answer
from ultramarket.ports.database import Database
from ultramarket.ports.journal import CommitBusy, CommitRefused, Fenced, JournalLost
from ultramarket.runtime.codec import STATE_LIMIT, Chain
from ultramarket.runtime.committer import Limits, _lane
from ultramarket.runtime.memory import Memory
from ultramarket.runtime.partitioning import partition_of
from ultramarket.runtime.poison import ActorFailed
from ultramarket.runtime.system import Options

DEEP = '{"source":"toy:s","trace":"","body":' + "[" * 50_000 + "]" * 50_000 + "}"
ONE = Options(committers=1, poison_delays=(0.01, 0.01, 0.01))


@pytest_asyncio.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    """With one committer, so that what is asked at once is one group."""
    async with running(Shop(dsn, options=ONE)) as shop:
        yield shop


async def together(*asks: Any) -> list[Any]:
    return await asyncio.gather(*asks, return_exceptions=True)


def codes(results: list[Any]) -> list[str | None]:
    return [
        result.rejection.code if isinstance(result, Answer) and result.rejection else getattr(result, "code", None)
        for result in results
    ]


async def test_what_is_asked_at_once_is_one_commit_and_seqs_have_no_gaps(shop: Shop, database: Database) -> None:
    before = shop.runtime.measures().commits
    results = await together(*(shop.ask("toy", f"e{n % 10}", Add()) for n in range(100)))
    assert shop.runtime.measures().commits == before + 1
    rows = await database.fetch("select kind, no, seq, id, version from event order by kind, no, seq")
    assert len(rows) == 100
    for no in range(16):
        lane = [row["seq"] for row in rows if row["no"] == no]
        assert lane == list(range(1, len(lane) + 1))
    for id_ in (f"e{n}" for n in range(10)):
        assert [row["version"] for row in rows if row["id"] == id_] == list(range(1, 11))
    tokens = {f"toy.{row['no']:02}@{row['seq']}" for row in rows}
    assert {result.token for result in results} == tokens


async def test_the_stored_rows_make_a_hash_chain_over_their_exact_bytes(shop: Shop, database: Database) -> None:
    for command in (Add(n=3), Put(name="p", value=1), Tell(to=("b",), n=1)):
        await shop.ask("toy", "a", command, principal="staff", key=type(command).__name__)
    head = Chain.START
    for row in await database.fetch("select * from event where kind = 'toy' and id = 'a' order by version"):
        names = (row["kind"], row["id"], row["type"], row["command"], row["actor"])
        head = Chain.link(head, names, row["version"], row["at"], row["data"])
        assert row["hash"] == head
    stored = await database.fetchrow("select head, version from entity where id = 'a'")
    assert stored is not None
    assert (stored["head"], stored["version"]) == (head, 3)


async def test_one_that_the_store_refuses_is_found_by_halving_and_its_neighbours_go_through(
    shop: Shop, database: Database
) -> None:
    results = await together(
        *(shop.ask("toy", f"e{n}", Add()) for n in range(20)),
        shop.ask("toy", "e3", Own(value="nul \0"), key="bad"),
        shop.ask("toy", "e4", Put(name="lone \ud800", value=1)),
        shop.ask("toy", "e99", Look(names=("nul \0",))),
        shop.ask("toy", "e3", Add()),
    )
    refusals = ["not_storable", "too_large_or_bad_text", "not_storable"]
    assert codes(results) == [None] * 20 + refusals + [None]
    assert shop.runtime.measures().splits > 0
    assert [(await shop.state(f"e{n}")).total for n in (0, 3, 4, 5)] == [1, 2, 1, 1]
    rows = await database.fetch("select no, seq from event order by no, seq")
    for no in range(16):
        lane = [row["seq"] for row in rows if row["no"] == no]
        assert lane == list(range(1, len(lane) + 1))
    again = await shop.ask("toy", "e3", Own(value="nul \0"), key="bad")
    assert (again.replayed, again.rejection and again.rejection.code) == (True, "not_storable")


async def test_an_entity_with_many_parts_does_not_keep_them_in_memory(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Memory, "PARTS_LIMIT", 5)
    for first in (0, 6):
        await together(*(shop.ask("toy", "a", Put(name=f"p{n}", value=n)) for n in range(first, first + 6)))
    await shop.ask("toy", "a", Put(name="p0", value=None))
    answer = await shop.ask("toy", "a", Look(names=("p0", "p1", "p11")))
    assert answer.value == {"p1": 1, "p11": 11}
    entity = shop.runtime._committers[0].memory.get("toy", "a")
    assert entity is not None
    assert entity.parts == {}


async def test_a_connection_lost_while_an_entity_is_rebuilt_is_not_the_entitys_fault(
    shop: Shop, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.ask("toy", "a", Add())
    await database.execute("update entity set shape = 0 where id = 'a'")
    committer = shop.runtime._committers[0]
    committer.memory.clear()

    def lost(*_: object) -> None:
        monkeypatch.undo()
        raise JournalLost("by the test")

    monkeypatch.setattr(committer.journal, "history", lost)
    assert (await shop.ask("toy", "a", Add(), key="k", timeout=30)).version == 2


async def test_a_wake_up_that_fails_comes_again_when_the_timers_are_read(shop: Shop) -> None:
    await shop.ask("toy", "a", SetWake(at=shop.runtime.now() + timedelta(seconds=0.2)))
    decide, failed = shop.toy.decide, list[object]()

    def fail(state: Any, command: Any, ctx: Any) -> Any:
        if isinstance(command, Wake) and not failed:
            failed.append(command)
            raise RuntimeError("by the test")
        return decide(state, command, ctx)

    shop.toy.decide = fail  # type: ignore[method-assign]
    await eventually(lambda: bool(failed))
    shop.runtime._timers.request()

    async def woken() -> bool:
        return (await shop.state("a")).woken == ((),)

    await eventually(woken)


async def test_a_state_that_grew_too_large_fails_alone(shop: Shop) -> None:
    results = await together(
        shop.ask("toy", "a", Add()),
        shop.ask("toy", "a", Fill(text="x" * STATE_LIMIT)),
        shop.ask("toy", "a", Add()),
        shop.ask("toy", "b", Add()),
    )
    assert codes(results) == [None, "too_large_or_bad_text", None, None]
    assert (await shop.state("a")).total == 2
    assert shop.runtime.ready()


@pytest.mark.parametrize("where", ["decide", "evolve", "react", "needs", "wake_at"])
async def test_a_client_gets_actor_failed_and_nobody_else_is_affected(shop: Shop, where: str) -> None:
    results = await together(
        shop.ask("toy", "a", Add()), shop.ask("toy", "a", Break(where=where)), shop.ask("toy", "b", Add())
    )
    assert isinstance(results[1], ActorFailed)
    assert [(await shop.state(id_)).total for id_ in "ab"] == [1, 1]
    assert (await shop.ask("toy", "a", Add())).version == 2


async def test_the_same_claim_at_once_has_one_winner(shop: Shop) -> None:
    results = await together(*(shop.ask("toy", f"e{n}", Own(value="x")) for n in range(8)))
    assert sorted(codes(results), key=str) == [None] + ["taken"] * 7
    winner = codes(results).index(None)
    assert await shop.runtime.owner("name", "x") == f"e{winner}"


async def test_a_claim_of_another_is_refused_though_it_is_given_back_in_the_same_group(
    shop: Shop, database: Database
) -> None:
    await shop.ask("toy", "a", Own(value="x"))
    results = await together(
        shop.ask("toy", "b", Add()),
        shop.ask("toy", "b", Own(value="x"), key="k"),
        shop.ask("toy", "b", Free(value="x")),
    )
    assert codes(results) == [None, "taken", None]
    assert results[1].rejection.extra == {"namespace": "name", "value": "x"}
    assert await shop.runtime.owner("name", "x") == "a"
    assert await database.fetchrow("select 1 from reply where id = 'b' and command = 'k'") is not None


async def test_a_claim_is_released_and_taken_by_another(shop: Shop) -> None:
    await shop.ask("toy", "a", Own(value="x"))
    assert codes([await shop.ask("toy", "a", Own(value="x"))]) == [None]
    assert codes([await shop.ask("toy", "b", Own(value="x"))]) == ["taken"]
    results = await together(shop.ask("toy", "a", Free(value="x")), shop.ask("toy", "a", Own(value="x")))
    assert codes(results) == [None, None]
    assert await shop.runtime.owner("name", "x") == "a"
    await shop.ask("toy", "a", Free(value="x"))
    assert await shop.runtime.owner("name", "x") is None
    assert codes([await shop.ask("toy", "b", Own(value="x"))]) == [None]


async def test_a_claim_taken_between_the_look_and_the_commit_is_refused(shop: Shop, database: Database) -> None:
    async def steal(_: TamperedJournal) -> None:
        await database.execute("insert into claim values ('name', 'x', 'toy', 'thief') on conflict do nothing")

    shop.knobs.before_commit = steal
    results = await together(shop.ask("toy", "a", Own(value="x")), shop.ask("toy", "b", Add()))
    assert codes(results) == ["taken", None]


async def test_a_claim_that_vanishes_after_the_refusal_still_answers(shop: Shop, database: Database) -> None:
    async def race(journal: TamperedJournal) -> None:
        shop.knobs.before_commit = None
        await database.execute("insert into claim values ('name', 'x', 'toy', 'thief')")
        del journal

    shop.knobs.before_commit = race
    [result] = await together(shop.ask("toy", "a", Own(value="x"), key="k"))
    assert result.rejection.status == 409


async def test_messages_in_a_split_group_keep_their_order_when_one_fails(shop: Shop) -> None:
    shop.toy.poison = {2}
    split: list[int] = []

    async def refuse(journal: TamperedJournal) -> None:
        if "t" in journal.turns and not split:
            split.append(len(shop.toy.tries))
            raise CommitRefused("by the test")

    shop.knobs.before_commit = refuse
    await together(*(shop.ask("toy", "s", Tell(to=("t",), n=n)) for n in (1, 2, 3, 4)))
    await eventually(lambda: shop.toy.tries.count(2) >= 9)
    assert split == [2]
    assert shop.toy.tries[:4] == [1, 2, 1, 2]
    assert await shop.heard("t") == ["toy:s 1"]


@pytest.mark.parametrize("limit", [1, 2])
async def test_deliveries_of_one_unit_are_split_in_order(dsn: str, limit: int) -> None:
    shop = Shop(dsn, options=Options(committers=1, limits=Limits(entities=limit, per_entity=8, commands=16)))
    async with running(shop):
        results = await together(
            *(shop.ask("toy", "a", Own(value="nul \0") if n % 3 == 0 else Add(), key=f"k{n}") for n in range(12)),
            *(shop.ask("toy", "b", Add()) for _ in range(12)),
        )
        assert codes(results) == ["not_storable" if n < 12 and n % 3 == 0 else None for n in range(24)]
        versions = [result.version for result in results[:12] if result.rejection is None]
        assert versions == list(range(1, 9))


async def test_busy_is_tried_again_and_then_taken_anew(shop: Shop) -> None:
    left = 7

    async def busy(_: TamperedJournal) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise CommitBusy("by the test")

    shop.knobs.before_commit = busy
    answer = await shop.ask("toy", "a", Add(), timeout=30)
    assert answer.version == 1
    assert (await shop.state("a")).total == 1


async def test_a_keyless_command_whose_half_committed_is_not_repeated_when_the_other_half_is_fenced(
    shop: Shop, database: Database
) -> None:
    step = 0

    async def fail(_: TamperedJournal) -> None:
        nonlocal step
        step += 1
        if step == 1:
            raise CommitRefused("by the test: split")
        if step == 3:
            raise Fenced("by the test")

    shop.knobs.before_commit = fail
    results = await together(shop.ask("toy", "a", Add(), timeout=30), shop.ask("toy", "b", Add(), timeout=30))
    assert [type(result) for result in results] == [Answer, Answer]
    assert await database.fetch("select id, version, state from entity order by id") == [
        ("a", 1, '{"total":1}'),
        ("b", 1, '{"total":1}'),
    ]


async def test_a_message_is_not_taken_again_when_the_rest_of_its_group_was_lost(shop: Shop, database: Database) -> None:
    await together(*(shop.ask("toy", f"s{n}", Add(n=1)) for n in range(6)))
    step = 0

    async def fail(_: TamperedJournal) -> None:
        nonlocal step
        step += 1
        if step in (2, 5, 8):
            raise CommitRefused("by the test: split")
        if step in (4, 9):
            raise Fenced("by the test")

    shop.knobs.before_commit = fail
    await together(*(shop.ask("toy", f"s{n}", Give(to=f"t{n % 2}", n=1), timeout=30) for n in range(6)))

    async def arrived() -> bool:
        return (await shop.state("t0")).total + (await shop.state("t1")).total >= 6

    await eventually(arrived)
    total = await database.fetchrow("select sum((state::json->>'total')::int) as total from entity where id like 't%'")
    assert total is not None
    assert total["total"] == 6


async def test_an_entity_that_can_not_be_read_fails_alone_and_its_messages_are_parked(
    shop: Shop, database: Database
) -> None:
    await shop.ask("toy", "a", Add())
    await database.execute("update entity set state = '{\"total\":\"odd\"}' where id = 'a'")
    shop.runtime._committers[0].memory.clear()
    results = await together(
        shop.ask("toy", "a", Add()), shop.ask("toy", "b", Add()), shop.ask("toy", "s", Tell(to=("a",), n=1))
    )
    assert [type(result) for result in results] == [ActorFailed, Answer, Answer]
    await shop.ask("toy", "s", Tell(to=("a",), n=2))

    async def parked() -> bool:
        return bool(await database.fetch("select 1 from parked where message = 'toy/s/1/0'"))

    await eventually(parked)
    await database.execute("update entity set state = '{\"total\":1}' where id = 'a'")
    assert (await shop.ask("toy", "a", Add())).version == 2


async def test_an_entity_of_a_newer_shape_is_unavailable_and_nothing_is_parked(shop: Shop, database: Database) -> None:
    await shop.ask("toy", "a", Add())
    await database.execute("update entity set shape = 2 where id = 'a'")
    shop.runtime._committers[0].memory.clear()
    for _ in range(2):
        results = await together(
            shop.ask("toy", "a", Add(), key="k"),
            shop.ask("toy", "b", Add()),
            shop.ask("toy", "s", Tell(to=("a",), n=1)),
        )
        assert codes(results) == ["newer_version", None, None]
    with pytest.raises(Unavailable) as caught:
        await shop.runtime.read("toy", "a")
    assert caught.value.code == "newer_version"
    partition = shop.runtime._partitions["toy", partition_of("toy", "a")]
    await eventually(lambda: ("toy:s", "a") in partition.behind)
    assert shop.toy.tries == []
    assert await database.fetch("select 1 from parked") == []
    assert [row["message"] for row in await database.fetch("select message from outbox order by n")] == [
        "toy/s/1/0",
        "toy/s/2/0",
    ]
    await database.execute("update entity set shape = 1 where id = 'a'")

    async def heard() -> bool:
        return await shop.heard("a") == ["toy:s 1", "toy:s 1"]

    await eventually(heard)


async def test_an_older_shape_is_rebuilt_from_the_events(shop: Shop, database: Database) -> None:
    for n in (1, 2, 3):
        await shop.ask("toy", "a", Add(n=n))
    await database.execute("update entity set shape = 0, state = 'of another time' where id = 'a'")
    shop.runtime._committers[0].memory.clear()
    assert (await shop.state("a")).total == 6
    assert (await shop.ask("toy", "a", Add())).version == 4
    row = await database.fetchrow("select shape, state from entity where id = 'a'")
    assert row is not None
    assert (row["shape"], row["state"]) == (1, '{"total":7}')


async def test_a_listener_that_fails_after_a_commit_changes_nothing(dsn: str) -> None:
    def broken() -> None:
        raise RuntimeError("broken listener")

    async with running(Shop(dsn, on_commit=broken)) as shop:
        assert (await shop.ask("toy", "a", Add())).version == 1
        assert (await shop.ask("toy", "a", Add())).version == 2
        assert shop.runtime.ready()


async def test_memory_is_bounded_and_forgotten_entities_come_back(dsn: str) -> None:
    async with running(Shop(dsn, options=Options(memory_bytes=20_000))) as shop:
        for _ in range(2):
            await together(*(shop.ask("toy", f"e{n}", Put(name="p", value=n)) for n in range(100)))
        entities, size = shop.runtime.memory()
        assert entities < 40
        assert size <= 20_000
        answers = await together(*(shop.ask("toy", f"e{n}", Look(names=("p",))) for n in range(100)))
        assert [answer.value["p"] for answer in answers] == list(range(100))
        assert [answer.version for answer in answers] == [2] * 100


async def test_a_failed_commit_leaves_parts_in_memory_as_they_were(shop: Shop) -> None:
    await shop.ask("toy", "a", Put(name="p", value=1))

    async def refuse(_: TamperedJournal) -> None:
        raise CommitRefused("by the test")

    shop.knobs.before_commit = refuse
    assert codes([await shop.ask("toy", "a", Put(name="p", value=2))]) == ["not_storable"]
    shop.knobs.before_commit = None
    answer = await shop.ask("toy", "a", Look(names=("p",)))
    assert answer.value == {"p": 1}


async def test_messages_whose_claim_is_taken_are_parked(shop: Shop, database: Database) -> None:
    await shop.ask("toy", "a", Own(value="x"))
    no = partition_of("toy", "b")
    await database.execute(
        "insert into outbox (message, kind, no, id, body) values "
        "('m1', 'toy', $1, 'b', $2), ('m2', 'toy', $1, 'b', $3), ('m3', 'toy', $1, 'b', $4)",
        no,
        '{"source":"toy:s","trace":"","body":{"$type":"Own","value":"x"}}',
        '{"source":"toy:s","trace":"","body":{"$type":"Hear","n":1}}',
        '{"source":"toy:other","trace":"","body":{"$type":"Hear","n":2}}',
    )

    async def parked() -> bool:
        return bool(await database.fetch("select 1 from parked where message = 'm1'"))

    await eventually(parked)
    assert await shop.heard("b") == ["toy:other 2"]


async def test_an_unreadable_message_is_parked_with_the_reason(shop: Shop, database: Database) -> None:
    for kind, id_ in (("toy", "b"), ("courier", "c")):
        await database.execute(
            "insert into outbox (message, kind, no, id, body) values ($1, $2, $3, $4, $5)",
            f"m {kind}",
            kind,
            partition_of(kind, id_),
            id_,
            '{"source":"toy:s","trace":"","body":{"$type":"FromTheFuture"}}',
        )

    async def parked() -> bool:
        return len(await database.fetch("select 1 from parked")) == 2

    await eventually(parked)
    for row in await database.fetch("select reason from parked"):
        assert row["reason"].startswith("UltraMarketError: this program can't read the message")
    assert shop.courier.calls == []


@pytest.mark.parametrize("body", ["these are no words of ours", '{"body":{}}', DEEP])
async def test_a_message_whose_envelope_is_unreadable_is_parked_and_the_messages_of_others_go_on(
    shop: Shop, database: Database, body: str
) -> None:
    for message, source, text in (
        ("m1", "toy:s", body),
        ("m2", "toy:s", '{"source":"toy:s","trace":"","body":{"$type":"Hear","n":1}}'),
        ("m3", "toy:other", '{"source":"toy:other","trace":"","body":{"$type":"Hear","n":2}}'),
    ):
        await database.execute(
            "insert into outbox (message, kind, no, id, body, source) values ($1, 'toy', $2, 'b', $3, $4)",
            message, partition_of("toy", "b"), text, source,
        )  # fmt: skip

    async def parked() -> bool:
        return bool(await database.fetch("select 1 from parked"))

    await eventually(parked)
    rows = await database.fetch("select message, source, reason from parked")
    assert [(row["message"], row["source"]) for row in rows] == [("m1", "toy:s")]
    assert rows[0]["reason"].startswith("UltraMarketError: this program can't read the message: ")
    assert await shop.heard("b") == ["toy:other 2"]


async def test_a_reason_that_can_not_be_stored_is_written_another_way(shop: Shop, database: Database) -> None:
    shop.toy.poison, shop.toy.text_of_poison = {1}, "nul \0 and \ud800 " + "x" * 5000
    await shop.ask("toy", "s", Tell(to=("t",), n=1))

    async def parked() -> bool:
        return bool(await database.fetch("select 1 from parked"))

    await eventually(parked)
    row = await database.fetchrow("select reason from parked")
    assert row is not None
    assert row["reason"].startswith("ValueError: nul \\x00 and \\ud800 xxx")
    assert len(row["reason"]) < 2100


def test_a_partition_that_is_not_ours_has_no_lane(dsn: str) -> None:
    with pytest.raises(Unavailable) as caught:
        _lane(Shop(dsn).runtime._partitions["toy", 0])
    assert caught.value.code == "not_ready"
