"""What a fault shows: rows that say what was done, what must hold, what was measured, and whether it held."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that must hold.

    Attributes:
        fault: what was done to the shop.
        must: what must hold, in words.
        measured: what was seen.
        held: whether it held; None: it is not judged, or could not be tried, and then `measured` says why.
    """

    fault: str
    must: str
    measured: str
    held: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How long the faults last.

    Attributes:
        overload: seconds of each phase of the overload: at capacity, five times that, and afterwards.
        stall: seconds for which the database says nothing.
        full: seconds for which the disk stays full.
        hang: seconds for which buyers choose a gateway that hangs.
        gateway: seconds after which the shop gives up a call to the gateway.
        kills: how often a replica is killed.
        away: seconds for which a server, or the way to it, is away.
        frozen: seconds for which a process stands still.
        offered: messages that are offered to a slow consumer.
        poison: messages that nobody can read.
        judged: whether times count; short runs only show them.
    """

    overload: float
    stall: float
    full: float
    hang: float
    gateway: float
    kills: int
    away: float
    frozen: float
    offered: int
    poison: int
    judged: bool = False


WHOLE = Size(
    overload=60,
    stall=20,
    full=20,
    hang=60,
    gateway=30,
    kills=20,
    away=30,
    frozen=60,
    offered=100_000,
    poison=100,
    judged=True,
)
QUICK = Size(overload=10, stall=6, full=4, hang=8, gateway=4, kills=2, away=4, frozen=5, offered=5_000, poison=10)


def show(findings: Sequence[Finding], console: Console) -> None:
    """A table of the findings."""
    table = Table(show_lines=True)
    for column in ("what was done", "what must hold", "measured", "held"):
        table.add_column(column)
    words = {True: "[green]yes[/]", False: "[bold red]NO[/]", None: "[yellow]not judged[/]"}
    for finding in findings:
        table.add_row(finding.fault, finding.must, finding.measured, words[finding.held])
    console.print(table)
