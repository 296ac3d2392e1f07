"""Each quirk of the simulated broker, alone."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any, Self

import pytest

from tests.simulation.broker import Broker, Channel, Connection
from tests.simulation.virtual import virtually
from ultramarket.ports.broker import BrokerLost, Incoming, Rejected, Unroutable

Q = "q"
Test = Callable[["World"], Awaitable[None]]


class Reader:
    """A consumer that keeps what it gets."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.got: list[Incoming] = []

    @property
    def bodies(self) -> str:
        """What it got, in order; with a `*` what came before."""
        return " ".join(one.body.decode() + "*" * one.redelivered for one in self.got)

    def tag(self, body: str) -> int:
        """The tag of the last delivery of this body."""
        return [one.tag for one in self.got if one.body.decode() == body][-1]


class World:
    """A broker with one queue, and one connection to it."""

    connection: Connection
    channel: Channel

    def __init__(self, seed: int, max_length: int, delivery_limit: int) -> None:
        random = Random(seed)  # noqa: S311 - a simulation must be repeatable
        self.random = random
        self.broker = Broker(
            random, lambda: random.uniform(0.001, 0.1), max_length=max_length, delivery_limit=delivery_limit
        )
        self.broker.declare(Q)
        self.queue = self.broker.queues[Q]

    @classmethod
    async def make(cls, seed: int = 1, max_length: int = 100, delivery_limit: int = 10) -> Self:
        """A world whose connection is made."""
        world = cls(seed, max_length, delivery_limit)
        world.connection = await world.broker.connect("me")
        world.channel = await world.connection.channel()
        return world

    async def publish(self, *bodies: str) -> None:
        """Publish and wait for the confirms."""
        await asyncio.gather(*(self.channel.publish(Q, body.encode()) for body in bodies))

    async def read(self, prefetch: int = 10, connection: Connection | None = None) -> Reader:
        """Consume over a channel of its own, and wait until what comes at once has come."""
        reader = Reader(await (connection or self.connection).channel())
        await reader.channel.consume(Q, prefetch, reader.got.append)
        await self.rest()
        return reader

    async def rest(self) -> None:
        """Wait until everything that is under way has arrived."""
        await asyncio.sleep(5)

    def waiting(self) -> str:
        """What waits in the queue."""
        return " ".join(item.body.decode() for item in (*self.queue.returns, *self.queue.ready))


def both(seeds: int, outcome: Callable[[int], Coroutine[Any, Any, str]]) -> set[str]:
    """What comes of it over so many seeds."""
    return {virtually(outcome(seed)) for seed in range(seeds)}


def in_a_world(test: Test) -> Callable[[], None]:
    """Run a test in virtual time."""

    def run() -> None:
        async def main() -> None:
            world = await World.make()
            await test(world)

        virtually(main())

    run.__name__ = test.__name__
    return run


@in_a_world
async def test_messages_come_in_order_and_as_many_as_prefetch_says(world: World) -> None:
    await world.publish("1", "2", "3", "4")
    reader = await world.read(prefetch=2)
    assert reader.bodies == "1 2"
    reader.channel.ack(1)
    await world.rest()
    assert reader.bodies == "1 2 3"


@in_a_world
async def test_frames_keep_their_order_whatever_their_delays(world: World) -> None:
    reader = await world.read(prefetch=100)
    await world.publish(*map(str, range(60)))
    await world.rest()
    assert reader.bodies == " ".join(map(str, range(60)))


@in_a_world
async def test_a_closed_channel_gives_back_what_it_held_before_newer_ones(world: World) -> None:
    await world.publish("1", "2", "3")
    reader = await world.read(prefetch=2)
    reader.channel.close()
    assert (await world.read()).bodies == "1* 2* 3"


@in_a_world
async def test_what_a_second_channel_held_comes_back_behind_what_the_first_did(world: World) -> None:
    await world.publish("1", "2", "3", "4", "5")
    (await world.read(prefetch=5)).channel.close()
    second = await world.read(prefetch=3)
    assert second.bodies == "1* 2* 3*"
    second.channel.close()
    assert (await world.read()).bodies == "4* 5* 1* 2* 3*"


@in_a_world
async def test_nack_with_requeue_puts_a_message_behind_later_ones(world: World) -> None:
    await world.publish("1", "2", "3")
    reader = await world.read(prefetch=2)
    reader.channel.nack(reader.tag("1"))
    await world.rest()
    assert reader.bodies == "1 2 1*"
    reader.channel.nack(reader.tag("2"))
    reader.channel.nack(reader.tag("1"))
    await world.rest()
    assert reader.bodies == "1 2 1* 2* 1*"


