"""Rounds of operations: many at a time, timed, with the CPU and the database's work that they cost."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TypeVar

from scripts.benchmarks.http_client import Connection, storm
from scripts.benchmarks.meter import Meter, Used
from scripts.benchmarks.rows import Figures, Row

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


async def stormed(opened: Sequence[Connection], requests: Sequence[bytes], meter: Meter) -> Round:
    """Send requests that were made before, each connection one at a time; none may be refused."""
    before = await meter.read()
    started = perf_counter()
    latencies = await storm(opened, requests)
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


def figures(rounds: Sequence[Round], statements: float | None = None) -> Figures:
    """What an operation took, over all rounds; `statements` were counted in a round of their own."""
    latencies = [seconds for each in rounds for seconds in each.latencies]
    used = sum((each.used for each in rounds), Used()).share(len(latencies))
    return Figures(
        p50=percentile(latencies, 0.5) * 1000,
        p99=percentile(latencies, 0.99) * 1000,
        p999=percentile(latencies, 0.999) * 1000,
        cpu_python_ms=used.python * 1000,
        cpu_postgres_ms=used.postgres * 1000,
        cpu_client_ms=used.client * 1000 if used.client else None,
        statements=statements,
        wal_bytes=used.wal,
    )


def client_share(rounds: Sequence[Round]) -> str:
    """What the asking process took of the machine, for the conditions; nothing where it is the one that serves."""
    used = sum(each.used.client for each in rounds)
    return f"; the client took {used / sum(each.seconds for each in rounds):.0%} of a core" if used else ""


def compared(
    name: str,
    unit: str,
    ours: Sequence[Round],
    theirs: Sequence[Round],
    *,
    statements: tuple[float, float],
    goal: str = "",
    conditions: str,
) -> Row:
    """The row of rounds that took turns with those of a baseline.

    Args:
        name: what was measured.
        unit: of the rates.
        ours: the platform's rounds.
        theirs: the baseline's.
        statements: SQL statements an operation of both.
        goal: what the figure should be.
        conditions: how it was measured.
    """
    return Row(
        name=name,
        value=rate(ours),
        unit=unit,
        baseline=rate(theirs),
        ratio=ratio(ours, theirs),
        goal=goal,
        conditions=f"{conditions}{client_share(ours)}",
        operation=figures(ours, statements[0]),
        plain=figures(theirs, statements[1]),
    )
