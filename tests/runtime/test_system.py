"""The runtime over a real database: keys, crashes of connections, hand-over, stopping."""

import asyncio
import random
from typing import Any

import pytest

from tests.conformance.toys import (
    Add,
    Break,
    Fill,
    Give,
    Look,
    Own,
    Shop,
    TamperedJournal,
    Tell,
    eventually,
    running,
)
from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.adapters.postgres_journal import PostgresJournal
from ultramarket.errors import UltraMarketError, Unavailable
from ultramarket.ports.asking import Answer
from ultramarket.ports.journal import Fenced, JournalLost
from ultramarket.runtime.partitioning import partition_of
from ultramarket.runtime.system import Options

LONG = 60.0


async def terminate(database: PostgresDatabase, journal: TamperedJournal | None = None) -> None:
    """End the server's processes of the journals, or of one."""
    if journal is not None:
        await database.execute("select pg_terminate_backend(nullif($1::int, 0), 5000)", journal.backend())
        return
    await database.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
        "where datname = current_database() and application_name = 'ultramarket journal'"
    )


async def count(database: PostgresDatabase, table: str) -> int:
    row = await database.fetchrow(f"select count(*) as n from {table}")  # noqa: S608 - a test's own table name
    assert row is not None
    return int(row["n"])


async def test_the_same_key_at_once_takes_effect_once(dsn: str) -> None:
    async with running(Shop(dsn)) as shop:
        results = await asyncio.gather(*(shop.ask("toy", "a", Add(n=5), key="k", body_hash=b"h") for _ in range(20)))
        outcomes = [result.rejection.code if result.rejection else result.value for result in results]
        assert outcomes.count({"total": 5}) >= 1
        assert outcomes.count("in_progress") == 20 - outcomes.count({"total": 5})
        again = await shop.ask("toy", "a", Add(n=5), key="k", body_hash=b"h")
        assert (again.value, again.replayed, again.version) == ({"total": 5}, True, 1)
        other = await shop.ask("toy", "a", Add(n=5), key="k", body_hash=b"other")
        assert other.rejection is not None
        assert (other.rejection.code, other.rejection.status) == ("idempotency_key_reused", 422)
        first = await shop.ask("toy", "a", Add(n=5), key="k", body_hash=b"h")
        assert first.value == {"total": 5}
        assert (await shop.state("a")).total == 5


async def test_keys_belong_to_their_entity_and_outlive_the_process(dsn: str) -> None:
    async with running(Shop(dsn)) as shop:
        for id_ in "ab":
            assert (await shop.ask("toy", id_, Add(), key="k")).replayed is False
    async with running(Shop(dsn)) as shop:
        assert [(await shop.ask("toy", id_, Add(), key="k")).replayed for id_ in "abc"] == [True, True, False]


async def test_answers_are_kept_and_looked_up_without_a_command(dsn: str) -> None:
    async with running(Shop(dsn)) as shop:
        assert await shop.runtime.stored("toy", "a", "k", b"h") is None
        await shop.runtime.keep("toy", "a", "k", b"h", {"page": [1, 2]})
        found = await shop.runtime.stored("toy", "a", "k", b"h")
        assert found == Answer({"page": [1, 2]}, replayed=True)
        reused = await shop.runtime.stored("toy", "a", "k", b"other")
        assert reused is not None
        assert reused.rejection is not None
        assert await shop.runtime.read("toy", "a") is None


@pytest.mark.parametrize("bad", ["", "x" * 201, "nul \0", "lone \ud800"])
async def test_an_unusable_id_or_key_is_refused(dsn: str, bad: str) -> None:
    shop = Shop(dsn)
    for answer in (
        await shop.ask("toy", bad, Add()),
        await shop.ask("toy", "a", Add(), key=bad),
        await shop.ask("toy", "a", Add(), principal=bad),
    ):
        assert answer.rejection is not None
        assert answer.rejection.code == "bad_id"
    assert await shop.runtime.owner("name", bad) is None


