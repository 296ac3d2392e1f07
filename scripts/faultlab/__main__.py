"""Makes faults on purpose and prints what held; exits with 1 where something did not."""

import asyncio
import signal
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
import uvloop
from rich.console import Console

from scripts.benchmarks.shop import ROOT
from scripts.faultlab import (
    frozen,
    full_disk,
    killed_inside,
    overload,
    replica_killed,
    rolling,
    slow_database,
    stuck_gateway,
)
from scripts.faultlab.findings import QUICK, WHOLE, Finding, Size, show

Fault = Callable[[Path, Size], Awaitable[list[Finding]]]

FAULT_SECONDS = 900.0
"""What one fault may take; a shop that hangs is ended then."""
FAULTS: dict[str, tuple[str, Fault]] = {
    "overload": ("five times as many visitors as can be served", overload.run),
    "slow-database": ("a proxy delays the database's answers, then lets none through", slow_database.run),
    "full-disk": ("the database's disk fills up, then gets room again", full_disk.run),
    "stuck-gateway": ("calls to the payment gateway hang", stuck_gateway.run),
    "replica-killed": ("one of three replicas is killed again and again", replica_killed.run),
    "replica-dies-inside": ("a replica dies at each failpoint beside a neighbour", killed_inside.run),
    "replica-frozen": ("a replica stands still and wakes up again", frozen.run),
    "rolling": ("replicas come and go in good order", rolling.run),
}


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Some of: {', '.join(FAULTS)}.")] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Short faults; ratios are not to be trusted.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Say which faults there are, and do nothing.")] = False,
) -> None:
    """Make faults happen to real processes under load, and say what held. Leave the machine alone meanwhile."""
    if listing:
        for name, (meaning, _) in FAULTS.items():
            print(f"{name:15}{meaning}")
        return
    unknown = set(names or ()) - FAULTS.keys()
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there is {', '.join(FAULTS)}.")
    signal.signal(signal.SIGTERM, _interrupt)
    findings = make(names or list(FAULTS), QUICK if quick else WHOLE)
    show(findings, Console())
    if any(finding.held is False for finding in findings):
        raise typer.Exit(1)


def make(names: Sequence[str], size: Size) -> list[Finding]:
    """Make these faults one after the other, each in a directory that is gone afterwards."""
    findings: list[Finding] = []
    place = ROOT / "var"  # not /tmp, which may be memory, where a durable write costs nothing
    place.mkdir(exist_ok=True)
    for name in names:
        Console(stderr=True).print(f"{name} ...")
        with tempfile.TemporaryDirectory(prefix="fault-", dir=place) as directory:
            findings += uvloop.run(_run(FAULTS[name][1], Path(directory), size))
    return findings


async def _run(fault: Fault, directory: Path, size: Size) -> list[Finding]:
    async with asyncio.timeout(FAULT_SECONDS):
        return await fault(directory, size)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt  # so that what was started is ended


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
