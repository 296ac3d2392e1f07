"""Many short waits with one timer: a timer of the event loop for each would cost a request a twentieth of its time."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")

TICK = 0.1
"""Seconds between looks: what is too late is noticed at most so much later."""


class Deadlines(Generic[Item]):
    """Items that must be taken back within their time; what is late is told.

    Args:
        late: called with each item whose time is over; it is forgotten then.

    Attributes:
        ticking: whether anything may be late one day, so that the timer runs.
    """

    def __init__(self, late: Callable[[Item], None]) -> None:
        self._late = late
        # By their seconds: those of one time limit run out in the order in which they came.
        self._waiting: dict[float, dict[Item, float]] = {}
        self.ticking = False

    def add(self, item: Item, seconds: float) -> None:
        """Wait for this item (hashable, once at a time) for so many seconds."""
        loop = asyncio.get_running_loop()
        lane = self._waiting.get(seconds)
        if lane is None:
            lane = self._waiting[seconds] = {}
        lane[item] = loop.time() + seconds
        if not self.ticking:
            self.ticking = True
            loop.call_later(TICK, self._tick)

    def remove(self, item: Item, seconds: float) -> None:
        """The item is there in time, or given up; harmless when it was late."""
        lane = self._waiting.get(seconds)
        if lane is not None:
            lane.pop(item, None)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for lane in list(self._waiting.values()):
            late = []
            for item, at in lane.items():
                if at > now:
                    break
                late.append(item)
            for item in late:
                del lane[item]
                self._late(item)
        self._waiting = {seconds: lane for seconds, lane in self._waiting.items() if lane}
        self.ticking = bool(self._waiting)
        if self.ticking:
            loop.call_later(TICK, self._tick)
