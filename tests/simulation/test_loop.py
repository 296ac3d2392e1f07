"""The loop of the simulated worlds: time jumps, processes take turns as a seed decides, freeze, and die for good."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any

import pytest

from tests.simulation.loop import Killed, Process, Stuck, VirtualLoop


def loop_of(seed: int = 0) -> VirtualLoop:
    return VirtualLoop(Random(seed))  # type: ignore[abstract]  # noqa: S311 - it has no sockets, and is repeatable


def live(loop: VirtualLoop, main: Callable[[], Coroutine[Any, Any, None]], steps: int = 1000) -> None:
    try:
        loop.run(main(), steps)
    finally:
        loop.close()


def spawn(loop: VirtualLoop, process: Process, work: Awaitable[None]) -> "asyncio.Task[Any]":
    return loop.create_task(work, context=process.context())  # type: ignore[arg-type]  # each is a coroutine


def test_time_jumps_to_the_next_timer() -> None:
    loop, seen = loop_of(), []

    async def main() -> None:
        await asyncio.sleep(3600.0)
        seen.append(asyncio.get_running_loop().time())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.Event().wait()
        seen.append(asyncio.get_running_loop().time())

    live(loop, main)
    assert seen == [3600.0, 3600.5]


def order_of(seed: int) -> str:
    loop, seen = loop_of(seed), list[str]()

    async def count(name: str) -> None:
        for number in range(5):
            seen.append(f"{name}{number}")
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*[spawn(loop, loop.process(name), count(name)) for name in "ab"])

    live(loop, main)
    return " ".join(seen)


def test_the_seed_decides_which_process_runs_next_and_each_keeps_its_own_order() -> None:
    assert order_of(1) == order_of(1)
    orders = {order_of(seed) for seed in range(20)}
    assert len(orders) > 10
    for order in orders:
        for name in "ab":
            steps = [step for step in order.split() if step.startswith(name)]
            assert steps == [f"{name}{number}" for number in range(5)]


def test_a_frozen_process_runs_late_when_it_is_thawed() -> None:
    loop, seen = loop_of(), list[tuple[float, float]]()
    process = loop.process("frozen")

    async def sleeper() -> None:
        await asyncio.sleep(1.0)
        seen.append((1.0, loop.time()))

    async def main() -> None:
        task = spawn(loop, process, sleeper())
        await asyncio.sleep(0.5)
        process.frozen = True
        await asyncio.sleep(9.5)
        process.frozen = False
        await task

    live(loop, main)
    assert seen == [(1.0, 10.0)]


def test_a_killed_process_runs_never_again_not_even_to_clean_up() -> None:
    loop, seen = loop_of(), list[str]()
    process = loop.process("killed")

    async def worker() -> None:
        try:
            await asyncio.sleep(1.0)
        finally:
            seen.append("cleaned up")

    async def main() -> None:
        spawn(loop, process, worker())
        await asyncio.sleep(0.5)
        loop.kill(process)
        await asyncio.sleep(10.0)
        assert seen == []

    live(loop, main)
    assert loop.errors == []


def test_a_process_may_die_in_the_middle_of_a_step() -> None:
    loop, seen = loop_of(), list[str]()
    process = loop.process("killed")

    async def worker() -> None:
        seen.append("before")
        loop.kill(process)
        raise Killed

    async def main() -> None:
        spawn(loop, process, worker())
        await asyncio.sleep(1.0)

    live(loop, main)
    assert (seen, loop.errors) == (["before"], [])


def test_a_deadlock_is_told() -> None:
    async def main() -> None:
        await asyncio.sleep(2.0)
        await asyncio.Event().wait()

    with pytest.raises(Stuck, match=r"deadlock: nothing is ready and no timer is set at 2\.000 s"):
        live(loop_of(), main)


def test_a_livelock_is_told() -> None:
    async def main() -> None:
        while True:  # noqa: ASYNC110 - what is tested
            await asyncio.sleep(0)

    with pytest.raises(Stuck, match=r"livelock: 500 steps"):
        live(loop_of(), main, steps=500)


def test_what_a_callback_raises_is_kept() -> None:
    loop = loop_of()

    def fail() -> None:
        raise ValueError("broken")

    async def main() -> None:
        asyncio.get_running_loop().call_soon(fail)
        await asyncio.sleep(1.0)

    live(loop, main)
    assert loop.errors == ["world: a callback raised ValueError('broken')"]
