"""How long the platform takes to answer: with nothing there yet, and with its data directory there."""

from pathlib import Path
from statistics import median

from scripts.benchmarks.rows import Row, Size
from scripts.benchmarks.shop import running_shop

WHAT = "from the start of the process to the first 200 of /health/ready, embedded PostgreSQL included"


async def run(work: Path, size: Size, log_level: str) -> list[Row]:
    """The rows cold and warm."""
    times = [await _starts(work / f"start-{number}", log_level) for number in range(min(3, size.rounds))]
    return [
        Row(
            name="start, cold",
            value=median(cold for cold, _ in times),
            unit="s",
            goal="at most 10 s",
            conditions=f"{WHAT}, empty data directory: initdb and migrations are in it",
        ),
        Row(
            name="start, warm",
            value=median(warm for _, warm in times),
            unit="s",
            goal="at most 2 s",
            conditions=f"{WHAT}, after an orderly stop",
        ),
    ]


async def _starts(data_dir: Path, log_level: str) -> tuple[float, float]:
    async with running_shop(data_dir, log_level) as cold:
        pass
    async with running_shop(data_dir, log_level) as warm:
        pass
    return cold.seconds, warm.seconds