@in_a_world
async def test_a_cancelled_consumer_keeps_what_it_holds_and_the_next_gets_newer_ones(world: World) -> None:
    await world.publish("1", "2", "3")
    first = Reader(await world.connection.channel())
    tag = await first.channel.consume(Q, 2, first.got.append)
    second = await world.read()
    assert (first.bodies, second.bodies) == ("1 2", "")
    await first.channel.cancel(tag)
    await world.rest()
    assert second.bodies == "3"
    first.channel.ack(first.tag("1"))
    first.channel.close()
    await world.rest()
    assert second.bodies.startswith("3 ")
    assert second.bodies.endswith("2*")


@in_a_world
async def test_one_consumer_is_active_and_the_next_takes_over(world: World) -> None:
    first, second = await world.read(), await world.read()
    await world.publish("1", "2")
    await world.rest()
    assert (first.bodies, second.bodies) == ("1 2", "")
    first.channel.close()
    await world.rest()
    assert second.bodies == "1* 2*"


@in_a_world
async def test_the_broker_may_switch_the_active_consumer_and_tell_it_nothing(world: World) -> None:
    first, second = await world.read(), await world.read()
    await world.publish("1", "2")
    await world.rest()
    world.broker.switch(Q)
    await world.publish("3")
    await world.rest()
    assert (first.bodies, second.bodies) == ("1 2", "1* 2* 3")
    first.channel.ack(first.tag("1"))
    await world.rest()
    assert not first.channel.closed.is_set()
    second.channel.close()
    await world.rest()
    assert first.bodies == "1 2 1* 2* 3*"


@in_a_world
async def test_an_unknown_tag_closes_the_channel(world: World) -> None:
    await world.publish("1")
    reader = await world.read()
    reader.channel.ack(7)
    await reader.channel.closed.wait()
    assert "406 PRECONDITION_FAILED" in reader.channel.reason
    with pytest.raises(BrokerLost):
        reader.channel.ack(1)
    assert (await world.read()).bodies == "1*"


@in_a_world
async def test_a_tag_is_acknowledged_once(world: World) -> None:
    await world.publish("1")
    reader = await world.read()
    reader.channel.ack(1)
    reader.channel.ack(1)
    await reader.channel.closed.wait()
    assert "406 PRECONDITION_FAILED" in reader.channel.reason


@in_a_world
async def test_a_tag_of_an_old_channel_acknowledges_another_message_over_a_new_one(world: World) -> None:
    await world.publish("1", "2")
    old = await world.read(prefetch=1)
    await world.publish("3")
    old.channel.ack(old.tag("1"))
    await world.rest()
    tag = old.tag("2")
    old.channel.close()
    new = await world.read()
    assert new.bodies == "2* 3"
    new.channel.ack(tag)
    new.channel.close()
    assert (await world.read()).bodies in ("2*", "2* 3*")


@in_a_world
async def test_a_message_for_no_queue_is_returned_if_it_is_mandatory(world: World) -> None:
    with pytest.raises(Unroutable):
        await world.channel.publish("none", b"1")
    await world.channel.publish("none", b"1", mandatory=False)
    with pytest.raises(BrokerLost):
        await world.channel.consume("none", 1, lambda _: None)
    assert "404 NOT_FOUND" in world.channel.reason


def test_a_full_queue_rejects_and_only_what_waits_counts() -> None:
    async def main() -> None:
        world = await World.make(max_length=2)
        await world.publish("1", "2")
        with pytest.raises(Rejected):
            await world.publish("3")
        reader = await world.read()
        await world.publish("4", "5")
        reader.channel.close()
        await world.rest()
        assert world.waiting() == "1 2 4 5"

    virtually(main())


def test_what_comes_back_too_often_is_a_dead_letter() -> None:
    async def main() -> None:
        world = await World.make(delivery_limit=2)
        await world.publish("1", "2")
        for _ in range(2):
            reader = await world.read(prefetch=1)
            reader.channel.close()
        reader = await world.read(prefetch=1)
        assert reader.bodies == "1*"
        for _ in range(4):
            reader.channel.close()
            reader = await world.read(prefetch=1)
        assert sorted(item.body for item in world.queue.dead) == [b"1", b"2"]
        assert world.waiting() == ""

    virtually(main())


