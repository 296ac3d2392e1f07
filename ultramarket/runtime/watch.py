"""Tells who watches an entity that it changed."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager


class Watchers:
    """Watchers by (kind, id). Each has one slot: the newest version wins over one not yet read."""

    def __init__(self) -> None:
        self._slots: dict[tuple[str, str], set[asyncio.Queue[int]]] = {}

    def __bool__(self) -> bool:
        """Whether anybody watches anything."""
        return bool(self._slots)

    def changed(self, kind: str, id: str, version: int) -> None:
        """The entity has this version now."""
        for slot in self._slots.get((kind, id), ()):
            if slot.full():
                slot.get_nowait()
            slot.put_nowait(version)

    @contextmanager
    def watch(self, kind: str, id: str) -> Iterator[AsyncIterator[int]]:
        """Versions from now on."""
        slot: asyncio.Queue[int] = asyncio.Queue(1)
        slots = self._slots.setdefault((kind, id), set())
        slots.add(slot)
        try:
            yield _versions(slot)
        finally:
            slots.discard(slot)
            if not slots:
                self._slots.pop((kind, id), None)


async def _versions(slot: "asyncio.Queue[int]") -> AsyncIterator[int]:
    while True:
        yield await slot.get()
