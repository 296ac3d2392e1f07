"""What a simulated broker is made of: pipes that keep their frames in order, and quorum queues."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass, field
from itertools import islice
from random import Random


class Pipe:
    """Carries frames one way, in order, each after a delay; as TCP does, or a queue's replicated log.

    Args:
        delay: gives the seconds that the next frame needs.
        context: where the frames are worked off: that of the process at the end of the pipe, so that they wait while
            it is frozen.
    """

    def __init__(self, delay: Callable[[], float], context: Context) -> None:
        self._loop = asyncio.get_running_loop()
        self._delay = delay
        self._context = context
        self._frames: deque[tuple[float, Callable[[], None]]] = deque()
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._broken = False

    def __len__(self) -> int:
        """Frames on their way."""
        return len(self._frames)

    def send(self, frame: Callable[[], None]) -> None:
        """Put a frame behind the others; one that enters a broken pipe is lost."""
        if self._broken:
            return
        self._last = max(self._last, self._loop.time() + self._delay())
        self._frames.append((self._last, frame))
        self._arm()

    def pause(self) -> None:
        """The other end stops to read."""
        self._paused = True
        self._disarm()

    def resume(self) -> None:
        """The other end reads on."""
        self._paused = False
        self._arm()

    def cut(self, survivors: int) -> None:
        """Break: the first frames still arrive, the others are lost."""
        self._broken = True
        self._disarm()
        self._frames = deque(islice(self._frames, survivors))
        self._arm()

    def mend(self) -> None:
        """Carry frames again, e.g. after a restart."""
        self._broken = False

    def _arm(self) -> None:
        if self._timer is None and self._frames and not self._paused:
            self._timer = self._loop.call_at(self._frames[0][0], self._arrive, context=self._context)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arrive(self) -> None:
        self._timer = None
        _, frame = self._frames.popleft()
        try:
            frame()
        finally:
            self._arm()


@dataclass(slots=True, eq=False)
class Item:
    """A message in a queue; `returned` counts how often it came back unacknowledged."""

    body: bytes
    returned: int = 0


@dataclass(eq=False)
class Consumer:
    """A consumer of a queue, as the broker knows it.

    Attributes:
        held: what it was given and has not acknowledged, oldest first, by delivery tag.
    """

    tag: str
    prefetch: int
    no_ack: bool
    deliver: Callable[["Consumer", Item], None]
    held: dict[int, Item] = field(default_factory=dict)

    def takes(self) -> bool:
        """Whether it may be given another message."""
        return self.no_ack or len(self.held) < self.prefetch


class QuorumQueue:
    """A durable queue with one active consumer.

    Returned messages have a queue of their own, first in first out, that is emptied before the main one: those that one
    channel held come back in their place, those of a second channel behind the first one's whatever their age
    (https://github.com/rabbitmq/rabbitmq-website/issues/1731, rabbitmq-server issues #6804 and #10499).
    """

    def __init__(self, name: str, write: Pipe, random: Random, max_length: int, delivery_limit: int) -> None:
        self.name = name
        self.log = write
        self.ready: deque[Item] = deque()
        self.returns: deque[Item] = deque()
        self.consumers: list[Consumer] = []
        self.dead: list[Item] = []
        self.nacks = 0.0
        self._random = random
        self._max_length = max_length
        self._delivery_limit = delivery_limit

    def __len__(self) -> int:
        """Messages that wait for a consumer."""
        return len(self.ready) + len(self.returns)

    def publish(self, body: bytes, confirm: Callable[[bool], None]) -> None:
        """Append once the log is written, then confirm; refuse when full (x-overflow=reject-publish) or in trouble.

        Only messages that are ready count, and what is being written may exceed the limit a little
        (https://www.rabbitmq.com/docs/maxlength).
        """

        def written() -> None:
            if len(self) >= self._max_length or (self.nacks and self._random.random() < self.nacks):
                confirm(False)  # noqa: FBT003 - a nack
                return
            self.ready.append(Item(body))
            confirm(True)  # noqa: FBT003 - an ack
            self.dispatch()

        self.log.send(written)

    def settle(self, consumer: Consumer, tag: int, done: Callable[[], None]) -> None:
        """Forget a message once the log is written; one that was given back meanwhile stays."""

        def written() -> None:
            done()
            if consumer.held.pop(tag, None) is not None:
                self.dispatch()

        self.log.send(written)

    def give_back(self, items: Iterable[Item]) -> None:
        """Return messages that were not acknowledged; those returned too often become dead letters."""
        for item in items:
            item.returned += 1
            if item.returned > self._delivery_limit:
                self.dead.append(item)
            else:
                self.returns.append(item)
        self.dispatch()

    def bury(self, item: Item) -> None:
        """Make a dead letter of a message that its consumer can't read."""
        self.dead.append(item)
        self.dispatch()

    def attach(self, consumer: Consumer) -> None:
        """A consumer registers; the first one is active."""
        self.consumers.append(consumer)
        self.dispatch()

    def detach(self, consumer: Consumer, returned: Iterable[Item] = ()) -> None:
        """A consumer goes, what it gives back is returned, and the next one is active.

        basic.cancel gives nothing back: what was delivered stays with its channel (AMQP 0-9-1, class basic, method
        cancel), so that the next consumer gets newer messages before it.
        """
        if consumer in self.consumers:
            self.consumers.remove(consumer)
        self.give_back(returned)

    def switch(self) -> None:
        """The active consumer's node is suspected: another becomes active, and what it held comes back.

        See https://github.com/rabbitmq/rabbitmq-server/pull/1903. The consumer itself is told nothing.
        """
        if not self.consumers:
            return
        first = self.consumers.pop(0)
        self.consumers.append(first)
        held, first.held = list(first.held.values()), {}
        self.give_back(held)

    def dispatch(self) -> None:
        """Give the active consumer what it may have."""
        while self.consumers and self.consumers[0].takes() and len(self):
            item = self.returns.popleft() if self.returns else self.ready.popleft()
            self.consumers[0].deliver(self.consumers[0], item)

    def restart(self) -> None:
        """The broker dies: of what is being written a first part survives; the confirms go with the connections."""
        self.log.cut(self._random.randint(0, len(self.log)))
        self.log.mend()
