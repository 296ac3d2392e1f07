"""A partition that is handed over by draining, and how a mailbox tells that its broker is away."""

import asyncio

from tests.conformance.mailbox import delivery, hears, into
from tests.simulation.mailbox_world import QUEUE, World, in_a_world
from tests.simulation.virtual import virtually
from ultramarket.ports.asking import Answer
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime import turn


@in_a_world
async def test_a_drain_waits_until_what_arrived_is_answered(world: World) -> None:
    taken: list[Delivery] = []
    owner = await world.process("owner", into(taken))
    sender = await world.process("sender", ask_seconds=100.0)
    sender.offer(world.command())
    await world.rest()
    draining = asyncio.ensure_future(owner.drain("toy", 3))
    await world.rest()
    assert not draining.done()
    assert taken[0].answer is not None
    taken[0].answer(Answer(1))
    await draining
    await world.rest()
    assert world.answers == [Answer(1)]
    assert world.broker.quiet()
    assert world.broker.queues[QUEUE].consumers == []


@in_a_world
async def test_what_comes_during_a_drain_goes_to_the_next_owner(world: World) -> None:
    taken: list[Delivery] = []
    after: list[Delivery] = []
    owner = await world.process("owner", into(taken))
    sender = await world.process("sender", ask_seconds=100.0)
    sender.offer(world.command())
    await world.rest()
    draining = asyncio.ensure_future(owner.drain("toy", 3))
    await world.rest()
    assert owner.offer(delivery(1)) is True
    assert owner.offer(world.command()) is True
    await world.process("next", into(after))
    assert [one.message for one in after] == ["m1", None]
    assert len(taken) == 1
    assert not draining.done()
    draining.cancel()


@in_a_world
async def test_a_drain_ends_when_its_channel_is_lost_and_the_next_owner_gets_what_was_open(world: World) -> None:
    taken: list[Delivery] = []
    after: list[Delivery] = []
    owner = await world.process("owner", into(taken))
    (await world.process("sender", ask_seconds=100.0)).offer(world.command(key="k"))
    await world.rest()
    draining = asyncio.ensure_future(owner.drain("toy", 3))
    await world.rest()
    world.broker.cut("owner")
    await draining
    await world.process("next", into(after))
    assert (len(taken), len(after)) == (1, 1)
    assert taken[0].answer is not None
    taken[0].answer(Answer(1))  # too late to be acknowledged, but true
    await world.rest()
    assert world.answers == [Answer(1)]


@in_a_world
async def test_what_is_not_consumed_is_drained_at_once_and_can_be_opened_again(world: World) -> None:
    found: list[Delivery] = []
    owner = await world.process("owner")
    await owner.drain("toy", 3)
    owner.open("toy", 3, into(found))
    await owner.drain("toy", 3)
    owner.open("toy", 3, into(found))
    await world.rest()
    (await world.process("sender", ask_seconds=100.0)).offer(delivery(1))
    await world.rest()
    assert hears(found) == [1]


@in_a_world
async def test_a_look_that_comes_again_is_looked_at_again(world: World) -> None:
    after: list[Delivery] = []
    owner = await world.process("owner", lambda _: True)
    await world.process("next", into(after))
    (await world.process("sender", ask_seconds=100.0)).offer(world.command(turn.Look()))
    await world.rest()
    owner.close("toy", 3)
    await world.rest()
    assert [one.command for one in after] == [turn.Look()]


@in_a_world
async def test_what_is_none_of_ours_is_a_dead_letter_and_the_next_one_is_taken(world: World) -> None:
    found: list[Delivery] = []
    await world.process("owner", into(found))
    channel = await (await world.broker.connect("stranger")).channel()
    await channel.publish(QUEUE, b"\xff")
    (await world.process("sender", ask_seconds=100.0)).offer(delivery(1))
    await world.rest()
    assert [item.body for item in world.broker.queues[QUEUE].dead] == [b"\xff"]
    assert hears(found) == [1]


@in_a_world
async def test_it_is_lost_from_the_first_moment_until_it_can_publish_and_consume_again(world: World) -> None:
    process = await world.process("one")
    await world.rest()
    assert process.lost_since() is None
    assert process.ready()
    world.broker.restart(30.0)
    await asyncio.sleep(0.01)
    lost = process.lost_since()
    assert lost is not None
    assert asyncio.get_running_loop().time() - lost < 0.1
    await asyncio.sleep(20)
    assert process.lost_since() == lost
    assert not process.ready()
    await asyncio.sleep(15)
    assert process.ready()


def test_retries_are_spread_by_chance() -> None:
    async def reconnected(seed: int) -> float:
        world = World(seed)
        process = await world.process("one")
        world.broker.restart(20.0)
        await asyncio.sleep(0.01)
        process.connected.clear()
        await process.connected.wait()
        for one in world.processes:
            await one.stop()
        return asyncio.get_running_loop().time()

    times = {round(virtually(reconnected(seed)), 3) for seed in range(8)}
    assert len(times) == 8
    assert max(times) - 20.0 < 5.0
