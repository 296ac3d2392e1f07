"""A partition's mailbox: room, keys, order behind what is in the outbox, sweeps."""

import asyncio
from typing import Any

import pytest

from tests.conformance.toys import Add, Hear
from ultramarket.errors import Unavailable
from ultramarket.ports.asking import Answer
from ultramarket.ports.journal import Lane
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime.partition import Partition, answer_to

LANE = Lane("toy", 0, 1, 0)


class Door:
    """A partition, and what it asked for."""

    def __init__(self, limit: int = 4, lane: Lane | None = LANE) -> None:
        self.woken: list[str] = []
        self.sweeps: list[float] = []
        self.answers: list[Any] = []
        self.partition = Partition("toy", 0, limit, lambda _, id_: self.woken.append(id_), self.sweeps.append)
        self.partition.lane = lane

    def client(self, id: str = "a", key: str | None = None) -> Delivery:
        return Delivery("toy", 0, id, Add(), "staff", "", "c", key=key, answer=self.answers.append)

    def order(self, id: str = "a") -> list[str | None]:
        return [delivery.message for delivery in self.partition.waiting.get(id, ())]


def message(name: str, source: str = "toy:s", id: str = "a") -> Delivery:
    return Delivery("toy", 0, id, Hear(n=1), source, "", name, message=name, source=source)


def test_a_client_is_refused_when_it_is_full_and_told_when_it_is_not_ours() -> None:
    door = Door(limit=1)
    assert door.partition.offer(door.client()) is True
    assert door.partition.offer(door.client()) is False
    away = Door(lane=None)
    assert away.partition.offer(away.client()) is True
    assert [error.code for error in away.answers] == ["not_ready"]


def test_a_key_in_use_is_in_progress_until_it_is_settled() -> None:
    door = Door()
    first = door.client(key="k")
    assert door.partition.offer(first)
    assert door.partition.offer(door.client(key="k"))
    assert door.answers[0].rejection.code == "in_progress"
    assert door.partition.offer(door.client(id="b", key="k"))
    [taken] = door.partition.pull("a", 9)
    door.partition.settle(taken, Answer(1))
    assert door.partition.offer(door.client(key="k"))
    assert (len(door.answers), door.partition.depth) == (2, 2)


async def test_what_does_not_fit_is_swept_in_before_later_messages_of_its_pair() -> None:
    door = Door(limit=2)
    partition = door.partition
    assert [partition.offer(message(name)) for name in ("m1", "m2", "m3")] == [True, True, False]
    partition.pull("a", 2)
    assert door.sweeps == [0.0]
    assert partition.offer(message("m4")) is False
    assert partition.offer(message("o1", "toy:other")) is True
    now = asyncio.get_running_loop().time()
    partition.begin_sweep(set())
    assert partition.bring(message("m3"), now) is True
    assert partition.bring(message("m4"), now) is False
    assert partition.offer(message("m5")) is False
    partition.end_sweep(now, {("toy:s", "a")})
    assert ("toy:s", "a") in partition.behind
    partition.pull("a", 2)
    partition.begin_sweep(set())
    assert partition.bring(message("m4"), now) is True
    assert partition.bring(message("m5"), now) is True
    partition.end_sweep(now, set())
    assert partition.behind == {}
    assert partition.offer(message("m3")) is True
    assert door.order() == ["m4", "m5"]


async def test_a_message_offered_during_a_sweep_that_may_not_have_seen_it_makes_it_come_again() -> None:
    door = Door()
    partition = door.partition
    partition.hold("toy:s", "a")
    now = asyncio.get_running_loop().time()
    partition.begin_sweep(set())
    assert partition.offer(message("m1")) is False
    partition.end_sweep(now, set())
    assert door.sweeps == [0.0, 0.0]
    assert ("toy:s", "a") in partition.behind


async def test_a_pair_that_waits_for_a_time_is_not_brought_before() -> None:
    door = Door()
    partition = door.partition
    partition.known.add("m1")
    partition.push(message("m2"))
    partition.shelve(message("m1"), 100.0)
    assert (door.order(), partition.depth, partition.known) == ([], 0, set())
    now = asyncio.get_running_loop().time()
    partition.begin_sweep(set())
    assert partition.bring(message("m1"), now) is False
    assert partition.bring(message("m1"), now + 100.0) is True


async def test_a_shelved_message_leaves_others_and_clients_in_the_queue() -> None:
    door = Door(limit=9)
    partition = door.partition
    for delivery in (message("m1"), message("o1", "toy:other"), door.client(), message("m2")):
        assert partition.offer(delivery)
    partition.pull("a", 1)
    partition.shelve(message("m1"))
    assert door.order() == ["o1", None]
    assert partition.depth == 2


async def test_messages_behind_a_parked_one_stay_until_it_is_gone() -> None:
    door = Door()
    partition = door.partition
    pair = ("toy:s", "a")
    partition.begin_sweep({pair})
    assert partition.offer(message("m1")) is False
    assert partition.bring(message("m1"), 1.0) is True
    assert partition.depth == 0
    partition.parking.add(pair)
    partition.begin_sweep(set())
    assert pair in partition.blocked
    partition.parking.discard(pair)
    partition.begin_sweep(set())
    assert pair in partition.behind
    assert partition.offer(message("m2")) is False
    assert partition.bring(message("m1"), 1.0) is True


async def test_taking_anew_leaves_messages_to_the_outbox_and_clients_in_the_queue() -> None:
    door = Door()
    partition = door.partition
    partition.offer(message("m1"))
    partition.offer(door.client())
    partition.running["busy"] = "a"
    partition.known.add("busy")
    partition.forget()
    assert door.order() == [None]
    assert (partition.known, partition.depth) == ({"busy"}, 1)
    assert ("toy:s", "a") in partition.behind


def test_draining_answers_everybody() -> None:
    door = Door()
    door.partition.offer(door.client(key="k"))
    door.partition.offer(message("m1"))
    door.partition.drain(Unavailable("shutting_down", "bye"))
    assert [error.code for error in door.answers] == ["shutting_down"]
    assert (door.partition.depth, door.partition.waiting) == (0, {})


async def test_an_answer_reaches_a_future_once() -> None:
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    settle = answer_to(future)
    settle(Answer(1))
    settle(Answer(2))
    assert (await future).value == 1
    other: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    answer_to(other)(Unavailable("x", "y"))
    with pytest.raises(Unavailable):
        await other
