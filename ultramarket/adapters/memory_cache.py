"""The cache in this process's own memory."""

import time
from collections import OrderedDict
from collections.abc import Callable

CACHE_BYTES = 32 << 20
"""Bytes of values that are kept."""
BESIDE = 300
"""Bytes that an entry takes besides its value and key, about."""


class MemoryCache:
    """Bytes by key within a bound; the least recently used leave first, whether their time is over or not.

    Args:
        limit: bytes of keys and values together.
        clock: seconds, never going back.
    """

    def __init__(self, limit: int = CACHE_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._bytes = 0
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    @property
    def state(self) -> str:
        """It is there as long as the process is."""
        return "ok"

    async def get(self, key: str) -> bytes | None:
        """The value; None where it is not there or too old."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        until, value = entry
        if until <= self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return value

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        """Keep the value for so many seconds at most; one larger than the bound is left out."""
        self._drop(key)
        size = _size(key, value)
        if seconds <= 0 or size > self._limit:
            return
        self._entries[key] = (self._clock() + seconds, value)
        self._bytes += size
        while self._bytes > self._limit:
            self._drop(next(iter(self._entries)))

    async def delete(self, *keys: str) -> None:
        """Forget these."""
        for key in keys:
            self._drop(key)

    async def close(self) -> None:
        """Forget all."""
        self._entries.clear()
        self._bytes = 0

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(key, entry[1])


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + BESIDE
