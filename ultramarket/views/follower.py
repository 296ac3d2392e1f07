"""One view following the log: when it takes a turn, who waits for it, and what it does when a turn fails."""

import asyncio
import hashlib
import random

import structlog

from ultramarket.errors import Unavailable
from ultramarket.ports.database import Database
from ultramarket.views.projection import FAR, OvertakenError, Place, Projection, View

POLL_SECONDS = 1.0
STANDBY_POLL_SECONDS = 0.05
"""While another process projects and somebody here waits for it, its progress is looked up this often."""
GATHER_SECONDS = 0.05
"""Commits that follow each other this closely go into one turn, unless somebody waits."""
FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 10.0

log = structlog.get_logger()


class Follower:
    """Keeps one view in step with the log; one process at a time does so, by an advisory lock for each turn."""

    def __init__(self, database: Database, view: View, *, batch: int, poll_seconds: float) -> None:
        self.view = view
        self._projection = Projection(database, view, batch=batch)
        self._poll_seconds = poll_seconds
        self._passed: dict[Place, int] = {}
        self._position: str | None = None
        self._progress = asyncio.Condition()
        self._woken = asyncio.Event()
        self._urgent = asyncio.Event()
        self._waiting = 0
        self._leads = True
        self._behind = 0
        self._oldest = 0.0

    async def run(self) -> None:
        """Follow until cancelled; a failure is logged and tried again after 0.2 to 10 s."""
        entered = False
        failures = 0
        while True:
            self._woken.clear()
            try:
                if not entered:
                    await self._projection.enter()
                    entered = True
                more = await self._look() and await self._turn()
                failures = 0
            except Exception as error:  # noqa: BLE001 - a view outlives whatever happens to it; all of it is logged
                failures += 1
                await self._back_off(error, failures)
                continue
            if not more:
                await self._rest()

    def wake(self) -> None:
        """There may be something new."""
        self._woken.set()

    async def wait(self, kind: str, no: int, seq: int, timeout: float) -> bool:
        """Wait until the view has passed this place of the log; False when it has not within the time (seconds)."""

        def passed() -> bool:
            return self._passed.get((kind, no), 0) >= seq

        if passed():
            return True
        self._waiting += 1
        self._urgent.set()
        self._woken.set()
        try:
            async with asyncio.timeout(timeout), self._progress:
                await self._progress.wait_for(passed)
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True

    def position(self) -> str | None:
        """A short text for the places of the log that the view has passed, the same in every process; None: unknown.

        The view's tables are there, or further, when it is known: what is read of them then is no older.
        """
        return self._position

    def lag(self) -> tuple[int, float]:
        """Events that wait for the view, and the age of the oldest of them in seconds, when last looked at."""
        if not self._behind:
            return 0, 0.0
        return self._behind, asyncio.get_running_loop().time() - self._oldest

    async def _look(self) -> bool:
        """See where the view stands; True when it is behind."""
        places, self._behind, seconds = await self._projection.look()
        self._oldest = asyncio.get_running_loop().time() - seconds
        await self._stand(places)
        return self._behind > 0

    async def _turn(self) -> bool:
        """Project the next events; False when there are none, or another process is at it."""
        self._leads, places = await self._projection.turn(far=self._behind > FAR)
        await self._stand(places)
        return bool(places)

    async def _stand(self, places: dict[Place, int]) -> None:
        """The view is at these places now; tell those who wait."""
        if any(self._passed.get(place) != seq for place, seq in places.items()):
            self._passed |= places
            ends = repr(sorted(self._passed.items())).encode()
            self._position = f"{self.view.name}@{hashlib.blake2b(ends, digest_size=12).hexdigest()}"
        async with self._progress:
            self._progress.notify_all()

    async def _rest(self) -> None:
        """Until something may be new; a while longer, for more to gather, when nobody waits."""
        if not self._waiting:
            self._urgent.clear()
        hurried = self._waiting and not self._leads
        await _event(self._woken, STANDBY_POLL_SECONDS if hurried else self._poll_seconds)
        if not self._waiting:
            await _event(self._urgent, GATHER_SECONDS)

    async def _back_off(self, error: Exception, failures: int) -> None:
        if isinstance(error, OvertakenError):
            return
        delay = min(FIRST_RETRY_SECONDS * 2 ** (failures - 1), LAST_RETRY_SECONDS)
        delay *= random.uniform(0.5, 1.0)  # noqa: S311 - jitter, so that replicas don't come back at the same moment
        trace = None if isinstance(error, Unavailable) else error
        log.warning("a view stands still", view=self.view.name, error=str(error), again_in=delay, exc_info=trace)
        await asyncio.sleep(delay)


async def _event(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, this long at most."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
