"""Clients' commands over a simulated broker: answered, refused, of unknown outcome, never done twice without a key."""

import asyncio

import pytest

from tests.conformance.mailbox import delivery, hears, into
from tests.conformance.toys import Add, Look
from tests.simulation.mailbox_world import QUEUE, World, in_a_world
from tests.simulation.virtual import virtually
from ultramarket.errors import Rejection, Unavailable
from ultramarket.ports.asking import Answer
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime import turn
from ultramarket.runtime.poison import ActorFailed


@in_a_world
async def test_a_command_is_answered_over_the_broker(world: World) -> None:
    def door(one: Delivery) -> bool:
        assert one.answer is not None
        one.answer(Answer({"n": one.command.n}, token="toy.03@7", version=3))
        return True

    await world.process("owner", door)
    sender = await world.process("sender")
    assert sender.offer(world.command(Add(n=5)))
    await world.rest()
    assert world.answers == [Answer({"n": 5}, None, "toy.03@7", version=3)]
    assert world.broker.quiet()
    assert sender.idle()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(rejection=Rejection("poor", "There is less.", 409, extra={"a": "b"}), version=2),
        Answer([1], replayed=True),
        Unavailable("deadline_passed", "Too late.", 3),
        ActorFailed("toy failed on Add"),
    ],
)
def test_every_kind_of_answer_arrives(answer: Answer | Exception) -> None:
    @in_a_world
    async def run(world: World) -> None:
        await world.process("owner", lambda one: one.answer is not None and one.answer(answer) is None)
        (await world.process("sender")).offer(world.command())
        await world.rest()
        [found] = world.answers
        assert (type(found), str(found)) == (type(answer), str(answer))
        if isinstance(found, Unavailable):
            assert (found.code, found.retry_after) == ("deadline_passed", 3)

    run()


@in_a_world
async def test_commands_of_the_runtime_travel_too(world: World) -> None:
    found: list[Delivery] = []
    await world.process("owner", into(found))
    sender = await world.process("sender")
    sender.offer(world.command(turn.Keep({"a": 1})))
    await world.rest()
    sender.offer(world.command(turn.Look()))
    await world.rest()
    assert [one.command for one in found] == [turn.Keep({"a": 1}), turn.Look()]


@in_a_world
async def test_a_command_for_an_own_partition_skips_the_broker(world: World) -> None:
    found: list[Delivery] = []
    owner = await world.process("owner", into(found))
    asked = world.command(Look())
    assert owner.offer(asked) is True
    assert found[0] is asked


@in_a_world
async def test_a_full_owner_says_so(world: World) -> None:
    await world.process("owner", lambda _: False)
    (await world.process("sender")).offer(world.command())
    await world.rest()
    assert [getattr(answer, "code", None) for answer in world.answers] == ["mailbox_full"]
    assert world.broker.quiet()


@in_a_world
async def test_a_full_process_refuses_commands_and_leaves_messages_to_the_outbox(world: World) -> None:
    sender = await world.process("sender", limit=2)
    world.broker.restart(30.0)
    assert sender.offer(delivery(1)) is True
    assert sender.offer(delivery(2)) is True
    assert sender.offer(delivery(3)) is False
    assert sender.offer(world.command()) is False
    await world.rest()
    assert sender.offer(world.command()) is False
    assert world.answers == []


def test_a_full_queue_refuses_commands_and_messages_wait() -> None:
    async def main() -> None:
        world = World(max_length=1)
        sender = await world.process("sender")
        sender.offer(delivery(1))
        sender.offer(delivery(2))
        await world.rest()
        sender.offer(world.command())
        await asyncio.sleep(1)
        assert [getattr(answer, "code", None) for answer in world.answers] == ["mailbox_full"]
        found: list[Delivery] = []
        await world.process("owner", into(found))
        assert hears(found) == [1, 2]

    virtually(main())


@in_a_world
async def test_a_command_whose_connection_broke_has_an_unknown_outcome(world: World) -> None:
    await world.process("owner", lambda _: True)
    sender = await world.process("sender")
    sender.offer(world.command())
    await world.rest()
    assert world.answers == []
    world.broker.cut("sender")
    await world.rest()
    assert [getattr(answer, "code", None) for answer in world.answers] == ["outcome_unknown"]


@in_a_world
async def test_a_command_that_nobody_answers_is_forgotten(world: World) -> None:
    await world.process("owner", lambda _: True)
    sender = await world.process("sender", ask_seconds=5.0)
    sender.offer(world.command())
    await world.rest()
    assert sender.idle()
    assert world.answers == []


@pytest.mark.parametrize(("key", "comes_again"), [("key", True), (None, False)])
def test_a_command_that_comes_again_is_only_judged_again_with_a_key(key: str | None, comes_again: bool) -> None:
    @in_a_world
    async def run(world: World) -> None:
        first: list[Delivery] = []
        second: list[Delivery] = []
        owner = await world.process("owner", into(first))
        await world.process("next", into(second))
        (await world.process("sender")).offer(world.command(key=key))
        await world.rest()
        owner.close("toy", 3)
        await world.rest()
        assert (len(first), len(second)) == (1, int(comes_again))
        assert [getattr(answer, "code", None) for answer in world.answers] == (
            [] if comes_again else ["outcome_unknown"]
        )
        assert first[0].answer is not None
        first[0].answer(Answer(1))  # too late to be acknowledged: its channel is closed
        await world.rest()

    run()


@in_a_world
async def test_a_command_for_a_partition_that_nobody_declared_is_refused(world: World) -> None:
    sender = await world.process("sender")
    del world.broker.queues[QUEUE]
    sender.offer(world.command())
    await world.rest()
    assert [getattr(answer, "code", None) for answer in world.answers] == ["not_ready"]


@in_a_world
async def test_a_command_with_a_lone_surrogate_is_refused_at_once(world: World) -> None:
    sender = await world.process("sender")
    assert sender.offer(world.command(turn.Keep("\ud800"))) is True
    [answer] = world.answers
    assert isinstance(answer, Answer)
    assert answer.rejection is not None
    assert answer.rejection.code == "too_large_or_bad_text"
