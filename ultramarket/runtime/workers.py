"""Runs the calls of worker actors: several at once, those of one id one after the other.

The next call of an id begins when the answers of the one before are committed: else it could be committed before it,
should that commit fail.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from ultramarket.errors import UltraMarketError
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime.actor import Send, Worker
from ultramarket.runtime.failpoints import failpoint
from ultramarket.runtime.partition import Partition
from ultramarket.runtime.turn import Failure, Unreadable

Finish = Callable[[Partition, Delivery, Iterable[Send]], None]


class WorkerPool:
    """Takes messages from worker partitions and brings their answers to the committer.

    Args:
        workers: by kind.
        finish: takes the answers of a call.
        failed: told of a call that failed.
        earlier: how many earlier messages of its pair wait with a message; None where it was taken already.
    """

    def __init__(
        self,
        workers: Mapping[str, Worker[Any]],
        finish: Finish,
        failed: Callable[[Partition, Failure], None],
        earlier: Callable[[str], Awaitable[int | None]],
    ) -> None:
        self._workers = workers
        self._finish = finish
        self._failed = failed
        self._earlier = earlier
        self._running: dict[str, int] = dict.fromkeys(workers, 0)
        self._waiting: dict[str, deque[tuple[Partition, str]]] = {kind: deque() for kind in workers}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    def ready(self, partition: Partition, id: str) -> None:
        """Something waits for this id."""
        self._waiting[partition.kind].append((partition, id))
        self._start(partition.kind)

    def idle(self) -> bool:
        """Whether no call runs or waits."""
        return not self._tasks and not any(self._waiting.values())

    async def stop(self) -> None:
        """Give up the calls that run and begin no more; their messages stay in the outbox."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, kind: str) -> None:
        queue = self._waiting[kind]
        for _ in range(len(queue)):
            if self._stopping or self._running[kind] >= self._workers[kind].concurrency:
                return
            partition, id_ = queue.popleft()
            if id_ not in partition.waiting or id_ in partition.running.values():
                continue  # the partition says when the call before it is over
            delivery = partition.pull(id_, 1)[0]
            partition.running[delivery.message or ""] = id_
            self._running[kind] += 1
            task = asyncio.create_task(self._work(partition, delivery), name=f"{kind} {id_}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, partition: Partition, delivery: Delivery) -> None:
        kind = partition.kind
        try:
            if not await self._is_due(partition, delivery):
                return
            if isinstance(delivery.command, Unreadable):
                raise UltraMarketError(f"this program can't read the message: {delivery.command.reason}")  # noqa: TRY301 - it fails like any other
            failpoint("gateway.before")
            sends = await self._workers[kind].work(delivery.id, delivery.command, delivery.message or "")
            failpoint("gateway.after")
            self._finish(partition, delivery, sends)
        except Exception as error:  # noqa: BLE001 - whatever a worker raises counts as a failed message
            self._failed(partition, Failure(delivery, error))
        finally:
            self._running[kind] -= 1
            self._start(kind)

    async def _is_due(self, partition: Partition, delivery: Delivery) -> bool:
        """Whether the call is to be made now.

        A broker brings messages again, and may bring them too early; a sweep brings them in order, but may have read
        one just before the commit of its first call.
        """
        if delivery.verified:
            return True
        earlier = await self._earlier(delivery.message or "")
        if earlier is None:
            partition.settle(delivery)
            return False
        if earlier and not delivery.swept:
            partition.shelve(delivery)
            return False
        return True
