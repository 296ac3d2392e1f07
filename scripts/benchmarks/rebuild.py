"""How fast a view of many events is built anew beside a platform that serves, and what memory that takes."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import msgspec

from scripts.benchmarks.importing import Peak
from scripts.benchmarks.orders import make
from scripts.benchmarks.rows import Row, Size
from scripts.benchmarks.shop import ROOT, Shop, meter_of, running_shop

VIEWS = ("orders", "products")
GOAL = "1,000,000 in 5 minutes: 3,334/s"


@dataclass(frozen=True, slots=True)
class Built:
    """A rebuild: events read, seconds from the command's start to its end, and MiB that its process had at most."""

    events: int
    seconds: float
    memory: float


async def run(work: Path, size: Size, log_level: str) -> list[Row]:
    """The rows of each view."""
    few, many = size.entities // 2, size.entities * 60
    built = {}
    for orders in (few, many):
        place = work / f"{orders}"
        await make(place, orders, log_level)
        async with running_shop(place, log_level) as shop:
            for view in VIEWS:
                built[orders, view] = await _rebuild(place, shop, view)
    return [
        row
        for view in VIEWS
        for row in _rows(view, f"{many:,} orders against {few:,}", built[many, view], built[few, view])
    ]


async def _rebuild(data_dir: Path, shop: Shop, view: str) -> Built:
    """Run the command."""
    began = perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ultramarket.cli", "rebuild", view, "--json", "--data-dir", str(data_dir)),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with meter_of(shop, process.pid) as meter:
        peak = Peak(meter)
        watching = asyncio.create_task(peak.watch())
        out, _ = await process.communicate()
        seconds = perf_counter() - began
        watching.cancel()
    if process.returncode:
        raise RuntimeError(f"the rebuild of {view} ended with {process.returncode}")
    return Built(msgspec.json.decode(out)["events"], seconds, peak.most)


def _rows(view: str, about: str, many: Built, few: Built) -> list[Row]:
    return [
        Row(
            name=f"rebuild of {view}",
            value=many.events / many.seconds,
            unit="events/s",
            goal=GOAL,
            conditions=f"{many.events:,} events in {many.seconds:.1f} s, from the start of the command to its end, "
            "beside a platform that has nothing else to do",
        ),
        Row(
            name=f"rebuild of {view}, memory",
            value=many.memory,
            unit="MiB",
            baseline=few.memory,
            ratio=few.memory / many.memory,
            goal="flat",
            conditions=f"{about}: the most that the command's process had",
        ),
    ]
