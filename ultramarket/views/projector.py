"""Keeps the views in step with the log: a task a view, started, woken and stopped together."""

import asyncio
from collections.abc import Sequence

from ultramarket.ports.database import Database
from ultramarket.runtime.partitioning import partitions_of
from ultramarket.views.follower import POLL_SECONDS, Follower
from ultramarket.views.projection import BATCH, View


class Projector:
    """Projects the views, each in order, its offsets in the same transaction as its writes.

    Several processes may run one: for each turn of a view an advisory lock says who does it. What was missed (a crash,
    a lost connection) is found by the offsets.

    Args:
        database: where log, offsets and views are; a turn holds one connection and its view may read by others.
        views: each with a name of its own.
        batch: events of one partition in one turn, at most.
        poll_seconds: how often the log is looked at when nobody wakes the projector.
    """

    def __init__(
        self, database: Database, views: Sequence[View], *, batch: int = BATCH, poll_seconds: float = POLL_SECONDS
    ) -> None:
        self._database = database
        self._followers = {
            view.name: Follower(database, view, batch=batch, poll_seconds=poll_seconds) for view in views
        }
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to follow, whether the database is there yet or not."""
        self._tasks = [
            asyncio.create_task(follower.run(), name=f"view {name}") for name, follower in self._followers.items()
        ]

    async def stop(self) -> None:
        """Stop; a turn that runs is rolled back and done again at the next start."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self, kind: str | None = None) -> None:
        """Something was committed: events of this kind, or of any."""
        for follower in self._followers.values():
            if kind is None or kind in follower.view.kinds:
                follower.wake()

    async def wait(self, kind: str, no: int, seq: int, timeout: float) -> bool:
        """Wait until every view of this kind shows the write with the consistency token `kind.no@seq`.

        Args:
            kind: the entity's kind; one that no view follows needs no waiting.
            no: number of the partition.
            seq: place in the partition's log.
            timeout: seconds.

        Returns:
            False when a view has not passed it in time.
        """
        following = [follower for follower in self._followers.values() if kind in follower.view.kinds]
        if not 0 <= no < partitions_of(kind):
            return not following
        return all(await asyncio.gather(*(follower.wait(kind, no, seq, timeout) for follower in following)))

    def position(self, noun: str) -> str | None:
        """Where the view of this noun, e.g. `products`, stands in the log, see `Follower.position`; None: unknown."""
        names = (name for name in self._followers if name.partition(".")[0] == noun)
        name = next(names, None)
        return None if name is None else self._followers[name].position()

    def lag(self) -> dict[str, tuple[int, float]]:
        """How far each view is behind, when last looked at: events, and the age of the oldest of them in seconds."""
        return {name: follower.lag() for name, follower in self._followers.items()}
