"""How long the platform takes to answer: with nothing there yet, and with its data directory there."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from scripts.benchmarks.meter import Used
from scripts.benchmarks.rows import Figures, Row, Size
from scripts.benchmarks.shop import meter_of, running_shop

WHAT = "from the start of the process to the first 200 of /health/ready, embedded PostgreSQL included"
TIMES = 3

Start = tuple[float, Used]
"""Seconds, and what the processes had used by then."""


async def run(work: Path, size: Size, log_level: str) -> list[Row]:
    """The rows cold and warm."""
    colds, warms = [], []
    for number in range(min(TIMES, size.rounds)):
        colds.append(await _start(work / f"start-{number}", log_level))
        warms.append(await _start(work / f"start-{number}", log_level))
    return [
        _row("cold", colds, "at most 10 s", "empty data directory: initdb and migrations are in it, not in the CPU"),
        _row("warm", warms, "at most 2 s", "after an orderly stop"),
    ]


def _row(name: str, starts: Sequence[Start], goal: str, how: str) -> Row:
    return Row(
        name=f"start, {name}",
        value=median(seconds for seconds, _ in starts),
        unit="s",
        goal=goal,
        conditions=f"{WHAT}, {how}; the median of {len(starts)}",
        operation=Figures(
            cpu_python_ms=median(used.python for _, used in starts) * 1000,
            cpu_postgres_ms=median(used.postgres for _, used in starts) * 1000,
        ),
    )


async def _start(data_dir: Path, log_level: str) -> Start:
    async with running_shop(data_dir, log_level) as shop, meter_of(shop) as meter:
        return shop.seconds, await meter.read()
