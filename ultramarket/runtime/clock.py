"""The store's time, carried on between commits by the monotonic clock: a wrong system clock changes nothing."""

import asyncio
import time
from datetime import datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - for arithmetic


STEP_BACK = timedelta(seconds=10)
"""A correction back by less than this is waited out, so that time stands still rather than runs back."""


class Clock:
    """Time as the database has it, corrected at every commit.

    It runs back only where the store's own clock was set back by `STEP_BACK` or more: a time that was wrong once must
    not last as long as the process.
    """

    def __init__(self) -> None:
        self._base = _EPOCH
        self._at = time.monotonic()
        self._latest = _EPOCH

    def set(self, now: datetime) -> None:
        """The store said its time just now."""
        self._base = now
        self._at = time.monotonic()

    def now(self) -> datetime:
        """The present time, in UTC."""
        now = self._base + timedelta(seconds=time.monotonic() - self._at)
        if now < self._latest < now + STEP_BACK:
            return self._latest
        self._latest = now
        return now

    def seconds(self) -> float:
        """Seconds of the monotonic clock, for durations."""
        return time.monotonic()


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
