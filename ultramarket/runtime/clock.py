"""The store's time, carried on between commits by the monotonic clock: a wrong system clock changes nothing."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - for arithmetic


STEP_BACK = timedelta(seconds=10)
"""A correction back by less than this is waited out, so that time stands still rather than runs back."""
SLOW_SECONDS = 0.5
ASKED_AT_MOST = 3
"""A store that takes longer to tell its time is asked again, but not for ever: it may just be slow."""


class Clock:
    """Time as the database has it, corrected at every commit.

    It runs back only where the store's own clock was set back by `STEP_BACK` or more: a time that was wrong once must
    not last as long as the process.

    Args:
        seconds: seconds of a clock that only runs forward.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        """Seconds of the monotonic clock, for durations."""
        self._base = _EPOCH
        self._at = seconds()
        self._latest = _EPOCH

    def set(self, now: datetime, asked: float | None = None) -> None:
        """The store said its time, having been asked at this second of our clock; just now where none is given.

        An answer that was long under way, or lay unread while the process stood still, is old: what we had is kept
        where it lies between the answer and the answer plus the time that it took.
        """
        at = self.seconds()
        ours = self._base + timedelta(seconds=at - self._at)
        took = timedelta(seconds=0.0 if asked is None else at - asked)
        self._base = min(max(ours, now), now + took)
        self._at = at

    async def ask(self, store: Callable[[], Awaitable[datetime]]) -> None:
        """Ask the store for its time, and again where the answer took so long that it may be old.

        Raises:
            Exception: what the store raises.
        """
        for _ in range(ASKED_AT_MOST):
            asked = self.seconds()
            self.set(await store(), asked)
            if self.seconds() - asked < SLOW_SECONDS:
                return

    def now(self) -> datetime:
        """The present time, in UTC."""
        now = self._base + timedelta(seconds=self.seconds() - self._at)
        if now < self._latest < now + STEP_BACK:
            return self._latest
        self._latest = now
        return now

    def timestamp(self) -> float:
        """The present time as POSIX seconds, for deadlines."""
        return self._base.timestamp() + (self.seconds() - self._at)


async def wait_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait until the event is set, at most so long; tells whether it is.

    `asyncio.wait_for` of Python 3.11 loses a cancellation that comes together with the event, so that a stop hangs.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
