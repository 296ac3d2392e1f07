"""Makes faults on purpose and prints what held; exits with 1 where something did not."""

import asyncio
import signal
import tempfile
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
import uvloop
from rich.console import Console

from scripts.benchmarks.shop import ROOT
from scripts.faultlab.faults import FAULTS, Fault
from scripts.faultlab.findings import QUICK, WHOLE, Finding, Size, show

FAULT_SECONDS = 900.0
"""What one fault may take; a shop that hangs is ended then."""


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Some of: {', '.join(FAULTS)}.")] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Short faults; ratios are not to be trusted.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Say which faults there are, and do nothing.")] = False,
) -> None:
    """Make faults happen to real processes under load, and say what held. Leave the machine alone meanwhile."""
    if listing:
        for name, (meaning, _) in FAULTS.items():
            print(f"{name:21}{meaning}")
        return
    unknown = set(names or ()) - FAULTS.keys()
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there is {', '.join(FAULTS)}.")
    signal.signal(signal.SIGTERM, _interrupt)
    held = [make(name, QUICK if quick else WHOLE) for name in names or FAULTS]
    if not all(held):
        raise typer.Exit(1)


def make(name: str, size: Size) -> bool:
    """Make a fault, in a directory that is gone afterwards, and show what was found; gives whether all of it held."""
    place = ROOT / "var"  # not /tmp, which may be memory, where a durable write costs nothing
    place.mkdir(exist_ok=True)
    Console(stderr=True).print(f"{name} ...")
    with tempfile.TemporaryDirectory(prefix="fault-", dir=place) as directory:
        try:
            findings = uvloop.run(_run(FAULTS[name][1], Path(directory), size))
        except Exception:  # noqa: BLE001 - the others are made all the same
            Console(stderr=True).print_exception()
            findings = [Finding(fault=name, must="it comes to its end", measured="see the error above", held=False)]
    show(findings, Console())
    return all(finding.held is not False for finding in findings)


async def _run(fault: Fault, directory: Path, size: Size) -> list[Finding]:
    async with asyncio.timeout(FAULT_SECONDS):
        return await fault(directory, size)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt  # so that what was started is ended


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
