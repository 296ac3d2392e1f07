"""The mailbox over a simulated broker passes the contract of every mailbox, and keeps its order whatever breaks."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.conformance.mailbox import MailboxContract, Rest, delivery, hears, into
from tests.conformance.toys import Hear, eventually
from tests.simulation.broker import Broker, Connection
from tests.simulation.mailbox_world import CODECS, QUEUE, World, in_a_world, seeded
from tests.simulation.virtual import virtually
from ultramarket.adapters.broker_mailbox import BrokerMailbox, _acknowledge, queue_of
from ultramarket.ports.broker import BrokerLost
from ultramarket.ports.mailbox import Delivery, Mailbox
from ultramarket.runtime import turn

KEPT = b'{"kind":"toy","no":3,"id":"b","principal":"","trace":"","command_id":"","own":"keep","body":'
LOST = KEPT + b'0,"reply_to":"' + b"x" * 256 + b'"}'
"""No queue can have the name that its answer would go to."""


def deep(begin: bytes) -> bytes:
    return begin + b"[" * 50_000 + b"]" * 50_000 + b"}"


class Contract(MailboxContract):
    """The contract over a broker."""

    direct = False

    @pytest.fixture
    def broker(self) -> Broker:
        random = seeded(1)
        return Broker(random, lambda: random.uniform(0.0, 0.001))

    @pytest_asyncio.fixture
    async def mailbox(self, broker: Broker) -> AsyncIterator[Mailbox]:
        made = BrokerMailbox(broker, "p1", CODECS, direct=self.direct, chance=seeded(2))
        await made.start()
        await made.connected.wait()
        yield made
        await made.stop()

    @pytest.fixture
    def rest(self, broker: Broker, mailbox: Mailbox) -> Rest:
        async def quiet() -> None:
            assert isinstance(mailbox, BrokerMailbox)
            await asyncio.sleep(0)
            await eventually(lambda: mailbox.idle() and broker.quiet())

        return quiet


class TestBrokerMailbox(Contract):
    """Everything goes through the broker."""


class TestDirectBrokerMailbox(Contract):
    """What is for the process itself skips the broker."""

    direct = True


# Order


async def disorder(seed: int) -> dict[str, list[int]]:
    """What one owner gets, by source, from two senders while everything breaks."""
    world = World(seed, max_length=12)
    random, broker = world.random, world.broker
    found: dict[str, list[int]] = defaultdict(list)

    def door(one: Delivery) -> bool:
        found[one.source].append(one.command.n)
        return True

    await world.process("owner", door, prefetch=4)
    senders = [await world.process(f"sender{n}") for n in range(2)]
    broken = asyncio.create_task(trouble(world))
    for n in range(40):
        for place, sender in enumerate(senders):
            for source in ("a", "b"):
                assert sender.offer(delivery(n, source=f"toy:{source}{place}"))
        await asyncio.sleep(random.uniform(0.0, 0.5))
    await broken
    await asyncio.sleep(120)
    assert all(process.idle() for process in world.processes)
    assert broker.quiet()
    for process in world.processes:
        await process.stop()
    return found


async def trouble(world: World) -> None:
    """Twelve times something breaks, for a while."""
    random, broker = world.random, world.broker
    for _ in range(12):
        await asyncio.sleep(random.uniform(0.0, 2.0))
        what = random.choice(("cut", "half", "restart", "switch", "alarm", "away"))
        name = random.choice(("owner", "sender0", "sender1"))
        seconds = random.uniform(0.0, 3.0)
        if what == "cut":
            broker.cut(name)
        elif what == "half":
            broker.cut(name, random.choice((0.0, seconds)), random.choice((0.0, seconds)))
        elif what == "restart":
            broker.restart(seconds)
        elif what == "switch":
            broker.switch(QUEUE)
        elif what == "alarm":
            broker.block()
            await asyncio.sleep(seconds)
            broker.unblock()
        else:
            broker.unreachable.add(name)
            broker.cut(name)
            await asyncio.sleep(seconds)
            broker.unreachable.discard(name)


@pytest.mark.parametrize("batch", range(8))
def test_messages_arrive_in_order_and_all_of_them_whatever_breaks(batch: int) -> None:
    repeats = 0
    for seed in range(batch * 25, batch * 25 + 25):
        found = virtually(disorder(seed))
        assert sorted(found) == ["toy:a0", "toy:a1", "toy:b0", "toy:b1"], seed
        for numbers in found.values():
            assert list(dict.fromkeys(numbers)) == list(range(40)), seed
            repeats += len(numbers) - 40
    assert repeats > 0  # else nothing broke


@in_a_world
async def test_what_is_offered_while_the_broker_is_away_arrives_later_in_order(world: World) -> None:
    found: list[Delivery] = []
    await world.process("owner", into(found))
    sender = await world.process("sender")
    world.broker.restart(30.0)
    for n in range(5):
        assert sender.offer(delivery(n)) is True
    await world.rest()
    assert hears(found) == []
    await asyncio.sleep(30)
    assert hears(found) == [0, 1, 2, 3, 4]


@in_a_world
async def test_messages_for_an_own_partition_go_to_its_door_which_knows_what_they_must_not_overtake(
    world: World,
) -> None:
    found: list[Delivery] = []
    owner = await world.process("owner")
    owner.offer(delivery(1))
    owner.open("toy", 3, into(found))
    assert owner.offer(delivery(2)) is True
    assert hears(found) == [2]
    await world.rest()
    assert hears(found) == [2, 1]
    owner.open("toy", 3, lambda _: False)
    assert owner.offer(delivery(3)) is False  # left to the outbox, as a partition does that is new here
    await world.rest()
    assert hears(found) == [2, 1]


@in_a_world
async def test_what_nobody_thought_of_does_not_end_the_way_to_the_broker(world: World) -> None:
    connect, failures = world.broker.connect, iter([ValueError("no confirms"), Exception()])

    async def failing(name: str) -> Connection:
        if (error := next(failures, None)) is not None:
            raise error
        return await connect(name)

    world.broker.connect = failing  # type: ignore[method-assign]  # its first two tries fail
    found: list[Delivery] = []
    await world.process("owner", into(found))
    sender = await world.process("sender")
    sender.offer(delivery(1))
    await world.rest()
    assert hears(found) == [1]
    assert list(failures) == []


def test_an_acknowledgement_over_a_channel_that_has_just_broken_is_left_out() -> None:
    class Broken:
        def ack(self, _tag: int) -> None:
            raise BrokerLost("its observers have not been told yet")

    _acknowledge(Broken(), 1)  # type: ignore[arg-type]  # the part of a channel that it uses


@in_a_world
async def test_a_message_carries_all_that_it_had_and_is_to_be_looked_up(world: World) -> None:
    found: list[Delivery] = []
    await world.process("owner", into(found))
    sender = await world.process("sender")
    sent = Delivery("toy", 3, "b", Hear(n=1), "toy:a", "trace", "m", message="m", source="toy:a", verified=True)
    sender.offer(sent)
    await world.rest()
    sent.verified = False
    assert found == [sent]


@in_a_world
async def test_a_message_that_its_owner_can_not_read_is_given_on_as_such(world: World) -> None:
    found: list[Delivery] = []
    await world.process("owner", into(found))
    sender = await world.process("sender")
    sender.offer(Delivery("toy", 3, "b", {"$type": "Newer"}, "toy:a", "", "m", message="m", source="toy:a"))
    await world.rest()
    assert isinstance(found[0].command, turn.Unreadable)


@in_a_world
async def test_what_is_none_of_ours_becomes_a_dead_letter_and_what_comes_behind_it_is_taken(world: World) -> None:
    found: list[Delivery] = []
    await world.process("owner", into(found))
    sender = await world.process("sender")
    garbage = [
        b"no words of ours",
        b'{"kind":"\xff"}',
        b'{"kind":"nobody","no":3}',
        deep(b'{"body":'),
        deep(KEPT),
        LOST,
    ]
    channel = await (await world.broker.connect("stranger")).channel()
    for body in garbage:
        await channel.publish(QUEUE, body)
    sender.offer(delivery(1))
    await world.rest()
    assert hears(found) == [1]
    assert [item.body for item in world.broker.queues[QUEUE].dead] == garbage


@in_a_world
async def test_a_refused_message_is_left_to_the_outbox(world: World) -> None:
    refused: list[Delivery] = []

    def door(one: Delivery) -> bool:
        refused.append(one)
        return False

    await world.process("owner", door)
    (await world.process("sender")).offer(delivery(1))
    await world.rest()
    assert hears(refused) == [1]
    assert world.broker.quiet()


@in_a_world
async def test_what_a_process_took_in_that_was_no_owner_any_more_is_only_in_the_outbox(world: World) -> None:
    """Why an owner has to look for earlier rows of the pair: the next one gets the second message alone."""
    before: list[Delivery] = []
    after: list[Delivery] = []
    zombie = await world.process("zombie", into(before))
    await world.process("owner", into(after))
    sender = await world.process("sender")
    sender.offer(delivery(1))
    await world.rest()
    zombie.close("toy", 3)
    sender.offer(delivery(2))
    await world.rest()
    assert (hears(before), hears(after)) == ([1], [2])


@in_a_world
async def test_a_channel_that_the_broker_closes_is_opened_again(world: World) -> None:
    found: list[Delivery] = []
    owner = await world.process("owner", into(found))
    owner._consumers["toy", 3].channel.ack(99)
    (await world.process("sender")).offer(delivery(1))
    await world.rest()
    assert hears(found) == [1]


def test_the_queue_of_a_partition_has_its_number_in_two_digits() -> None:
    assert queue_of("cart", 7) == "um.cmd.cart.07"
