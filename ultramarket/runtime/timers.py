"""Wakes entities when their durable timer is due."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from ultramarket.ports.journal import Journal
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime.clock import Clock, wait_within
from ultramarket.runtime.failpoints import failpoint

log = structlog.get_logger()

HORIZON = 60.0
"""Seconds ahead that timers are kept in memory; they are read anew after half of it."""


class Timers:
    """The timers of our partitions that are due soon; those in the far future stay in the database.

    Args:
        clock: the store's time.
        wake: wakes an entity (kind, id), told how often that moved nothing on.
    """

    def __init__(self, clock: Clock, wake: Callable[[str, str, int], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._heap: list[tuple[datetime, str, str]] = []
        self._retrying: set[tuple[str, str]] = set()
        self._until: datetime | None = None
        self._changed = asyncio.Event()
        self._stale = asyncio.Event()

    def set(self, kind: str, id: str, due_at: datetime) -> None:
        """An entity's timer was committed; an earlier entry wakes it too, which does no harm."""
        if self._until is not None and due_at <= self._until:
            first = not self._heap or due_at < self._heap[0][0]
            heapq.heappush(self._heap, (due_at, kind, id))
            if first:
                self._changed.set()

    def retry(self, delivery: Delivery) -> None:
        """A wake-up left its time in the past: another one comes later, one at a time for an entity."""
        entity = (delivery.kind, delivery.id)
        if entity in self._retrying:  # reading the timers anew woke it meanwhile
            return
        log.warning("a wake-up did not move the entity on", kind=delivery.kind, id=delivery.id)
        self._retrying.add(entity)
        delay = min(60.0, 0.5 * 2.0 ** min(delivery.attempts, 10))
        asyncio.get_running_loop().call_later(delay, self._again, delivery.kind, delivery.id, delivery.attempts + 1)

    def _again(self, kind: str, id: str, attempts: int) -> None:
        self._retrying.discard((kind, id))
        self._wake(kind, id, attempts)

    async def load(self, journal: Journal, lanes: list[tuple[str, int]]) -> None:
        """Read what is due within the horizon."""
        until = self._clock.now() + timedelta(seconds=HORIZON)
        self._until = until
        known = {(kind, id_): due for due, kind, id_ in self._heap}
        for kind, id_, due_at in await journal.due_timers(lanes, until):
            if known.get((kind, id_)) != due_at:
                heapq.heappush(self._heap, (due_at, kind, id_))
        self._changed.set()

    def request(self) -> None:
        """Read the timers anew soon: wake-ups may have been lost."""
        self._stale.set()

    async def follow(self, journal: Journal, lanes: Callable[[], list[tuple[str, int]]]) -> None:
        """Read what is due when asked, and before the horizon is reached, until cancelled."""
        while True:
            await wait_within(self._stale, HORIZON / 2)
            self._stale.clear()
            await self.load(journal, lanes())

    async def run(self) -> None:
        """Wake what is due, until cancelled."""
        while True:
            now = self._clock.now()
            while self._heap and self._heap[0][0] <= now:
                _, kind, id_ = heapq.heappop(self._heap)
                failpoint("timer.before")
                self._wake(kind, id_, 0)
                failpoint("timer.after")
            pause = (self._heap[0][0] - now).total_seconds() if self._heap else HORIZON
            self._changed.clear()
            await wait_within(self._changed, max(pause, 0.001))
