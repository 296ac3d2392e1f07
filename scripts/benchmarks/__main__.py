"""Runs the benchmarks and prints their table."""

import asyncio
import signal
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import msgspec
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from scripts.benchmarks import add_to_cart, checkout, hot_sku, start
from scripts.benchmarks.rows import QUICK, WHOLE, Row, Size
from scripts.benchmarks.shop import ROOT

Benchmark = Callable[[Path, Size, str], Awaitable[list[Row]]]

BENCHMARK_SECONDS = 120.0
"""What one benchmark may take; a platform that hangs is ended then."""
BENCHMARKS: dict[str, Benchmark] = {
    "add-to-cart": add_to_cart.run,
    "hot-sku": hot_sku.run,
    "checkout": checkout.run,
    "start": start.run,
}


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Some of: {', '.join(BENCHMARKS)}.")] = None,
    *,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file too.", metavar="FILE")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="See that it works, in seconds; no figures to keep.")] = False,
    log_level: Annotated[str, typer.Option(help="Log level of the measured platform.")] = "info",
) -> None:
    """Measure the platform on this machine. Leave it alone meanwhile: everything shares its cores, the client too."""
    unknown = set(names or ()) - BENCHMARKS.keys()
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there is {', '.join(BENCHMARKS)}.")
    signal.signal(signal.SIGTERM, _interrupt)
    rows = measure(names or list(BENCHMARKS), QUICK if quick else WHOLE, log_level)
    show(rows, Console())
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode({"rows": [asdict(row) for row in rows]})) + b"\n")


def measure(names: Sequence[str], size: Size, log_level: str) -> list[Row]:
    """Run these benchmarks one after the other, each in a directory that is gone afterwards."""
    rows: list[Row] = []
    place = ROOT / "var"  # not /tmp, which may be memory, where a durable write costs nothing
    place.mkdir(exist_ok=True)
    for name in names:
        Console(stderr=True).print(f"{name} ...")
        with tempfile.TemporaryDirectory(prefix="bench-", dir=place) as directory:
            rows += uvloop.run(_run(BENCHMARKS[name], Path(directory), size, log_level))
    return rows


async def _run(benchmark: Benchmark, directory: Path, size: Size, log_level: str) -> list[Row]:
    async with asyncio.timeout(BENCHMARK_SECONDS):
        return await benchmark(directory, size, log_level)


def show(rows: Sequence[Row], console: Console) -> None:
    """A table of the figures, and below it how each was measured."""
    table = Table()
    table.add_column("what")
    for column in ("value", "baseline", "ratio"):
        table.add_column(column, justify="right")
    table.add_column("goal")
    for row in rows:
        table.add_row(
            row.name,
            f"{_figure(row.value)} {row.unit}",
            "" if row.baseline is None else _figure(row.baseline),
            "" if row.ratio is None else f"{row.ratio:.2f}",
            row.goal,
        )
    console.print(table)
    for row in rows:
        console.print(f"[bold]{row.name}[/]: {row.conditions}", highlight=False, soft_wrap=True)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"  # noqa: PLR2004 - three digits


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt  # so that what was started is ended


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
