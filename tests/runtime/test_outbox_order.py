"""Messages are taken in the order of the outbox, however a broker brings them: too early, twice, or not at all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from tests.conformance.toys import Add, Break, Hear, Shop, Tell, eventually, running
from tests.runtime.test_turn import client, judge, sent
from ultramarket.adapters.inprocess import InProcessMailbox
from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.ports.journal import MANY, Loaded
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime.partition import Partition
from ultramarket.runtime.partitioning import partition_of
from ultramarket.runtime.system import Options

ONE = Options(committers=1, poison_delays=(0.01, 0.01, 0.01))
PAIR = ("toy:s", "a")


def came(*names: str, source: str = "toy:s") -> list[Delivery]:
    """Messages as a broker brings them."""
    return [sent(Hear(n=1), name, source, verified=False) for name in names]


def names(deliveries: list[Delivery]) -> list[str | None]:
    return [delivery.message for delivery in deliveries]


def waiting(**earlier: int) -> Loaded:
    """Messages that are in the outbox, with how many of their pair are there before them."""
    return Loaded(messages=set(earlier), earlier=earlier)


# A turn


def test_messages_that_come_in_order_are_taken_in_one_turn() -> None:
    turn = judge(*came("m1", "m2", "m3"), loaded=waiting(m1=0, m2=1, m3=2))
    assert (names(turn.taken), turn.early) == (["m1", "m2", "m3"], [])
    assert turn.rows.taken == ["m1", "m2", "m3"]


@pytest.mark.parametrize(
    ("order", "taken", "early"),
    [
        (("m2",), [], ["m2"]),
        (("m2", "m1"), [], ["m2", "m1"]),
        (("m1", "m3", "m2"), ["m1"], ["m3", "m2"]),
        (("m1", "m2"), ["m1", "m2"], []),
    ],
)
def test_a_message_that_came_before_an_earlier_one_waits_with_all_behind_it(
    order: tuple[str, ...], taken: list[str], early: list[str]
) -> None:
    turn = judge(*came(*order), loaded=waiting(m1=0, m2=1, m3=2))
    assert (names(turn.taken), names(turn.early)) == (taken, early)
    assert turn.rows.taken == taken
    assert turn.rows.version == len(taken)


def test_a_message_that_was_taken_before_counts_for_nothing() -> None:
    turn = judge(*came("m1", "m3"), loaded=waiting(m2=0, m3=1))
    assert (names(turn.taken), names(turn.early), turn.rows.taken) == (["m1"], ["m3"], [])


def test_messages_of_other_sources_and_clients_do_not_wait_for_an_early_one() -> None:
    others = came("o1", source="toy:o")
    turn = judge(*came("m2"), *others, client(Add()), loaded=waiting(m2=1, o1=0))
    assert (names(turn.early), names(turn.taken)) == (["m2"], ["o1", None])


def test_messages_of_this_process_and_of_a_sweep_count_as_taken_for_those_of_a_broker() -> None:
    own = sent(Hear(n=1), "m1")
    [swept] = came("m2")
    swept.swept = True
    turn = judge(own, swept, *came("m3"), loaded=Loaded(messages={"m2", "m3"}, earlier={"m3": 2}))
    assert (names(turn.taken), turn.early) == (["m1", "m2", "m3"], [])


def test_what_this_process_sent_does_not_overtake_an_early_message_of_its_pair() -> None:
    turn = judge(*came("m2"), sent(Hear(n=1), "m3"), loaded=waiting(m2=1))
    assert (names(turn.early), turn.taken) == (["m2", "m3"], [])


def test_where_too_many_wait_for_a_partition_every_message_is_early() -> None:
    turn = judge(*came("m1"), loaded=waiting(m1=MANY))
    assert names(turn.early) == ["m1"]


def test_behind_a_failure_a_message_is_deferred_and_not_early() -> None:
    failing = sent(Break(where="decide"), "m1", verified=False)
    turn = judge(failing, *came("m2"), loaded=waiting(m1=0, m2=1))
    assert (names([f.delivery for f in turn.failures]), names(turn.deferred), turn.early) == (["m1"], ["m2"], [])


def test_an_early_message_fails_only_when_its_turn_has_come() -> None:
    turn = judge(sent(Break(where="decide"), "m2", verified=False), loaded=waiting(m2=1))
    assert (names(turn.early), turn.failures) == (["m2"], [])


# A whole runtime


class Shuffled(InProcessMailbox):
    """Keeps the messages between actors, as a broker does, until a test lets them go in an order of its own.

    Attributes:
        kept: what was offered, unless `open_` is set: then it goes on at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Delivery] = {}
        self.open_ = False

    def offer(self, delivery: Delivery) -> bool:
        if delivery.message is None:
            return super().offer(delivery)
        self.kept[delivery.message] = delivery
        if self.open_:
            self.bring(delivery.message)
        return True

    def bring(self, *messages: str) -> None:
        """Deliver these, in this order: nobody knows any more whether their rows exist."""
        for message in messages:
            super().offer(replace(self.kept[message], verified=False))


