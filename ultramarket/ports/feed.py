"""The log as it is read by those who tell clients what happened: after a place of a partition or a version."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

Place = tuple[str, int]
"""A partition: kind and number."""


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """A committed event; `data` is its JSON text as it is stored, which may hold what no client must see."""

    kind: str
    no: int
    seq: int
    id: str
    version: int
    type: str
    at: datetime
    data: str


class Feed(Protocol):
    """Reads committed events. What is committed once is seen by every later call, whichever process committed it.

    Raises:
        Unavailable: the log can't be reached.
    """

    async def tails(self, places: Sequence[Place]) -> dict[Place, int]:
        """The seq of each partition's last event; 0 where there is none."""
        ...

    async def after(self, positions: Mapping[Place, int], limit: int) -> list[Logged]:
        """The events after these places, at most `limit` of each partition, in order within it and without a gap.

        A gap before the first one of a partition means that its older events are not in the log any more.
        """
        ...

    async def history(self, kind: str, id: str, version: int, limit: int) -> list[Logged]:
        """The events of an entity after this version, the first `limit` of them in order."""
        ...
