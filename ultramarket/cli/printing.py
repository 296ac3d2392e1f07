"""What the command line shows: results on standard output, everything else on standard error."""

import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from ultramarket.errors import ConfigurationError, UltraMarketError

FAILED = 1
USAGE = 2


class Sentences(TyperGroup):
    """Commands whose expected errors end as one sentence and an exit code: 2 for a setting, 1 for all else."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except UltraMarketError as error:
            if ctx.obj:  # --debug
                raise
            complain(str(error))
            raise typer.Exit(USAGE if isinstance(error, ConfigurationError) else FAILED) from None


def out() -> Console:
    """Standard output as it is now; made anew so that a redirection counts."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def err() -> Console:
    """Standard error as it is now."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """A line of the result, as it is."""
    out().print(Text(text))


def note(text: str) -> None:
    """A line beside the result, such as progress."""
    err().print(Text(text))


def complain(text: str) -> None:
    """An error: a sentence."""
    err().print(Text.assemble(("Error: ", "bold red"), text))


def say_json(value: Any) -> None:
    """A result for machines."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")
    sys.stdout.flush()


def say_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows under column names; a column of numbers stands to the right."""
    cells = [list(row) for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, column in enumerate(columns):
        numbers = bool(cells) and all(isinstance(row[at], int) for row in cells)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row))
    print_table(table)


def print_table(table: RenderableType) -> None:
    """A table, or a group with tables."""
    console = out()
    if not console.is_terminal:
        console.width = 10_000  # a pipe has no width to fold lines at
    console.print(table, soft_wrap=False)


def age(seconds: float) -> str:
    """A length of time for people, e.g. `2 min` or `3 d`."""
    span = timedelta(seconds=max(seconds, 0.0))
    for unit, length in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1))):
        if span >= length:
            return f"{span // length} {unit}"
    return f"{span.total_seconds():.0f} s"