@asynccontextmanager
async def shuffled(dsn: str, options: Options = ONE) -> AsyncIterator[tuple[Shop, Shuffled]]:
    """A shop whose mailbox is a broker's, and whose sweeps of every two seconds bring nothing that is in time."""
    mailbox = Shuffled()
    async with running(Shop(dsn, options=options, mailbox=mailbox)) as shop:
        yield shop, mailbox


async def tell(shop: Shop, *numbers: int, to: str = "a", source: str = "s", kind: str = "toy") -> list[str]:
    """Send messages with these numbers one after the other; gives their names."""
    names = []
    for n in numbers:
        answer = await shop.ask("toy", source, Tell(to=(to,), n=n, kind=kind))
        names.append(f"toy/{source}/{answer.version}/0")
    return names


async def heard(shop: Shop, *numbers: int, id: str = "a", by: str = "toy:s") -> None:
    """Wait until a toy has heard these numbers, in this order."""

    async def all_heard() -> bool:
        return len(await shop.heard(id)) >= len(numbers)

    await eventually(all_heard)
    assert await shop.heard(id) == [f"{by} {n}" for n in numbers]


def door(shop: Shop, kind: str = "toy", id: str = "a") -> Partition:
    """The partition of an entity."""
    return shop.runtime._partitions[kind, partition_of(kind, id)]


async def at_rest(shop: Shop, kind: str = "toy") -> None:
    """Wait until nothing is left to do and no sweep was asked for: sweeps do not go on for ever."""
    partition = door(shop, kind)

    def rests() -> bool:
        waits = partition.depth or partition.dirty or partition.behind or partition.running
        return shop.runtime._idle() and not waits and not shop.runtime._sweeper._asked.is_set()

    await eventually(rests)


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 0, 2), (0, 2, 1), (1, 1, 2), (2,)])
@pytest.mark.parametrize("kind", ["toy", "courier"])
async def test_messages_are_taken_in_the_order_they_were_sent(dsn: str, kind: str, order: tuple[int, ...]) -> None:
    async with shuffled(dsn) as (shop, mailbox):
        names = await tell(shop, 1, 2, 3, kind=kind)
        mailbox.open_ = True
        mailbox.bring(*(names[place] for place in order))
        await heard(shop, 1, 2, 3, by="toy:s" if kind == "toy" else "courier:a")
        await at_rest(shop, kind)
        if kind == "courier":
            assert [n for _, n, _ in shop.courier.calls] == [1, 2, 3]


async def test_an_earlier_message_that_comes_while_the_later_one_is_judged_goes_first(dsn: str) -> None:
    async with shuffled(dsn) as (shop, mailbox):
        first, second = await tell(shop, 1, 2)
        load = shop.runtime._committers[0].journal.load
        loads = 0

        async def late(wanted: Any) -> Loaded:
            nonlocal loads
            loaded = await load(wanted)
            if second in wanted.ordered:
                loads += 1
                mailbox.bring(first)
            return loaded

        shop.runtime._committers[0].journal.load = late  # type: ignore[method-assign]
        mailbox.bring(second)
        await heard(shop, 1, 2)
        await at_rest(shop)
        assert loads == 1


async def test_a_message_comes_again_while_and_after_it_is_taken_and_is_taken_once(dsn: str) -> None:
    async with shuffled(dsn) as (shop, mailbox):
        first, second = await tell(shop, 1, 2)
        mailbox.bring(first, first, second, first, second)
        await heard(shop, 1, 2)
        mailbox.bring(second, first)
        await at_rest(shop)
        assert await shop.heard("a") == ["toy:s 1", "toy:s 2"]


