import asyncio
from typing import Any

import pytest

from ultramarket.ports.journal import Fenced, JournalLost, Lane
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime.partition import Partition
from ultramarket.runtime.poison import Poison
from ultramarket.runtime.turn import Failure

MESSAGE = "cart/c/1/0"


class Parking:
    """The part of a journal that parks; it answers as told."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = asyncio.Event()

    async def park(self, *_: Any) -> bool:
        self.asked.set()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)


async def parking(journal: Parking, lane: Lane | None) -> tuple[Poison, Partition, "asyncio.Task[None]", list[float]]:
    """A message that failed for good, on its way to the parked ones."""
    sweeps: list[float] = []
    poison = Poison(sweeps.append, delays=())
    poison.arrange(journal)  # type: ignore[arg-type]  # the part that it uses
    partition = Partition("order", 3, 10, lambda *_: None, lambda _: None)
    partition.lane = lane
    delivery = Delivery("order", 3, "o", None, "cart:c", "t", MESSAGE, message=MESSAGE, source="cart:c")
    partition.attempts[MESSAGE] = 100
    poison.failed(partition, Failure(delivery, ValueError("bad")))
    return poison, partition, asyncio.create_task(poison.run()), sweeps


async def test_a_partition_that_moved_on_is_left_to_its_owner(logs: list[Any]) -> None:
    journal = Parking(Fenced("moved"))
    _, _, task, _ = await parking(journal, Lane("order", 3, 1, 0))
    await journal.asked.wait()
    await asyncio.sleep(0)
    task.cancel()
    assert [entry["event"] for entry in logs][-1] == "the partition moved on while a message was being parked"


async def test_a_message_that_is_gone_is_not_told_as_parked(logs: list[Any]) -> None:
    journal = Parking("")
    _, partition, task, _ = await parking(journal, Lane("order", 3, 1, 0))
    await journal.asked.wait()
    await asyncio.sleep(0)
    task.cancel()
    assert partition.parking == set()
    assert "message parked" not in [entry["event"] for entry in logs]


async def test_a_partition_that_is_being_taken_parks_later() -> None:
    journal = Parking()
    _, partition, task, sweeps = await parking(journal, None)
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    assert (sweeps, partition.parking, journal.asked.is_set()) == ([1.0], set(), False)


async def test_a_lost_connection_keeps_it_for_the_next_one() -> None:
    journal = Parking(JournalLost("gone"), "parked")
    poison, partition, task, _ = await parking(journal, Lane("order", 3, 1, 0))
    with pytest.raises(JournalLost):
        await task
    assert partition.parking == {("cart:c", "o")}
    again = asyncio.create_task(poison.run())
    journal.asked.clear()
    await journal.asked.wait()
    await asyncio.sleep(0)
    again.cancel()
    assert partition.parking == set()
