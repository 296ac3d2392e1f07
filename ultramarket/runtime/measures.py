"""What a committer counts, for metrics."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class Measures:
    """What a committer has done since it started."""

    commits: int = 0
    loads: int = 0
    turns: int = 0
    commands: int = 0
    events: int = 0
    splits: int = 0
    commit_seconds: float = 0.0

    @classmethod
    def total(cls, parts: Iterable["Measures"]) -> "Measures":
        """All of them added up."""
        rows = [[getattr(part, name) for name in cls.__slots__] for part in parts]
        return cls(*(sum(column) for column in zip(*rows, strict=True)))
