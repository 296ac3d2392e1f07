"""Follows the ends of those partitions of the log that somebody here listens to; one select tells all listeners.

It reads committed events alone, so it makes no difference which process wrote them, and nothing is lost with a message.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import structlog

from ultramarket.errors import Unavailable
from ultramarket.ports.feed import Feed, Logged, Place

Sink = Callable[[Logged], None]
"""Told of an event at once, in the order of its partition; it must not wait. What it raises is logged."""

POLL_SECONDS = 0.08
"""How often the log is looked at where another process owns a partition that is listened to."""
CALM_POLL_SECONDS = 1.0
"""The same where all commits are this process's own, which wake the tailer: only for what a wake-up might miss."""
TURN_SECONDS = 0.03
"""From the start of one turn to the next, at least: what is committed meanwhile shares a select."""
BATCH = 500
"""Events of one partition in one turn, at most."""
FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 5.0

log = structlog.get_logger()


@dataclass(slots=True)
class _Listened:
    """Who listens to a partition: to one entity of it, or (None) to all of it."""

    by_id: dict[str | None, list[Sink]] = field(default_factory=dict)
    position: int | None = None
    """The seq of the last event told; None until it is known where to begin."""


@dataclass(slots=True)
class Measures:
    """What the tailer has done since the start.

    Attributes:
        turns: selects of news.
        events: events read.
    """

    turns: int = 0
    events: int = 0


class Tailer:
    """Tells sinks of events as they are committed, by this process or another one.

    Args:
        feed: the log.
        owned: the partitions whose commits wake the tailer.
        poll_seconds: how often the log is looked at for the commits of others.

    Attributes:
        measures: what it has done.
    """

    def __init__(self, feed: Feed, owned: Callable[[], Collection[Place]], poll_seconds: float = POLL_SECONDS) -> None:
        self._feed = feed
        self._owned = owned
        self._poll_seconds = poll_seconds
        self._listened: dict[Place, _Listened] = {}
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.measures = Measures()

    async def start(self) -> None:
        """Begin to follow, whether the database is there or not."""
        self._task = asyncio.create_task(self._run(), name="tailer")

    async def stop(self) -> None:
        """Follow no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def wake(self) -> None:
        """Something was committed here."""
        if self._listened:
            self._woken.set()

    async def listen(self, places: Sequence[Place], id: str | None, sink: Sink) -> dict[Place, int]:
        """Tell the sink of every event of an entity (None: of any) of these partitions after the places returned.

        What is committed up to there is seen by every read that begins now. The sink may be told of an event before
        this returns.

        Raises:
            Unavailable: the log can't be reached; nothing is listened to then.
        """
        for place in places:
            self._listened.setdefault(place, _Listened()).by_id.setdefault(id, []).append(sink)
        if unknown := [place for place in places if self._listened[place].position is None]:
            try:
                tails = await self._feed.tails(unknown)
            except BaseException:
                self.leave(places, id, sink)
                raise
            for place in unknown:
                if self._listened[place].position is None:  # else another one asked earlier, and it moved on since
                    self._listened[place].position = tails[place]
            self._woken.set()  # it may rest without an end, because nobody listened
        return {place: self._position(place) for place in places}

    def leave(self, places: Sequence[Place], id: str | None, sink: Sink) -> None:
        """Tell the sink no more of what `listen` with the same arguments asked for."""
        for place in places:
            listened = self._listened[place]
            listened.by_id[id].remove(sink)
            if not listened.by_id[id]:
                del listened.by_id[id]
            if not listened.by_id:
                del self._listened[place]

    def _position(self, place: Place) -> int:
        position = self._listened[place].position
        assert position is not None  # noqa: S101 - `listen` has just seen to it
        return position

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            self._woken.clear()
            try:
                more = await self._turn()
                failures = 0
            except Exception as error:  # noqa: BLE001 - whatever it is, it is logged, and nothing was told in vain
                failures += 1
                await _back_off(error, failures)
                continue
            if not more:
                await self._rest()
            await asyncio.sleep(max(0.0, began + TURN_SECONDS - loop.time()))

    async def _turn(self) -> bool:
        """Read and tell the news; True where there may be more at once."""
        positions = {
            place: listened.position for place, listened in self._listened.items() if listened.position is not None
        }
        if not positions:
            return False
        events = await self._feed.after(positions, BATCH)
        self.measures.turns += 1
        self.measures.events += len(events)
        for event in events:
            self._tell(event)
        return len(events) >= BATCH

    def _tell(self, event: Logged) -> None:
        listened = self._listened.get((event.kind, event.no))
        if listened is None or listened.position is None or event.seq <= listened.position:
            return  # everybody left, or left and came back, while it was read
        listened.position = event.seq
        for id in (event.id, None):
            for sink in tuple(listened.by_id.get(id, ())):
                try:
                    sink(event)
                except Exception:
                    log.exception("an event could not be told", kind=event.kind, no=event.no, seq=event.seq)

    async def _rest(self) -> None:
        """Until there may be news."""
        seconds: float | None = None
        if self._listened:
            alone = self._listened.keys() <= set(self._owned())
            seconds = CALM_POLL_SECONDS if alone else self._poll_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return


async def _back_off(error: Exception, failures: int) -> None:
    delay = min(FIRST_RETRY_SECONDS * 2 ** (failures - 1), LAST_RETRY_SECONDS)
    delay *= random.uniform(0.5, 1.0)  # noqa: S311 - jitter, so that replicas don't come back at the same moment
    trace = None if isinstance(error, Unavailable) else error
    log.warning("the log can't be followed", error=str(error), again_in=delay, exc_info=trace)
    await asyncio.sleep(delay)
