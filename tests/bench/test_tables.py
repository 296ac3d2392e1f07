import io
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import typer
from rich.console import Console

from scripts.benchmarks.rows import Figures, Row
from scripts.benchmarks.tables import rows_of, show, show_changes

TOOK = Figures(p50=1.0, p99=2.0, p999=3.0, cpu_python_ms=0.5, cpu_postgres_ms=0.25, statements=1.5, wal_bytes=1234.0)
ROW = Row(
    name="add",
    value=1500.0,
    unit="requests/s",
    baseline=500.0,
    ratio=3.0,
    conditions="quiet",
    operation=TOOK,
    plain=TOOK,
)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_tables_show_the_figures_and_what_an_operation_took() -> None:
    console = Console(file=io.StringIO(), width=140)
    show([ROW, Row(name="start", value=1.5, unit="s")], console)
    words = text(console).split()
    assert {"1,500", "requests/s", "500", "3.00", "1,234", "0.250", "start", "1.50"} <= set(words)
    assert words.count("1,234") == 2  # the baseline's too
    assert "add: quiet" in text(console)


def test_a_run_is_compared_with_the_file_of_an_earlier_one(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_bytes(msgspec.json.encode({"rows": [ROW.fields()]}))
    console = Console(file=io.StringIO(), width=140)
    now = replace(ROW, value=3000.0, operation=replace(TOOK, p99=1.0, cpu_python_ms=0.25))
    show_changes([now, Row(name="new", value=1.0, unit="s")], rows_of(file), console)
    assert "+100%" in text(console)
    assert text(console).count("-50%") == 2
    assert "new" not in text(console)


@pytest.mark.parametrize("content", ["", "{}", '{"rows": 1}', '{"rows": [{}]}'])
def test_a_file_that_is_none_of_rows_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "rows.json"
    file.write_text(content)
    with pytest.raises(typer.BadParameter, match="no file of rows"):
        rows_of(file)
