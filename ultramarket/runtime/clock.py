"""The store's time, carried on between commits by the monotonic clock: a wrong system clock changes nothing."""

import time
from datetime import datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - for arithmetic


class Clock:
    """Time as the database has it; it never runs backwards within a process."""

    def __init__(self) -> None:
        self._base = _EPOCH
        self._at = time.monotonic()

    def set(self, now: datetime) -> None:
        """The store said its time just now."""
        if now >= self.now():
            self._base = now
            self._at = time.monotonic()

    def now(self) -> datetime:
        """The present time, in UTC."""
        return self._base + timedelta(seconds=time.monotonic() - self._at)

    def seconds(self) -> float:
        """Seconds of the monotonic clock, for durations."""
        return time.monotonic()
