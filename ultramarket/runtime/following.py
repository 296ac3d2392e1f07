"""Watching an entity whose owner may be another process: its owner is asked for the next version, again and again.

The question is answered when there is something to tell, so an entity that rests costs nothing; and as it goes to
whoever owns the entity by then, it survives a hand-over.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count

from ultramarket.errors import UltraMarketError, Unavailable
from ultramarket.ports.asking import Answer
from ultramarket.ports.mailbox import Deliver, Delivery
from ultramarket.runtime.partition import Partition, answer_to
from ultramarket.runtime.partitioning import partition_of
from ultramarket.runtime.turn import Follow
from ultramarket.runtime.watch import Watchers

FOLLOW_SECONDS = 5.0
"""An owner answers after this time at the latest: who asked may have gone, and an owner too."""
AGAIN_SECONDS = 0.2
"""After this time an owner that could not be asked is asked again."""
FOLLOWERS = 10_000
"""Questions that wait at one owner; more are answered at once, with what is known."""


class Following:
    """Asks the owners of entities for their next versions, and answers those who ask us.

    Args:
        watchers: told of every commit of ours.
        version: gives the present version of an entity of ours.
        offer: hands a delivery to the owner of its partition.
    """

    def __init__(
        self,
        watchers: Watchers,
        version: Callable[[str, str], Awaitable[int]],
        offer: Callable[[Delivery], bool],
    ) -> None:
        self._watchers = watchers
        self._version = version
        self._offer = offer
        self._tasks: set[asyncio.Task[None]] = set()
        self._asks = count(1)

    async def versions(self, kind: str, id: str) -> AsyncIterator[int]:
        """The version of an entity, and each later one that is seen; a fast writer's may be skipped."""
        after = 0
        while True:
            version = await self._next(kind, id, after)
            if version not in (None, after):
                after = version or 0
                yield after

    def door(self, partition: Partition) -> Deliver:
        """A partition's door that keeps questions for versions apart: they wait, and nothing must wait behind them."""

        def deliver(delivery: Delivery) -> bool:
            if not isinstance(delivery.command, Follow):
                return partition.offer(delivery)
            task = asyncio.create_task(self._answer(delivery, delivery.command.after), name="a follower")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return True

        return deliver

    async def stop(self) -> None:
        """Leave who still waits without an answer: it asks the next owner."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _next(self, kind: str, id: str, after: int) -> int | None:
        """The version, once it is another than `after`; None where nobody could say so yet."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        name = f"follow:{kind}:{id}:{next(self._asks)}"
        command, no = Follow(after), partition_of(kind, id)
        delivery = Delivery(kind, no, id, command, "system", name, name, answer=answer_to(future))
        try:
            if self._offer(delivery):
                async with asyncio.timeout(FOLLOW_SECONDS + AGAIN_SECONDS):
                    return (await future).version
        except (UltraMarketError, TimeoutError):
            pass  # its owner is changing, or the broker is away
        await asyncio.sleep(AGAIN_SECONDS)
        return None

    async def _answer(self, delivery: Delivery, after: int) -> None:
        """Answer once the version is another than `after`, or with the same one after a while."""
        if delivery.answer is None:
            return
        with self._watchers.watch(delivery.kind, delivery.id) as versions:
            try:
                version = await self._version(delivery.kind, delivery.id)
            except Unavailable as error:  # who asked asks again
                delivery.answer(error)
                return
            if version == after and len(self._tasks) <= FOLLOWERS:
                try:
                    async with asyncio.timeout(FOLLOW_SECONDS):
                        version = await anext(versions)
                except TimeoutError:
                    pass
        delivery.answer(Answer(version=version))
