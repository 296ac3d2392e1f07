"""What a benchmark gives: rows of figures, each with what it was measured against and under which conditions."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one operation took, over all rounds; None where it was not or can't be measured.

    Attributes:
        p50: milliseconds within which half of the operations were answered.
        p99: milliseconds of 99 in a hundred.
        p999: milliseconds of 999 in a thousand.
        cpu_python_ms: CPU milliseconds of the process that serves.
        cpu_postgres_ms: CPU milliseconds of all processes of the database server.
        cpu_client_ms: CPU milliseconds of the process that asks; None where that is the one that serves.
        statements: SQL statements that the database server executed.
        wal_bytes: bytes of write-ahead log.
    """

    p50: float | None = None
    p99: float | None = None
    p999: float | None = None
    cpu_python_ms: float
    cpu_postgres_ms: float
    cpu_client_ms: float | None = None
    statements: float | None = None
    wal_bytes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure.

    Attributes:
        name: what was measured.
        value: the figure, in `unit`.
        baseline: the same figure of what it is compared with, None where there is nothing.
        ratio: how many times better than the baseline it is, as the median over rounds that took turns.
        goal: what the figure should be, in words; empty where it only explains another row.
        conditions: how it was measured, and what else was seen.
        operation: what one operation took, None where the figure is of no operations.
        plain: what one operation of the baseline took.
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    goal: str = ""
    conditions: str = ""
    operation: Figures | None = None
    plain: Figures | None = None

    def fields(self) -> dict[str, Any]:
        """The row as it is written to a file: the figures of an operation stand beside the others."""
        row = asdict(self)
        operation, plain = row.pop("operation"), row.pop("plain")
        baseline = {f"baseline_{name}": value for name, value in (plain or {}).items()}
        return {**row, **(operation or {}), **baseline}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured: whole runs for figures, quick ones to see that it works.

    Attributes:
        rounds: how often each side of a comparison has its turn.
        operations: operations of a round.
        entities: carts that exist before.
    """

    rounds: int
    operations: int
    entities: int

    def part(self, divisor: int, least: int = 16) -> int:
        """Operations of a round where one costs more than adding to a cart."""
        return max(least, self.operations // divisor)


WHOLE = Size(rounds=5, operations=4000, entities=2000)
QUICK = Size(rounds=1, operations=200, entities=20)