async def test_asking_nobody_or_a_worker_is_a_mistake_of_the_program(dsn: str) -> None:
    shop = Shop(dsn)
    for kind in ("nobody", "courier"):
        with pytest.raises(LookupError):
            await shop.ask(kind, "a", Add())


async def test_before_the_start_nothing_is_taken(dsn: str) -> None:
    shop = Shop(dsn)
    with pytest.raises(Unavailable) as caught:
        await shop.ask("toy", "a", Add())
    assert caught.value.code == "mailbox_full"
    assert shop.runtime.ready() is False


async def test_where_the_mailbox_is_cut_off_nobody_is_told_that_it_is_full(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(dsn)
    monkeypatch.setattr(shop.runtime._mailbox, "ready", lambda: False)
    with pytest.raises(Unavailable) as caught:
        await shop.ask("toy", "a", Add())
    assert caught.value.code == "not_ready"


async def test_an_asker_who_waits_too_long_is_told_and_the_key_can_be_repeated(dsn: str) -> None:
    async with running(Shop(dsn)) as shop:
        gate = asyncio.Event()

        async def wait(_: TamperedJournal) -> None:
            await gate.wait()

        shop.knobs.before_commit = wait
        with pytest.raises(Unavailable) as caught:
            await shop.ask("toy", "a", Add(n=1), key="k", timeout=0.05)
        assert caught.value.code == "deadline_passed"
        with pytest.raises(Unavailable):
            await shop.ask("toy", "a", Add(n=10), timeout=0.05)
        gate.set()
        answer = await shop.ask("toy", "a", Add(n=100), timeout=LONG)
        assert answer.value == {"total": 101}
        again = await shop.ask("toy", "a", Add(n=1), key="k", timeout=LONG)
        assert (again.value, again.replayed) == ({"total": 1}, True)


async def test_reads_see_the_last_write_and_only_what_exists(dsn: str) -> None:
    async with running(Shop(dsn)) as shop:
        await shop.ask("toy", "a", Add(n=2))
        await shop.ask("toy", "sealed", Fill(text="xx"))
        shown = await shop.runtime.read_many("toy", ["a", "none", "sealed", "\0"])
        assert sorted(shown) == ["a", "sealed"]
        assert (shown["a"].value.total, shown["a"].version) == (2, 1)
        assert shown["sealed"].value[0] == "somebody 1"
        await shop.ask("toy", "a", Look())
        assert await shop.runtime.read("toy", "none") is None
        await shop.ask("toy", "none", Look())
        assert await shop.runtime.read("toy", "none") is None
        assert shop.runtime.now().year >= 2025
        assert await shop.runtime.owner("name", "x") is None
        await shop.ask("toy", "a", Own(value="x"))
        assert await shop.runtime.owner("name", "x") == "a"
        numbers = [await shop.runtime.number("order_number") for _ in range(25)]
        assert numbers == list(range(100001, 100026))


async def test_what_was_read_once_is_in_memory_and_read_no_more_from_the_store(dsn: str) -> None:
    async with running(Shop(dsn)) as shop:
        for id_ in "abc":
            await shop.ask("toy", id_, Add(n=2))
    async with running(Shop(dsn)) as shop:
        assert shop.runtime.memory()[0] == 0
        assert (await shop.state("a")).total == 2
        shown = await shop.runtime.read_many("toy", ["a", "b", "c", "none"])
        assert {id_: each.value.total for id_, each in shown.items()} == {"a": 2, "b": 2, "c": 2}
        await eventually(lambda: shop.runtime.memory()[0] == 3)
        loads = shop.runtime.measures().loads
        assert (await shop.state("b")).total == 2
        assert shop.runtime.measures().loads == loads
        await shop.ask("toy", "b", Add(n=3))
        assert (await shop.state("b")).total == 5


async def test_a_list_too_long_for_the_memory_is_read_from_the_store(dsn: str) -> None:
    async with running(Shop(dsn)) as shop:
        await shop.ask("toy", "a", Add(n=2))
    async with running(Shop(dsn)) as shop:
        shown = await shop.runtime.read_many("toy", ["a", *(f"none-{n}" for n in range(200))])
        assert (list(shown), shop.runtime.memory()[0]) == (["a"], 0)


async def test_what_does_not_exist_takes_no_memory_and_no_turn(dsn: str) -> None:
    async with running(Shop(dsn)) as shop:
        assert await shop.runtime.read("toy", "none") is None
        assert shop.runtime.memory()[0] == 0
        assert shop.runtime.measures().loads == 0


async def test_an_owner_that_is_busy_is_read_past(dsn: str) -> None:
    async with running(Shop(dsn)) as shop:
        await shop.ask("toy", "a", Add(n=2))
    async with running(Shop(dsn, options=Options(committers=1))) as shop:
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def wait(_: TamperedJournal) -> None:
            arrived.set()
            await go_on.wait()

        shop.knobs.before_commit = wait
        writing = asyncio.create_task(shop.ask("toy", "b", Add()))
        await arrived.wait()
        assert (await shop.state("a")).total == 2
        go_on.set()
        await writing


async def test_a_sealed_value_without_a_subject_is_a_mistake(dsn: str) -> None:
    async with running(Shop(dsn)) as shop:
        await shop.ask("toy", "a", Break(where="state"))
        with pytest.raises(TypeError):
            await shop.runtime.read("toy", "a")


async def test_watchers_get_the_newest_version(dsn: str) -> None:
    async with running(Shop(dsn)) as shop:
        async with shop.runtime.watch("toy", "a") as versions:
            await shop.ask("toy", "a", Add())
            await shop.ask("toy", "b", Add())
            await shop.ask("toy", "a", Add())
            assert await anext(versions) == 2
            await shop.ask("toy", "a", Add())
            assert await anext(versions) == 3
        assert not shop.runtime.watchers


async def test_figures_are_given(dsn: str) -> None:
    async with running(Shop(dsn)) as shop:
        await shop.ask("toy", "a", Add())
        assert shop.runtime.depths() == {"toy": 0, "courier": 0}
        measures = shop.runtime.measures()
        assert (measures.commits, measures.commands, measures.events) == (1, 1, 1)
        assert shop.runtime.memory()[0] == 1
        assert len(list(shop.runtime.lanes())) == 32


async def test_transfers_happen_exactly_once_while_connections_are_cut(  # noqa: C901 - the whole story
    dsn: str, database: PostgresDatabase
) -> None:
    chance = random.Random(7)  # noqa: S311 - a test's choice
    people, pieces, transfers = [f"p{n}" for n in range(12)], 1000, 240
    async with running(Shop(dsn)) as shop:
        await asyncio.gather(*(shop.ask("toy", id_, Add(n=pieces)) for id_ in people))
        done = asyncio.Event()

        async def cut(journal: TamperedJournal) -> None:
            if chance.random() < 0.5:
                await terminate(database, journal)

        async def cutting() -> None:
            for round_ in range(6):
                await asyncio.sleep(0.15)
                if round_ % 2:
                    shop.knobs.before_commit, shop.knobs.after_commit = cut, None
                else:
                    await terminate(database, shop.knobs.journals[2 + round_ % 4 // 2])
                await asyncio.sleep(0.1)
                shop.knobs.before_commit = None
            done.set()

        async def transfer(n: int) -> None:
            source, target = chance.sample(people, 2)
            while True:
                try:
                    answer = await shop.ask("toy", source, Give(to=target, n=1), key=f"t{n}", timeout=LONG)
                except Unavailable:
                    await asyncio.sleep(0.02)
                    continue
                if answer.rejection is None:
                    return
                assert answer.rejection.code == "in_progress"
                await asyncio.sleep(0.02)

        # Cut connections come faster here than the supervision allows for a real shop.
        for owner in shop.runtime._owners:
            owner._reopenings._most = 1000
        cutter = asyncio.create_task(cutting())
        async with asyncio.timeout(120):
            for start in range(0, transfers, 24):
                await asyncio.gather(*(transfer(n) for n in range(start, start + 24)))
                if start < transfers - 24:
                    await asyncio.sleep(0.1)
            await done.wait()
            await cutter

        async def drained() -> bool:
            return await count(database, "outbox") == 0

        await eventually(drained, LONG)
        states = [await shop.state(id_) for id_ in people]
        assert sum(state.total for state in states) == pieces * len(people)
        row = await database.fetchrow(
            "select count(*) filter (where type = 'Given') as given, count(*) filter (where type = 'Added') as added, "
            "count(distinct command) filter (where type = 'Given') as keys from event"
        )
        assert row is not None
        assert (row["given"], row["added"], row["keys"]) == (transfers, transfers + len(people), transfers)
        rows = await database.fetch("select no, seq from event where kind = 'toy' order by no, seq")
        for no in range(16):
            lane = [row["seq"] for row in rows if row["no"] == no]
            assert lane == list(range(1, len(lane) + 1))


async def test_order_holds_while_connections_are_cut(dsn: str, database: PostgresDatabase) -> None:
    async with running(Shop(dsn, options=Options(mailbox_limit=8, poison_delays=(0.01, 0.01, 0.01)))) as shop:
        for owner in shop.runtime._owners:
            owner._reopenings._most = 1000
        n = 0
        for round_ in range(4):
            for _ in range(15):
                n += 1
                while True:
                    try:
                        answer = await shop.ask("toy", "s", Tell(to=("t", "u"), n=n), key=f"k{n}", timeout=LONG)
                    except Unavailable:
                        await asyncio.sleep(0.02)
                        continue
                    assert answer.rejection is None
                    break
            await terminate(database, shop.knobs.journals[1 + round_ % 3])

        async def all_heard() -> bool:
            return len(await shop.heard("t")) >= n and len(await shop.heard("u")) >= n

        await eventually(all_heard, LONG)
        expected = [f"toy:s {number}" for number in range(1, n + 1)]
        assert await shop.heard("t") == expected
        assert await shop.heard("u") == expected


@pytest.mark.parametrize("written", [False, True])
async def test_after_a_lost_connection_keys_are_looked_up_and_the_rest_is_unknown(
    dsn: str, database: PostgresDatabase, *, written: bool
) -> None:
    async with running(Shop(dsn, options=Options(committers=1))) as shop:
        await shop.ask("toy", "a", Add())

        async def cut(journal: TamperedJournal) -> None:
            shop.knobs.before_commit = shop.knobs.after_commit = None
            await terminate(database, journal)
            if written:
                raise JournalLost("by the test, after the commit")

        if written:
            shop.knobs.after_commit = cut
        else:
            shop.knobs.before_commit = cut
        keyed, keyless = await asyncio.gather(
            shop.ask("toy", "a", Add(n=10), key="k", timeout=LONG),
            shop.ask("toy", "a", Add(n=100), timeout=LONG),
            return_exceptions=True,
        )
        assert isinstance(keyless, Unavailable)
        assert keyless.code == "outcome_unknown"
        assert isinstance(keyed, Answer)
        assert (keyed.replayed, keyed.value) == (written, {"total": 11})
        assert (await shop.ask("toy", "a", Look(), timeout=LONG)).version == (3 if written else 2)
        assert (await shop.state("a")).total == (111 if written else 11)


async def test_messages_of_a_lost_commit_that_was_written_come_before_later_ones(
    dsn: str, database: PostgresDatabase
) -> None:
    async with running(Shop(dsn)) as shop:

        async def lose(_: TamperedJournal) -> None:
            shop.knobs.after_commit = None
            raise JournalLost("by the test, after the commit")

        shop.knobs.after_commit = lose
        with pytest.raises(Unavailable):
            await shop.ask("toy", "s", Tell(to=("t", "u"), n=1))
        for n in (2, 3):
            await _insist(shop, "s", Tell(to=("t", "u"), n=n))
        await eventually(lambda: shop.toy.tries.count(3) == 2)

        async def heard() -> bool:
            return [await shop.heard(id_) for id_ in "tu"] == [["toy:s 1", "toy:s 2", "toy:s 3"]] * 2

        await eventually(heard)
        assert shop.toy.tries.count(1) == 2
        assert await count(database, "outbox") == 0


async def _insist(shop: Shop, id: str, command: Any) -> None:
    async with asyncio.timeout(LONG):
        while True:
            try:
                await shop.ask("toy", id, command, timeout=LONG)
            except Unavailable:
                await asyncio.sleep(0.01)
            else:
                return


async def test_a_commit_that_is_still_on_its_way_when_its_connection_is_lost_keeps_the_order(
    dsn: str, database: PostgresDatabase
) -> None:
    """The message of the lost commit appears only when the partitions are taken anew."""
    async with running(Shop(dsn)) as shop:
        target = next(f"t{n}" for n in range(99) if partition_of("toy", f"t{n}") % 2 != partition_of("toy", "s") % 2)

        async def lose(_: TamperedJournal) -> None:
            shop.knobs.before_commit, shop.knobs.before_take = None, land
            raise JournalLost("by the test")

        async def land(_: TamperedJournal) -> None:
            shop.knobs.before_take = None
            await shop.runtime._sweeper.sweep(older_than=0.0)
            await database.execute(
                "insert into outbox (message, kind, no, id, body) values ('late', 'toy', $1, $2, $3)",
                partition_of("toy", target),
                target,
                '{"source":"toy:s","trace":"","body":{"$type":"Hear","n":1}}',
            )

        shop.knobs.before_commit = lose
        with pytest.raises(Unavailable):
            await shop.ask("toy", "s", Tell(to=(target,), n=99))
        await _insist(shop, "s", Tell(to=(target,), n=2))

        async def heard() -> bool:
            return len(await shop.heard(target)) >= 2

        await eventually(heard)
        assert await shop.heard(target) == ["toy:s 1", "toy:s 2"]


async def test_while_the_partitions_are_away_clients_are_told(dsn: str) -> None:
    async with running(Shop(dsn)) as shop:
        await shop.ask("toy", "a", Add())
        gate = asyncio.Event()

        async def wait(_: TamperedJournal) -> None:
            await gate.wait()

        async def fail(_: TamperedJournal) -> None:
            raise JournalLost("by the test")

        shop.knobs.before_take, shop.knobs.before_commit = wait, fail
        with pytest.raises(Unavailable):
            await shop.ask("toy", "a", Add())
        shop.knobs.before_commit = None
        await eventually(lambda: not shop.runtime.ready())
        with pytest.raises(Unavailable) as caught:
            await shop.ask("toy", "a", Add())
        assert caught.value.code == "not_ready"
        shown = await shop.runtime.read("toy", "a")
        assert shown is not None
        assert shown.version == 1
        gate.set()
        await eventually(shop.runtime.ready)
        assert (await shop.ask("toy", "a", Add())).version == 2


async def test_a_second_runtime_takes_all_and_the_first_writes_nothing_more(
    dsn: str, database: PostgresDatabase
) -> None:
    first, second = Shop(dsn), Shop(dsn)
    async with running(first):
        await first.ask("toy", "a", Add())
        stopped: list[str] = []

        async def never_again(_: TamperedJournal) -> None:
            stopped.append("take")
            raise Fenced("by the test: this process may not take the partitions back")

        first.knobs.before_take = never_again
        async with running(second):
            assert (await second.ask("toy", "a", Add())).version == 2
            events = await count(database, "event")
            with pytest.raises(Unavailable):
                await first.ask("toy", "a", Add(n=50), timeout=1.0)
            with pytest.raises(Unavailable):
                await first.ask("toy", "b", Tell(to=("a",), n=1), timeout=1.0)
            assert await count(database, "event") == events
            await eventually(lambda: bool(stopped))
            assert (await second.ask("toy", "a", Add())).value == {"total": 3}
            first.runtime._options = Options(grace_seconds=0.01)
            await first.runtime.stop()
            assert await second.heard("a") == []


async def test_an_owner_that_has_nothing_to_write_notices_that_somebody_else_wrote(
    dsn: str, database: PostgresDatabase
) -> None:
    shop, journal = Shop(dsn), PostgresJournal(dsn)
    async with running(shop):
        await shop.ask("toy", "a", Add())
        await journal.open()
        lane = await journal.take("toy", partition_of("toy", "a"), "a process that lost its lock and does not know it")
        await journal.close()

        async def taken_back() -> bool:
            epochs = await database.fetch("select epoch from partition where kind = 'toy' and no = $1", lane.no)
            return bool(epochs[0]["epoch"] > lane.epoch)

        await eventually(taken_back)
        await eventually(shop.runtime.ready)
        assert (await shop.ask("toy", "a", Add())).version == 2


async def test_a_stop_finishes_what_runs_and_answers_everybody(dsn: str) -> None:
    shop = Shop(dsn)
    async with running(shop):
        asks = [asyncio.create_task(shop.ask("toy", f"e{n}", Tell(to=("t",), n=n))) for n in range(50)]
        await asyncio.sleep(0)
        await shop.runtime.stop()
        assert [(await ask).version for ask in asks] == [1] * 50
    async with running(Shop(dsn)) as second:
        assert len(await second.heard("t")) == 50


async def test_a_stop_that_may_not_wait_tells_who_is_in_flight_or_waits(dsn: str) -> None:
    shop = Shop(dsn, options=Options(committers=1, grace_seconds=0.05))
    async with running(shop):

        async def forever(_: TamperedJournal) -> None:
            await asyncio.Event().wait()

        shop.knobs.before_commit = forever
        flying = asyncio.create_task(shop.ask("toy", "a", Add(), timeout=LONG))
        await eventually(lambda: bool(shop.runtime._committers[0]._in_flight))
        waiting = asyncio.create_task(shop.ask("toy", "a", Add(), timeout=LONG))
        await asyncio.sleep(0)
        await shop.runtime.stop()
        results = await asyncio.gather(flying, waiting, return_exceptions=True)
        assert [getattr(result, "code", None) for result in results] == ["outcome_unknown", "shutting_down"]


async def test_a_start_without_a_database_fails_with_a_sentence(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(dsn)

    async def fail(_: TamperedJournal) -> None:
        raise JournalLost("by the test")

    shop.knobs.before_take = fail
    monkeypatch.setattr("ultramarket.runtime.system.TAKE_SECONDS", 0.2)
    with pytest.raises(UltraMarketError, match="could not be taken"):
        await shop.runtime.start()
    await shop.runtime.stop()


async def test_the_sweeper_opens_its_connection_again(dsn: str, database: PostgresDatabase) -> None:
    async with running(Shop(dsn)) as shop:
        await terminate(database, shop.knobs.journals[1])
        await database.execute(
            "insert into outbox (message, kind, no, id, body) values ('m', 'toy', $1, 't', $2)",
            partition_of("toy", "t"),
            '{"source":"toy:s","trace":"","body":{"$type":"Hear","n":1}}',
        )

        async def heard() -> bool:
            return await shop.heard("t") == ["toy:s 1"]

        await eventually(heard)


async def test_the_reader_opens_its_connection_again(dsn: str, database: PostgresDatabase) -> None:
    async with running(Shop(dsn)) as shop:
        await shop.ask("toy", "a", Own(value="x"))
        for committer in shop.runtime._committers:
            committer.memory.clear()
        for _ in range(2):
            assert (await shop.state("a")) is not None
            await terminate(database, shop.knobs.journals[0])
            assert await shop.runtime.owner("name", "x") == "a"
            await terminate(database, shop.knobs.journals[0])
            shop.runtime._reader._numbers.clear()
            assert await shop.runtime.number("order_number") > 100000
