"""What happens at the ends: before a start, after an answer, while the database is away."""

import asyncio
from typing import Any

import pytest

from ultramarket.adapters.inprocess import InProcessMailbox
from ultramarket.messages.common import Wake
from ultramarket.ports.journal import JournalLost, Lane, Pending
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime import sweeper, upkeep
from ultramarket.runtime.actor import Actor
from ultramarket.runtime.clock import Clock
from ultramarket.runtime.owner import Owner
from ultramarket.runtime.partition import Partition
from ultramarket.runtime.sweeper import Sweeper
from ultramarket.runtime.system import Options, Runtime, _give_up
from ultramarket.runtime.upkeep import Upkeep


def runtime() -> Runtime:
    return Runtime(lambda _: [], lambda: None, InProcessMailbox(), None, Options())  # type: ignore[arg-type,return-value]  # nothing runs


async def test_a_runtime_that_has_not_started_has_not_failed() -> None:
    await runtime().failure()


async def test_the_first_failure_of_a_runtime_is_the_one_that_is_told() -> None:
    ours = runtime()
    ours.failed = asyncio.get_running_loop().create_future()

    async def fail(reason: str) -> None:
        raise ValueError(reason)

    for reason in ("first", "second"):
        task = asyncio.create_task(fail(reason))
        await asyncio.wait([task])
        ours._ended(task)
    with pytest.raises(ValueError, match="first"):
        await ours.failure()


def test_an_actor_without_personal_data_has_no_subject() -> None:
    assert Actor[Any, Any, Any]().subject(None) is None


async def test_an_answer_that_came_in_time_stays() -> None:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_result("in time")
    _give_up(future)
    assert await future == "in time"


async def test_a_wake_up_in_flight_is_left_to_the_timers() -> None:
    queued: list[str] = []
    partition = Partition("cart", 1, 10, lambda _, id: queued.append(id), lambda _: None)
    partition.lane = Lane("cart", 1, 1, 0)
    wake = Delivery("cart", 1, "c", Wake(), "system", "t", "wake")
    owner = Owner("o", None, [partition], lambda: None, lambda _: None)  # type: ignore[arg-type]  # only its queue is asked
    owner._requeue([(partition, wake)], JournalLost("gone"))
    assert (queued, partition.depth) == ([], 0)


class Away:
    """A journal that breaks, stays away once, and is there again."""

    def __init__(self) -> None:
        self.opened = 0
        self.back = asyncio.Event()

    async def open(self) -> Any:
        self.opened += 1
        if self.opened == 1:
            raise JournalLost("away")
        self.back.set()
        return Clock().now()


async def test_the_upkeep_opens_its_connection_until_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Away()

    class Quick:
        def __init__(self, _chance: Any) -> None:
            pass

        def next(self) -> float:
            return 0.0

        def reset(self) -> None:
            pass

    class Part:
        async def run(self) -> None:
            if not journal.back.is_set():
                raise JournalLost("gone")
            await asyncio.Event().wait()

        async def follow(self, *_: Any) -> None:
            await asyncio.Event().wait()

        def request(self) -> None:
            pass

    monkeypatch.setattr(upkeep, "Backoff", Quick)
    part: Any = Part()
    task = asyncio.create_task(Upkeep(journal, Clock(), part, part, part, []).run())  # type: ignore[arg-type]  # it only opens
    async with asyncio.timeout(5):
        await journal.back.wait()
    task.cancel()
    assert journal.opened == 2


async def test_a_sweep_goes_on_until_the_outbox_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "BATCH", 1)
    rows = [Pending(n, f"m{n}", "cart", 1, "c", '{"source":"order:o","trace":"t","body":{}}') for n in (1, 2)]

    class Outbox:
        async def blocked(self, _: Any) -> set[Any]:
            return set()

        async def pending(self, _: Any, after: int, _older: float, limit: int) -> list[Pending]:
            return [row for row in rows if row.n > after][:limit]

    class Codec:
        def command(self, data: Any) -> Any:
            return bytes(data)

    partition = Partition("cart", 1, 10, lambda *_: None, lambda _: None)
    partition.lane = Lane("cart", 1, 1, 0)
    outbox, codec = Outbox(), Codec()
    await Sweeper(outbox, {("cart", 1): partition}, {"cart": codec}, lambda _: None).sweep(0.0)  # type: ignore[arg-type,dict-item]
    assert [delivery.message for delivery in partition.waiting["c"]] == ["m1", "m2"]
