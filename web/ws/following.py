"""Following the log from a place on: first what was missed is read from it, then each event is told as it is committed.

The two meet without a gap or a repeat, because a follower knows the number of the last event it was told: it listens
before it reads, and takes from what it hears only the very next one. Where it hears of a later one, it reads again.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import structlog

from ultramarket.errors import Unavailable
from ultramarket.ports.feed import Feed, Logged, Place
from ultramarket.views.tailer import Tailer
from web.ws.connection import PAGE_SECONDS, Connection
from web.ws.encoding import Encoding
from web.ws.frames import Error, framed

READS = 4
"""Followers that may read at once: a crowd that comes back must not take all connections to the database."""
AGAIN_SECONDS = 0.5
"""After this time a log that could not be read is read again."""

_log = structlog.get_logger("web.ws")


class Log:
    """What followers share: the log, its end, and the public form of its events."""

    def __init__(self, feed: Feed, tailer: Tailer, encoding: Encoding) -> None:
        self.feed = feed
        self.tailer = tailer
        self.encoding = encoding
        self.reads = asyncio.Semaphore(READS)
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run this beside, until `stop` at the latest."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("live updates failed", exc_info=error)

    async def stop(self) -> None:
        """End what still runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Follower(ABC):
    """One connection's subscription to events that are numbered without gaps: an entity's, or those of partitions.

    Args:
        log: what is followed.
        connection: who is told.
        topic: as the client named it.
        at: the number of the last event that the client knows, by key.
        newest: numbers of events that are known to exist.
    """

    __slots__ = ("_at", "_connection", "_live", "_log", "_newest", "_task", "_topic")

    def __init__(
        self, log: Log, connection: Connection, topic: str, at: Mapping[int, int], newest: Mapping[int, int]
    ) -> None:
        self._log = log
        self._connection = connection
        self._topic = topic
        self._at = dict(at)
        self._newest = dict(newest)
        self._live = False
        self._task: asyncio.Task[None] | None = None

    async def listen(self) -> None:
        """Begin to hear of what is committed.

        Raises:
            Unavailable: the log can't be reached.
        """
        await self._log.tailer.listen(self._places(), self._id(), self._take)

    def begin(self) -> None:
        """Tell what was missed, then what comes."""
        self._task = self._log.spawn(self._catch_up())

    def leave(self) -> None:
        """Tell no more."""
        self._log.tailer.leave(self._places(), self._id(), self._take)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    @abstractmethod
    def _places(self) -> Sequence[Place]:
        """The partitions in question."""

    @abstractmethod
    def _id(self) -> str | None:
        """The entity in question; None: all."""

    @abstractmethod
    def _numbered(self, event: Logged) -> tuple[int, int]:
        """The key under which the event is counted, and its number there."""

    @abstractmethod
    async def _missed(self) -> tuple[list[Logged], bool]:
        """The next events after those that the client knows, and whether there may be more."""

    @abstractmethod
    def _payload(self, event: Logged) -> bytes:
        """The event as this client is told of it; it counts as known."""

    def _frame(self, event: Logged) -> bytes:
        """The same on the wire."""
        return framed(self._payload(event))

    def _take(self, event: Logged) -> None:
        key, number = self._numbered(event)
        if number <= self._at[key]:
            return
        if self._live and number == self._at[key] + 1:
            self._at[key] = number
            self._connection.put(self._frame(event))
            return
        self._newest[key] = max(number, self._newest[key])
        if self._live:
            self._live = False
            self.begin()

    async def _catch_up(self) -> None:
        try:
            while not self._live:
                try:
                    await self._tell_page()
                except Unavailable:
                    await asyncio.sleep(AGAIN_SECONDS)
        except _Gone:
            detail = "What came after this is not in the log any more: read it anew, and go on from what it says."
            self._connection.drop(self._topic, Error(code="history_gone", detail=detail, topic=self._topic))
        except TimeoutError:
            self._connection.cut()
        except ConnectionError:
            return  # it has gone, and whoever reads from it will notice
        except Exception:  # noqa: BLE001 - whatever it is, it is logged, and the client is told
            _log.exception("an event could not be told", topic=self._topic)
            detail = "Something went wrong on our side: read it anew, and go on from what it says."
            self._connection.drop(self._topic, Error(code="internal", detail=detail, topic=self._topic))

    async def _tell_page(self) -> None:
        known = dict(self._newest)
        async with self._log.reads:
            page, more = await self._missed()
        async with asyncio.timeout(PAGE_SECONDS):
            for event in page:
                key, number = self._numbered(event)
                if number != self._at[key] + 1:
                    raise _Gone
                self._at[key] = number
                await self._connection.send(self._payload(event))
        if not page and self._behind(known):
            raise _Gone
        self._live = not more and not self._behind(self._newest)

    def _behind(self, newest: Mapping[int, int]) -> bool:
        return any(number > self._at[key] for key, number in newest.items())


class _Gone(Exception):
    """Events that a follower has yet to be told are in the log no more."""
