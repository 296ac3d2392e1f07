"""The values of a statement in the making."""

from typing import Any


class Parameters:
    """The values of a statement in the making."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def add(self, value: object) -> str:
        """A new parameter, e.g. `$3`."""
        self.values.append(value)
        return f"${len(self.values)}"