def test_whether_an_unconfirmed_message_was_published_is_not_known() -> None:
    async def outcome(seed: int) -> str:
        world = await World.make(seed)
        confirm = world.channel.publish(Q, b"1")
        await asyncio.sleep(world.random.uniform(0.0, 0.2))
        world.broker.cut("me")
        [result] = await asyncio.gather(confirm, return_exceptions=True)
        await world.rest()
        return f"{type(result).__name__} {world.waiting()}"

    assert both(60, outcome) == {"BrokerLost ", "BrokerLost 1", "NoneType 1"}


def test_an_acknowledgement_just_before_the_end_may_be_ignored() -> None:
    async def outcome(seed: int) -> str:
        world = await World.make(seed)
        await world.publish("1")
        reader = await world.read()
        reader.channel.ack(1)
        reader.channel.close()
        await world.rest()
        return world.waiting()

    assert both(40, outcome) == {"", "1"}


def test_of_what_is_written_in_a_restart_a_first_part_stays() -> None:
    async def outcome(seed: int) -> str:
        world = await World.make(seed)
        await world.publish("1")
        confirms = [world.channel.publish(Q, body) for body in (b"2", b"3")]
        await asyncio.sleep(world.random.uniform(0.0, 0.3))
        world.broker.restart(10.0)
        results = await asyncio.gather(*confirms, return_exceptions=True)
        known = sum(result is None for result in results)
        await world.rest()
        assert len(world.waiting().split()) >= 1 + known
        return world.waiting()

    assert both(100, outcome) == {"1", "1 2", "1 2 3"}


@in_a_world
async def test_a_restart_closes_everything_and_keeps_what_is_durable(world: World) -> None:
    await world.channel.declare("mine", exclusive=True)
    await world.publish("1", "2")
    await world.read(prefetch=1)
    world.broker.restart(10.0)
    await world.connection.closed.wait()
    with pytest.raises(BrokerLost):
        await world.broker.connect("me")
    with pytest.raises(BrokerLost):
        await world.connection.channel()
    assert list(world.broker.queues) == [Q]
    await asyncio.sleep(10)
    reader = await world.read(connection=await world.broker.connect("me"))
    assert reader.bodies == "1* 2"


@in_a_world
async def test_who_publishes_is_not_read_under_an_alarm_and_who_only_consumes_goes_on(world: World) -> None:
    mixed = await world.read(prefetch=1)
    await world.publish("1", "2", "3")
    await world.rest()
    world.broker.block()
    confirm = world.channel.publish(Q, b"4")
    mixed.channel.ack(mixed.tag("1"))
    await world.rest()
    assert (mixed.bodies, confirm.done()) == ("1", False)
    other = await world.read(connection=await world.broker.connect("other"))
    assert other.bodies == ""
    world.broker.unblock()
    await world.rest()
    assert (mixed.bodies, confirm.done()) == ("1 2", True)


@in_a_world
async def test_a_new_publisher_is_blocked_after_its_first_message(world: World) -> None:
    world.broker.block()
    first, second = world.channel.publish(Q, b"1"), world.channel.publish(Q, b"2")
    await world.rest()
    assert (first.done(), second.done()) == (True, False)
    world.broker.unblock()
    await second


@in_a_world
async def test_a_broken_connection_stays_active_until_the_broker_learns_of_it(world: World) -> None:
    reader = await world.read()
    world.broker.cut("me", broker_learns=10.0)
    await world.connection.closed.wait()
    new = await world.broker.connect("me")
    publisher = await new.channel()
    await publisher.publish(Q, b"1")
    waiting = await world.read(connection=new)
    assert (reader.bodies, waiting.bodies) == ("", "")
    await asyncio.sleep(10)
    assert waiting.bodies == "1*"


@in_a_world
async def test_a_client_that_has_not_learned_writes_into_the_void(world: World) -> None:
    world.broker.cut("me", client_learns=10.0)
    confirm = world.channel.publish(Q, b"1")
    await world.rest()
    assert not confirm.done()
    with pytest.raises(BrokerLost):
        await confirm
    assert world.waiting() == ""


@in_a_world
async def test_who_is_out_of_reach_can_not_connect(world: World) -> None:
    world.broker.unreachable.add("me")
    with pytest.raises(BrokerLost):
        await world.broker.connect("me")
    await world.broker.connect("other")


@in_a_world
async def test_a_connection_closed_by_its_client_delivers_what_it_sent_before(world: World) -> None:
    confirm = world.channel.publish(Q, b"1")
    world.connection.close()
    with pytest.raises(BrokerLost):
        await confirm
    await world.rest()
    assert world.waiting() == "1"
    assert world.broker.connections["me"] == []
