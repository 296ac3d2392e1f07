"""Rounds of operations: many at a time, timed, with the CPU and the database's work that they cost."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TypeVar

from scripts.benchmarks.meter import Meter, Used

Item = TypeVar("Item")
Worker = TypeVar("Worker")


@dataclass(frozen=True, slots=True)
class Round:
    """What one round took.

    Attributes:
        seconds: from the first request to the last answer.
        latencies: seconds of each operation.
        used: what it cost the server and the database.
    """

    seconds: float
    latencies: Sequence[float]
    used: Used

    @property
    def rate(self) -> float:
        """Operations a second."""
        return len(self.latencies) / self.seconds


async def timed(
    workers: Sequence[Worker],
    items: Iterable[Item],
    work: Callable[[Worker, Item], Awaitable[float | None]],
    meter: Meter,
) -> Round:
    """Do the work of every item, each worker one item at a time.

    Args:
        workers: connections or the like.
        items: the operations.
        work: does one; gives the seconds that count as its latency, or None where all of it does.
        meter: reads what the server and the database used.
    """
    waiting = iter(items)
    latencies: list[float] = []

    async def run(worker: Worker) -> None:
        for item in waiting:
            began = perf_counter()
            counted = await work(worker, item)
            latencies.append(perf_counter() - began if counted is None else counted)

    before = await meter.read()
    started = perf_counter()
    async with asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(run(worker))
    seconds = perf_counter() - started
    return Round(seconds, latencies, await meter.read() - before)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def rate(rounds: Sequence[Round]) -> float:
    """Operations a second: the median round."""
    return median(each.rate for each in rounds)


def ratio(ours: Sequence[Round], theirs: Sequence[Round]) -> float:
    """How many times faster we are: the median over pairs of rounds, which the machine's noise hits alike."""
    return median(one.rate / other.rate for one, other in zip(ours, theirs, strict=True))


def describe(rounds: Sequence[Round]) -> str:
    """Latencies and CPU of an operation, over all rounds."""
    latencies = [seconds for each in rounds for seconds in each.latencies]
    used = sum((each.used for each in rounds), Used())
    text = f"p50 {percentile(latencies, 0.5) * 1000:.1f} ms, p99 {percentile(latencies, 0.99) * 1000:.1f} ms"
    return f"{text}; CPU an operation: {used.cpu(len(latencies))}"
