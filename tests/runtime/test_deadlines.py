import asyncio

import pytest

from ultramarket.runtime import deadlines
from ultramarket.runtime.deadlines import Deadlines


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "TICK", 0.001)


async def test_what_is_late_is_told_once_and_the_rest_waits_on() -> None:
    late: list[str] = []
    told = asyncio.Event()

    def tell(item: str) -> None:
        late.append(item)
        told.set()

    waiting: Deadlines[str] = Deadlines(tell)
    waiting.add("patient", 60.0)
    waiting.add("first", 0.001)
    await told.wait()
    waiting.remove("first", 0.001)
    told.clear()
    waiting.add("second", 0.002)
    await told.wait()
    assert late == ["first", "second"]
    waiting.remove("patient", 60.0)


async def test_what_is_taken_back_in_time_is_not_told() -> None:
    late: list[str] = []
    waiting: Deadlines[str] = Deadlines(late.append)
    waiting.add("quick", 0.001)
    waiting.remove("quick", 0.001)
    done = asyncio.Event()
    other: Deadlines[str] = Deadlines(lambda _: done.set())
    other.add("sentinel", 0.01)
    await done.wait()
    assert late == []


async def test_between_items_no_timer_is_left() -> None:
    told = asyncio.Event()
    waiting: Deadlines[str] = Deadlines(lambda _: told.set())
    for _ in range(3):
        waiting.add("item", 0.001)
        await told.wait()
        told.clear()
        assert not waiting.ticking
