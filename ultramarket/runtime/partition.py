"""A partition as its owner has it: where its log stands, what waits for its entities, what must wait behind what."""

import asyncio
from collections import deque
from collections.abc import Callable

from ultramarket.errors import Rejection, Unavailable
from ultramarket.ports.asking import Answer
from ultramarket.ports.journal import Lane
from ultramarket.ports.mailbox import Delivery

Pair = tuple[str, str]
"""Source (`kind:id`) and target id: messages of a pair stay in order."""

TICK = 0.005
"""Seconds by which a timer of the event loop may be early."""

IN_PROGRESS = Rejection(
    "in_progress", "The first request with this Idempotency-Key still runs; ask again in a second.", 409
)


class Partition:
    """One partition's mailbox and place in the log; all calls come from the event loop.

    Attributes:
        lane: epoch and tail; None while the partition is not ours.
        limit: how many deliveries may wait.
        waiting: deliveries by entity, each in order.
        depth: how many deliveries wait.
        known: messages that wait or are being taken, so that a sweep does not bring them again.
        running: messages that a worker is busy with, or whose answers wait for their commit, with their targets; they
            stay known whatever happens to the partition.
        behind: pairs whose messages are in the outbox because they did not fit or failed: later ones of the pair must
            not overtake them. The value is the loop time before which the pair is not to be brought.
        dirty: the pairs that were refused a message since the sweep began.
        blocked: pairs behind a parked message.
        parking: pairs whose message is on its way to the parked ones.
        attempts: how often taking a message failed.
        fresh: it came from another owner, and no sweep has yet brought what waits in the outbox.
    """

    def __init__(
        self, kind: str, no: int, limit: int, wake: Callable[["Partition", str], None], sweep: Callable[[float], None]
    ) -> None:
        self.kind = kind
        self.no = no
        self.lane: Lane | None = None
        self.limit = limit
        self.waiting: dict[str, deque[Delivery]] = {}
        self.depth = 0
        self.known: set[str] = set()
        self.running: dict[str, str] = {}
        self.behind: dict[Pair, float] = {}
        self.dirty: set[Pair] = set()
        self.blocked: set[Pair] = set()
        self.parking: set[Pair] = set()
        self.attempts: dict[str, int] = {}
        self.fresh = False
        self._swept: Lane | None = None
        self._brought: tuple[set[str], set[str]] = (set(), set())
        self._overflowed = False
        self._keys: set[tuple[str, str]] = set()
        self._wake = wake
        self._sweep = sweep

    def offer(self, delivery: Delivery) -> bool:
        """Take a delivery in; False when there is no room for it (a message then stays in the outbox)."""
        if delivery.message is not None:
            return self._offer_message(delivery)
        if self.lane is None:
            self._answer(delivery, Unavailable("not_ready", "This part of the shop is starting up; try again."))
            return True
        if self.depth >= self.limit and delivery.answer is not None:
            return False
        if delivery.key is not None:
            if (delivery.id, delivery.key) in self._keys:
                self._answer(delivery, Answer(rejection=IN_PROGRESS))
                return True
            self._keys.add((delivery.id, delivery.key))
        self.push(delivery)
        return True

    def bring(self, delivery: Delivery, began: float) -> bool:
        """Take in a message that a sweep, begun at that loop time, found; False when it must stay in the outbox."""
        message = delivery.message or ""
        pair = (delivery.source, delivery.id)
        if message in self.known or pair in self.blocked:
            return True
        if self.depth >= self.limit:
            self._overflowed = True
        if self.lane is None or self.depth >= self.limit or self.behind.get(pair, 0.0) > began:
            return False
        self.known.add(message)
        self._brought[0].add(message)
        self.push(delivery)
        return True

    def begin_sweep(self, blocked: set[Pair]) -> None:
        """A sweep is about to read the outbox; `blocked` are the pairs behind parked messages as they stand now."""
        self._swept = self.lane
        blocked |= self.parking
        for pair in self.blocked - blocked:
            self.behind.setdefault(pair, 0.0)
        self.blocked = blocked
        self.dirty.clear()
        # A message that a sweep brought may be offered by its sender just afterwards: remembered for two sweeps.
        self._brought = (set(), self._brought[0])

    def end_sweep(self, began: float, stuck: set[Pair]) -> None:
        """A sweep has brought what it found, all but the `stuck` pairs: the others are behind no more."""
        if self.lane is None or self._swept is None or self.lane.epoch != self._swept.epoch:
            self._sweep(0.0)  # taken anew meanwhile: this sweep may have missed what came in between
            return
        self.fresh = False
        for pair in stuck:
            self.behind.setdefault(pair, 0.0)
        for pair, until in list(self.behind.items()):
            if until <= began and pair not in self.dirty and pair not in stuck:
                del self.behind[pair]
        if self.dirty - stuck:
            self._sweep(0.0)

    def push(self, delivery: Delivery, *, first: bool = False) -> None:
        """Put a delivery in the entity's queue: at its end, or back at its beginning."""
        queue = self.waiting.get(delivery.id)
        if queue is None:
            queue = self.waiting[delivery.id] = deque()
        if first:
            queue.appendleft(delivery)
        else:
            queue.append(delivery)
        self.depth += 1
        self._wake(self, delivery.id)

    def pull(self, id: str, most: int) -> list[Delivery]:
        """The next deliveries of an entity."""
        queue = self.waiting[id]
        batch = [queue.popleft() for _ in range(min(most, len(queue)))]
        if not queue:
            del self.waiting[id]
        self.depth -= len(batch)
        if self._overflowed and self.depth * 2 < self.limit:
            self._overflowed = False
            self._sweep(0.0)
        return batch

    def settle(self, delivery: Delivery, answer: Answer | Exception | None = None) -> None:
        """A delivery is done: forget it, and answer who asked."""
        if delivery.message is not None:
            self.known.discard(delivery.message)
            self._end(delivery)
            self.attempts.pop(delivery.message, None)
        if delivery.key is not None:
            self._keys.discard((delivery.id, delivery.key))
        if answer is not None:
            self._answer(delivery, answer)

    def hold(self, source: str, id: str, delay: float = 0.0) -> None:
        """Messages of this pair are in the outbox: nothing may overtake them until a sweep has brought them.

        Args:
            source: the sender.
            id: the target.
            delay: seconds before the sweep is to bring them.
        """
        pair = (source, id)
        # A timer may fire a clock tick before its time: the sweep that it starts is to bring the pair.
        until = asyncio.get_running_loop().time() + delay - TICK if delay else 0.0
        self.behind[pair] = max(until, self.behind.get(pair, 0.0))
        self.dirty.add(pair)
        self._sweep(delay)

    def shelve(self, delivery: Delivery, delay: float = 0.0) -> None:
        """Leave a message and all later ones of its pair that wait to the outbox."""
        self.known.discard(delivery.message or "")
        queue = self.waiting.get(delivery.id, deque())
        kept = deque(d for d in queue if d.message is None or d.source != delivery.source)
        self.known.difference_update(d.message or "" for d in queue if d.source == delivery.source)
        self.depth -= len(queue) - len(kept)
        if kept:
            self.waiting[delivery.id] = kept
        else:
            self.waiting.pop(delivery.id, None)
        self.hold(delivery.source, delivery.id, delay)
        self._end(delivery)

    def forget(self) -> None:
        """The partition is being taken anew: messages that wait are left to the outbox, clients' commands wait on."""
        queued = [delivery for queue in self.waiting.values() for delivery in queue]
        self.waiting.clear()
        self.depth = 0
        self.known.intersection_update(self.running)
        for delivery in queued:
            if delivery.message is not None:
                self.hold(delivery.source, delivery.id)
            else:
                self.push(delivery)

    def begin(self, lane: Lane) -> None:
        """It is ours now, and was another's before."""
        self.lane = lane
        self.fresh = True
        self.behind.clear()
        self.blocked.clear()
        self.attempts.clear()
        self._brought = (set(), set())

    def leave(self, error: Exception) -> None:
        """It is another's now: who waits is told so, and messages are left to the outbox."""
        self.lane = None
        self.drain(error)
        self.known.update(self.running)

    def drain(self, error: Exception) -> None:
        """Answer everybody who waits with the error, and forget the rest."""
        queued = [delivery for queue in self.waiting.values() for delivery in queue]
        self.waiting.clear()
        self.known.clear()
        self.depth = 0
        for delivery in queued:
            self.settle(delivery, error)

    def _end(self, delivery: Delivery) -> None:
        """A worker's message is settled or left to the outbox: the next one of its target may run."""
        if self.running.pop(delivery.message or "", None) is not None and delivery.id in self.waiting:
            self._wake(self, delivery.id)

    def _offer_message(self, delivery: Delivery) -> bool:
        pair = (delivery.source, delivery.id)
        message = delivery.message or ""
        if message in self.known or message in self._brought[0] or message in self._brought[1]:
            return True
        if pair in self.blocked:
            return False
        if self.depth >= self.limit:
            self._overflowed = True
        if self.lane is None or self.fresh or self.depth >= self.limit or pair in self.behind:
            # The sweep comes when there is room again, or runs already and sees that it has to come again.
            self.behind.setdefault(pair, 0.0)
            self.dirty.add(pair)
            return False
        self.known.add(message)
        self.push(delivery)
        return True

    def _answer(self, delivery: Delivery, answer: Answer | Exception) -> None:
        if delivery.answer is not None:
            delivery.answer(answer)


def moved() -> Unavailable:
    """The answer to a command whose partition has just become another process's; nothing of it was written."""
    return Unavailable("not_ready", "This part of the shop has just moved; try again.", 1)


def answer_to(future: "asyncio.Future[Answer]") -> Callable[[Answer | Exception], None]:
    """A delivery's `answer` that settles a future, unless its asker has gone."""

    def settle(answer: Answer | Exception) -> None:
        if future.done():
            return
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    return settle
