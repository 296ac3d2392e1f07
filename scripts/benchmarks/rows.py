"""What a benchmark gives: rows of figures, each with what it was measured against and under which conditions."""

from dataclasses import dataclass


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
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    goal: str = ""
    conditions: str = ""


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
