"""How fast a product file goes in, and what memory that takes."""

import asyncio
from pathlib import Path

from scripts.benchmarks.catalogue import import_file, listed, product_file
from scripts.benchmarks.meter import Meter
from scripts.benchmarks.rows import Figures, Row, Size
from scripts.benchmarks.shop import Shop, meter_of, running_shop
from scripts.benchmarks.statements import HOW, counted

COLOURS = 5
"""Of each product, in four sizes: 20 variants."""
GOAL = "100,000 in 3 minutes: 556/s"
_SAMPLE_SECONDS = 0.05


class Peak:
    """The most memory that the process had while it was looked at, in MiB."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.most = meter.resident()

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            self.most = max(self.most, self._meter.resident())
            await asyncio.sleep(_SAMPLE_SECONDS)


async def run(work: Path, size: Size, log_level: str) -> list[Row]:
    """The rows of the rate and of memory."""
    products = size.entities
    file = product_file(range(products), COLOURS)
    async with running_shop(work / "import", log_level) as shop, meter_of(shop) as meter:
        peak, rest, before = Peak(meter), meter.resident(), await meter.read()
        watching = asyncio.create_task(peak.watch())
        shown, seconds = await import_file(shop.port, file)
        await listed(shop.port, products)
        watching.cancel()
        used = (await meter.read() - before).share(shown["variants"])
        again, unchanged = await import_file(shop.port, file)
        statements = await _statements(shop, range(products, products + max(1, products // 10)))
    if again["unchanged"] != products:
        raise RuntimeError(f"the same file changed something: {again}")
    variants = shown["variants"]
    about = f"{variants:,} variants of {products:,} products, a file of {len(file) / (1 << 20):.1f} MiB"
    return [
        Row(
            name="import of products",
            value=variants / seconds,
            unit="variants/s",
            goal=GOAL,
            conditions=f"{about}, until the import is done, log level {log_level}; CPU and WAL until the list "
            f"shows it; the same file again: {variants / unchanged:,.0f} variants/s; {HOW}, of new products",
            operation=Figures(
                cpu_python_ms=used.python * 1000,
                cpu_postgres_ms=used.postgres * 1000,
                statements=statements,
                wal_bytes=used.wal,
            ),
        ),
        Row(
            name="import of products, memory",
            value=peak.most,
            unit="MiB",
            baseline=rest,
            ratio=rest / peak.most,
            goal="bounded",
            conditions=f"{about}: the most that the process had until the list showed all of it, against what it had "
            "before; the entities and public forms that it keeps are in it, up to 128 MiB (memory_bytes) and 32 MiB",
        ),
    ]


async def _statements(shop: Shop, numbers: range) -> float:
    """SQL statements of one variant, until the list shows it."""
    async with counted(shop.dsn, shop.log) as found:
        shown, _ = await import_file(shop.port, product_file(numbers, COLOURS))
        await listed(shop.port, numbers.stop)
    return found.count / int(shown["variants"])