async def test_behind_a_parked_message_later_ones_wait_and_no_sweep_goes_on_for_them(
    dsn: str, database: PostgresDatabase
) -> None:
    async with shuffled(dsn) as (shop, mailbox):
        shop.toy.poison = {1}
        first, second, third = await tell(shop, 1, 2, 3)
        mailbox.bring(second, first)

        async def is_parked() -> bool:
            return bool(await database.fetch("select 1 from parked where message = $1", first))

        await eventually(is_parked)
        await at_rest(shop)
        mailbox.bring(third, second)
        await tell(shop, 7, source="other")
        mailbox.bring("toy/other/1/0")
        await heard(shop, 7, by="toy:other")
        await at_rest(shop)
        assert PAIR in door(shop).blocked
        shop.toy.poison = set()
        await database.execute(
            "with back as (delete from parked returning *) insert into outbox (message, n, kind, no, id, body, source) "
            "overriding system value select message, n, kind, no, id, body, source from back"
        )
        shop.runtime._sweeper.request()

        async def all_heard() -> bool:
            return len(await shop.heard("a")) == 4

        await eventually(all_heard)
        assert await shop.heard("a") == ["toy:other 7", "toy:s 1", "toy:s 2", "toy:s 3"]


async def test_behind_a_message_that_is_tried_again_later_ones_wait(dsn: str) -> None:
    async with shuffled(dsn, Options(committers=1, poison_delays=(0.05, 0.05, 30.0))) as (shop, mailbox):
        shop.toy.poison = {1}
        first, second, third = await tell(shop, 1, 2, 3)
        mailbox.bring(first)
        await eventually(lambda: len(shop.toy.tries) >= 5)
        mailbox.bring(third, second)
        await eventually(lambda: len(shop.toy.tries) >= 6)
        shop.toy.poison = set()
        mailbox.bring(second, third)
        await heard(shop, 1, 2, 3)
        await at_rest(shop)


async def test_a_call_that_runs_is_not_overtaken_by_one_that_came_early(dsn: str) -> None:
    async with shuffled(dsn) as (shop, mailbox):
        mailbox.open_ = True
        shop.courier.gate.clear()
        [first] = await tell(shop, 1, kind="courier")
        await shop.courier.started.wait()
        mailbox.open_ = False
        second, third = await tell(shop, 2, 3, kind="courier")
        mailbox.bring(third, first, second)
        assert first in door(shop, "courier").running
        mailbox.open_ = True
        shop.courier.gate.set()
        await heard(shop, 1, 2, 3, by="courier:a")
        await at_rest(shop, "courier")
        assert [n for _, n, _ in shop.courier.calls] == [1, 2, 3]


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_a_broker_does_each_pair_is_in_order_and_each_message_taken_once(dsn: str, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a test must be repeatable
    options = Options(committers=2, mailbox_limit=random.choice((3, 10_000)), poison_delays=(0.01, 0.01, 0.01))
    async with shuffled(dsn, options) as (shop, mailbox):
        sources, targets = ["s", "t", "u"], ["a", "b"]
        await asyncio.gather(
            *(tell(shop, *range(8), to=to, source=f"{source}{to}") for source in sources for to in targets)
        )
        for _ in range(5):
            names = list(mailbox.kept)
            random.shuffle(names)
            mailbox.bring(*names[: random.randint(0, len(names))])
            await asyncio.sleep(random.choice((0.0, 0.01)))
        shop.runtime._sweeper.request()
        for id_ in targets:

            async def all_heard(id: str = id_) -> bool:
                return len(await shop.heard(id)) == 24

            await eventually(all_heard)
            found = await shop.heard(id_)
            for source in sources:
                by = f"toy:{source}{id_} "
                assert [line.removeprefix(by) for line in found if line.startswith(by)] == [str(n) for n in range(8)]


async def test_one_process_looks_nothing_up_for_what_it_has_just_committed(dsn: str) -> None:
    async with running(Shop(dsn, options=ONE)) as shop:
        await tell(shop, 1)
        await heard(shop, 1)
        loads = shop.runtime.measures().loads
        await tell(shop, *range(2, 12))
        await heard(shop, *range(1, 12))
        assert shop.runtime.measures().loads == loads
