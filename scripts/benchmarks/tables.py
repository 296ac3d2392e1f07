"""The tables of a run, for people."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from scripts.benchmarks.rows import Figures, Row

_CHANGES = ("value", "ratio", "p99", "cpu_python_ms", "cpu_postgres_ms", "statements", "wal_bytes")


def show(rows: Sequence[Row], console: Console) -> None:
    """A table of the figures, one of what an operation took, and below them how each was measured."""
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
    _show_operations(rows, console)
    for row in rows:
        console.print(f"[bold]{row.name}[/]: {row.conditions}", highlight=False, soft_wrap=True)


def _show_operations(rows: Sequence[Row], console: Console) -> None:
    table = Table(title="One operation: milliseconds to the answer; CPU in milliseconds; SQL statements; bytes of WAL")
    table.add_column("what")
    for column in ("p50", "p99", "p99.9", "Python", "PostgreSQL", "client", "SQL", "WAL"):
        table.add_column(column, justify="right")
    for row in rows:
        if row.operation is not None:
            table.add_row(row.name, *_cells(row.operation))
        if row.plain is not None:
            table.add_row("  baseline", *_cells(row.plain), style="dim")
    if table.row_count:
        console.print(table)


def _cells(took: Figures) -> list[str]:
    times = (took.p50, took.p99, took.p999)
    cpu = (took.cpu_python_ms, took.cpu_postgres_ms, took.cpu_client_ms)
    return [
        *("" if value is None else _figure(value) for value in times),
        *("" if value is None else f"{value:.3f}" for value in cpu),
        "" if took.statements is None else f"{took.statements:.2f}",
        "" if took.wal_bytes is None else f"{took.wal_bytes:,.0f}",
    ]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"  # noqa: PLR2004 - three digits


def rows_of(file: Path) -> dict[str, Mapping[str, Any]]:
    """The rows of an earlier run, by name.

    Raises:
        typer.BadParameter: the file was not written by `--json`.
    """
    try:
        return {row["name"]: row for row in msgspec.json.decode(file.read_bytes())["rows"]}
    except (OSError, msgspec.DecodeError, KeyError, TypeError) as error:
        raise typer.BadParameter(f"{file} is no file of rows: {error}.") from None


def show_changes(rows: Sequence[Row], before: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """How each figure moved since an earlier run; the ratios are what another day's noise spares."""
    table = Table(title="Changes since the earlier run")
    table.add_column("what")
    for column in _CHANGES:
        table.add_column(column, justify="right")
    for row in rows:
        old, now = before.get(row.name), row.fields()
        if old is not None:
            table.add_row(row.name, *(_change(old.get(name), now.get(name)) for name in _CHANGES))
    console.print(table)


def _change(old: float | None, now: float | None) -> str:
    return f"{now / old - 1:+.0%}" if old and now is not None else ""
