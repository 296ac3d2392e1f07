"""Runs the benchmarks and prints their table."""

import asyncio
import signal
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Annotated, NoReturn

import msgspec
import typer
import uvloop
from rich.console import Console

from scripts.benchmarks import (
    add_to_cart,
    checkout,
    entities,
    hot_sku,
    importing,
    live,
    mixed,
    orders,
    products,
    rebuild,
    replicas,
    search,
    start,
)
from scripts.benchmarks.rows import QUICK, WHOLE, Row, Size
from scripts.benchmarks.shop import ROOT
from scripts.benchmarks.tables import rows_of, show, show_changes

Benchmark = Callable[[Path, Size, str], Awaitable[list[Row]]]

BENCHMARK_SECONDS = 300.0
"""What one benchmark may take; a platform that hangs is ended then."""
LONG_SECONDS = {"entities": 600.0, "orders": 900.0, "rebuild": 900.0, "replicas": 900.0}
"""Those that first make a large shop, or several: 2 minutes on a quiet machine, several times that on a busy one."""
BENCHMARKS: dict[str, Benchmark] = {
    "add-to-cart": add_to_cart.run,
    "hot-sku": hot_sku.run,
    "checkout": checkout.run,
    "products": products.run,
    "mixed": mixed.run,
    "entities": entities.run,
    "orders": orders.run,
    "search": search.run,
    "rebuild": rebuild.run,
    "import": importing.run,
    "live": live.run,
    "start": start.run,
    "replicas": replicas.run,
}
_WIDTH = 130
"""Columns of the tables where no terminal says how many there are."""


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Some of: {', '.join(BENCHMARKS)}.")] = None,
    *,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file too.", metavar="FILE")] = None,
    compare: Annotated[
        Path | None, typer.Option(help="Show what changed since this file was written by --json.", metavar="FILE")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="See that it works, in seconds; no figures to keep.")] = False,
    log_level: Annotated[str, typer.Option(help="Log level of the measured platform.")] = "info",
) -> None:
    """Measure the platform on this machine. Leave it alone meanwhile: everything shares its cores, the client too."""
    unknown = set(names or ()) - BENCHMARKS.keys()
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there is {', '.join(BENCHMARKS)}.")
    signal.signal(signal.SIGTERM, _interrupt)
    before = None if compare is None else rows_of(compare)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    rows: list[Row] = []
    try:
        for name in names or BENCHMARKS:
            rows += measure(name, QUICK if quick else WHOLE, log_level)
    finally:  # one that fails takes nothing from those before it
        show(rows, console)
        if quick:
            console.print("Quick: that it works was seen; the figures are of too few operations to mean anything.")
        if before is not None:
            show_changes(rows, before, console)
        if json is not None:
            json.write_bytes(msgspec.json.format(msgspec.json.encode({"rows": [row.fields() for row in rows]})) + b"\n")


def measure(name: str, size: Size, log_level: str) -> list[Row]:
    """Run a benchmark in a directory that is gone afterwards."""
    console = Console(stderr=True)
    place = ROOT / "var"  # not /tmp, which may be memory, where a durable write costs nothing
    place.mkdir(exist_ok=True)
    console.print(f"{name} ...")
    began = perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=place) as directory:
        rows = uvloop.run(_run(name, Path(directory), size, log_level))
    console.print(f"{name} took {perf_counter() - began:.0f} s")
    return rows


async def _run(name: str, directory: Path, size: Size, log_level: str) -> list[Row]:
    async with asyncio.timeout(LONG_SECONDS.get(name, BENCHMARK_SECONDS)):
        return await BENCHMARKS[name](directory, size, log_level)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt  # so that what was started is ended


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
