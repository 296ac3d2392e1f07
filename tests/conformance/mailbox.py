"""What every mailbox must do; an adapter's test subclasses `MailboxContract` and supplies the fixture `mailbox`.

The first tests speak to the mailbox alone; the others run actors over it, as delivery and retrying are the runtime's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import pytest
import structlog

from tests.conformance.toys import Add, Echo, Give, Hear, Look, Shop, Tell, eventually, running
from ultramarket.errors import Unavailable
from ultramarket.ports.mailbox import Deliver, Delivery, Mailbox
from ultramarket.runtime.partitioning import partition_of
from ultramarket.runtime.system import Options

DELAYS = (0.01, 0.01, 0.01)
Rest = Callable[[], Awaitable[None]]
"""Waits until nothing that was offered is on its way any more."""


def delivery(n: int, *, no: int = 3, id: str = "b", source: str = "toy:a") -> Delivery:
    """A message of a test."""
    return Delivery("toy", no, id, Hear(n=n), source, "", f"m{n}", message=f"m{n}", source=source)


def hears(found: list[Delivery]) -> list[int]:
    """The numbers of what arrived."""
    return [one.command.n for one in found]


def into(found: list[Delivery]) -> Deliver:
    """A door that takes everything in."""

    def door(one: Delivery) -> bool:
        found.append(one)
        return True

    return door


async def outbox(dsn: str) -> int:
    """How many messages wait in the store."""
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval("select count(*) from outbox"))
    finally:
        await connection.close()


async def retry_parked(dsn: str) -> list[tuple[str, str]]:
    """Put the parked messages back into the outbox, at their old place; gives (message, reason) of each."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "with back as (delete from parked returning *), put as ("
            "insert into outbox (message, n, kind, no, id, body, at) overriding system value "
            "select message, n, kind, no, id, body, at from back) select message, reason from back"
        )
        return [(row["message"], row["reason"]) for row in rows]
    finally:
        await connection.close()


class MailboxContract:
    """The tests of the port `Mailbox`."""

    @pytest.fixture(autouse=True)
    def logs(self) -> Iterator[None]:
        """Actors fail here on purpose: drawing their tracebacks would cost more than the tests."""
        with structlog.testing.capture_logs():
            yield

    @pytest.fixture
    def rest(self) -> Rest:
        """How the mailbox comes to rest: it is, where the owner's door is called when something is offered."""

        async def at_once() -> None:
            pass

        return at_once

    async def test_what_is_offered_arrives_in_order(self, mailbox: Mailbox) -> None:
        found: list[Delivery] = []
        mailbox.open("toy", 3, into(found))
        for n in range(50):
            await eventually(lambda n=n: mailbox.offer(delivery(n)))
        await eventually(lambda: hears(found) == list(range(50)))

    async def test_what_nobody_consumes_is_refused_or_kept(self, mailbox: Mailbox, rest: Rest) -> None:
        found: list[Delivery] = []
        elsewhere: list[Delivery] = []
        mailbox.open("toy", 4, into(elsewhere))
        accepted = mailbox.offer(delivery(1, no=3))
        await rest()
        assert elsewhere == []
        mailbox.open("toy", 3, into(found))
        await rest()
        assert hears(found) == ([1] if accepted else [])

    async def test_a_full_owner_refuses_or_the_mailbox_keeps(self, mailbox: Mailbox) -> None:
        found: list[Delivery] = []
        room = asyncio.Event()

        def door(one: Delivery) -> bool:
            if room.is_set():
                found.append(one)
            return room.is_set()

        mailbox.open("toy", 3, door)
        accepted = mailbox.offer(delivery(1))
        room.set()
        assert mailbox.offer(delivery(2)) is True
        expected = [1, 2] if accepted else [2]
        await eventually(lambda: hears(found) == expected)

    async def test_a_closed_mailbox_gives_nothing_and_may_be_opened_again(self, mailbox: Mailbox, rest: Rest) -> None:
        found: list[Delivery] = []
        before: list[Delivery] = []
        mailbox.open("toy", 3, into(before))
        await rest()
        mailbox.close("toy", 3)
        mailbox.close("toy", 3)
        accepted = mailbox.offer(delivery(1))
        await rest()
        assert before == []
        mailbox.open("toy", 3, into(found))
        assert mailbox.offer(delivery(2)) is True
        await rest()
        # What was on its way when the partition became our own may come later: see the port.
        assert sorted(hears(found)) == ([1, 2] if accepted else [2])

    # With actors behind it

    async def test_messages_of_a_source_to_a_target_keep_their_order(self, dsn: str, mailbox: Mailbox) -> None:
        async with running(Shop(dsn, mailbox=mailbox)) as shop:
            await asyncio.gather(
                *(shop.ask("toy", f"s{n % 3}", Tell(to=("t0", "t1"), n=n)) for n in range(120)),
            )
            for target in ("t0", "t1"):
                await _heard(shop, target, 120)
                heard = await shop.heard(target)
                for source in range(3):
                    mine = [int(line.split()[1]) for line in heard if line.startswith(f"toy:s{source} ")]
                    assert mine == list(range(source, 120, 3))
            await eventually(lambda: _drained(dsn))

    async def test_a_repeated_message_takes_effect_once(self, dsn: str, mailbox: Mailbox) -> None:
        async with running(Shop(dsn, mailbox=mailbox)) as shop:
            await shop.ask("toy", "s", Tell(to=("t",), n=1))
            await _heard(shop, "t", 1)
            repeat = Delivery(
                "toy", partition_of("toy", "t"), "t", Hear(n=1), "toy:s", "", "x", message="toy/s/1/0", source="toy:s"
            )
            assert mailbox.offer(repeat) is True
            assert mailbox.offer(repeat) is True
            await shop.ask("toy", "s", Tell(to=("t",), n=2))
            await _heard(shop, "t", 2)
            assert await shop.heard("t") == ["toy:s 1", "toy:s 2"]

    async def test_a_full_mailbox_refuses_clients_and_messages_come_later_in_order(
        self, dsn: str, mailbox: Mailbox
    ) -> None:
        shop = Shop(dsn, mailbox=mailbox, options=Options(mailbox_limit=4, poison_delays=DELAYS))
        async with running(shop):
            for n in range(30):
                await shop.ask("toy", "s", Tell(to=tuple(f"t{m}" for m in range(20)), n=n))
            for target in range(20):
                await _heard(shop, f"t{target}", 30)
                assert await shop.heard(f"t{target}") == [f"toy:s {n}" for n in range(30)]
            results = await asyncio.gather(*(shop.ask("toy", "s", Add()) for _ in range(50)), return_exceptions=True)
            refused = [result for result in results if isinstance(result, Unavailable)]
            assert {error.code for error in refused} == {"mailbox_full"}
            assert (await shop.state("s")).total == 50 - len(refused)
            await eventually(lambda: _drained(dsn))

    async def test_a_poisoned_message_is_tried_eight_times_and_parked_and_only_its_pair_waits(
        self, dsn: str, mailbox: Mailbox
    ) -> None:
        async with running(Shop(dsn, mailbox=mailbox)) as shop:
            shop.toy.poison = {2}
            for n in (1, 2, 3):
                await shop.ask("toy", "s", Tell(to=("t", "u"), n=n, kind="toy") if n != 2 else Tell(to=("t",), n=2))
            await shop.ask("toy", "neighbour", Tell(to=("t",), n=7))
            await _heard(shop, "u", 2)
            await eventually(lambda: _parked(dsn, 1))
            assert shop.toy.tries.count(2) == 8
            await shop.ask("toy", "s", Tell(to=("t", "u"), n=4))
            await _heard(shop, "u", 3)
            await shop.ask("toy", "neighbour", Tell(to=("t",), n=8))
            await eventually(lambda: _has(shop, "t", "toy:neighbour 8"))
            assert await shop.heard("t") == ["toy:s 1", "toy:neighbour 7", "toy:neighbour 8"]
            shop.toy.poison = set()
            assert await retry_parked(dsn) == [("toy/s/2/0", "ValueError: it can't be heard")]
            await eventually(lambda: _has(shop, "t", "toy:s 4"))
            heard = [line for line in await shop.heard("t") if line.startswith("toy:s ")]
            assert heard == ["toy:s 1", "toy:s 2", "toy:s 3", "toy:s 4"]
            await eventually(lambda: _drained(dsn))

    async def test_a_message_that_recovers_is_taken_in_order(self, dsn: str, mailbox: Mailbox) -> None:
        shop = Shop(dsn, mailbox=mailbox, options=Options(poison_delays=(0.01, 0.01, 3600.0)))
        async with running(shop):
            shop.toy.poison = {1}
            await shop.ask("toy", "s", Tell(to=("t",), n=1))
            await eventually(lambda: shop.toy.tries.count(1) >= 6)
            for n in (2, 3):
                await shop.ask("toy", "s", Tell(to=("t",), n=n))
            shop.toy.poison = set()
            if shop.toy.tries.count(1) < 7:
                await _heard(shop, "t", 3)
                assert await shop.heard("t") == ["toy:s 1", "toy:s 2", "toy:s 3"]
            else:
                assert await shop.heard("t") == []

    async def test_answers_without_an_event_arrive_too(self, dsn: str, mailbox: Mailbox) -> None:
        async with running(Shop(dsn, mailbox=mailbox)) as shop:
            echo = Delivery(
                "toy", partition_of("toy", "e"), "e", Echo(n=5), "toy:s", "", "m", message="m", source="toy:s"
            )
            connection = await asyncpg.connect(dsn)
            await connection.execute(
                "insert into outbox (message, kind, no, id, body) values ('m', 'toy', $1, 'e', $2)",
                echo.no,
                '{"source":"toy:s","trace":"","body":{"$type":"Echo","n":5}}',
            )
            await connection.close()
            await _heard(shop, "s", 1)
            assert await shop.heard("s") == ["toy:e 5"]
            assert await shop.runtime.read("toy", "e") is None

    async def test_a_stop_answers_who_waits_and_leaves_messages_to_the_next_owner(
        self, dsn: str, mailbox: Mailbox
    ) -> None:
        shop = Shop(dsn, mailbox=mailbox)
        async with running(shop):
            shop.courier.gate.clear()
            await shop.ask("toy", "s", Tell(to=("c",), n=1, kind="courier"))
            await shop.courier.started.wait()
            shop.runtime._options = Options(grace_seconds=0.05)
            await shop.runtime.stop()
            with pytest.raises(Unavailable) as caught:
                await shop.ask("toy", "s", Look())
            assert caught.value.code == "shutting_down"
        async with running(Shop(dsn, mailbox=mailbox)) as second:
            await _heard(second, "c", 1)
            assert await second.heard("c") == ["courier:c 1"]
            # Who delivers a message twice may have the worker called twice, always in the name of the message.
            assert set(second.courier.calls) == {("c", 1, "toy/s/1/0")}
            await eventually(lambda: _drained(dsn))

    async def test_the_next_owner_takes_over_what_waits_in_order(self, dsn: str, mailbox: Mailbox) -> None:
        shop = Shop(dsn, mailbox=mailbox)
        async with running(shop):
            await shop.ask("toy", "s", Add(n=10))
            for number in {*range(16)} - {partition_of("toy", "s")}:
                shop.mailbox.close("toy", number)  # what is sent there from now on waits in the outbox
            target = next(f"t{n}" for n in range(100) if partition_of("toy", f"t{n}") != partition_of("toy", "s"))
            for n in range(5):
                await shop.ask("toy", "s", Give(to=target, n=1))
                await shop.ask("toy", "s", Tell(to=(target,), n=n))
        async with running(Shop(dsn, mailbox=mailbox)) as second:
            await _heard(second, target, 5)
            assert await second.heard(target) == [f"toy:s {n}" for n in range(5)]
            assert ((await second.state(target)).total, (await second.state("s")).total) == (5, 5)


async def _heard(shop: Shop, id: str, count: int) -> None:
    async def enough() -> bool:
        return len(await shop.heard(id)) >= count

    await eventually(enough)


async def _has(shop: Shop, id: str, line: str) -> bool:
    return line in await shop.heard(id)


async def _drained(dsn: str) -> bool:
    return await outbox(dsn) == 0


async def _parked(dsn: str, count: int) -> bool:
    connection = await asyncpg.connect(dsn)
    try:
        found: Any = await connection.fetchval("select count(*) from parked")
        return bool(found == count)
    finally:
        await connection.close()
