"""Connections and channels of a simulated broker, both ends of each; see `tests.simulation.broker` for what they do."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextvars import Context, copy_context
from random import Random
from typing import Protocol

from tests.simulation.broker_queue import Consumer, Item, Pipe, QuorumQueue
from ultramarket.ports.broker import BrokerError, BrokerLost, Incoming, Rejected, Unroutable


class Host(Protocol):
    """The broker, as its connections know it."""

    random: Random
    delay: Callable[[], float]
    queues: dict[str, QuorumQueue]
    connections: dict[str, list["Connection"]]
    blocked: bool
    violations: list[str]

    def declare(self, name: str) -> QuorumQueue:
        """A queue, made where there is none."""
        ...


class Connection:
    """A connection, both its ends."""

    def __init__(self, broker: Host, replica: str) -> None:
        self.broker = broker
        self.replica = replica
        self.publishes = False
        self.to_broker = Pipe(broker.delay, Context())
        self.to_client = Pipe(broker.delay, copy_context())
        self.closed = asyncio.Event()
        self._context = copy_context()
        self._channels: list[Channel] = []
        self._exclusive: list[str] = []

    async def channel(self) -> "Channel":
        """A new channel.

        Raises:
            BrokerLost: the connection is closed.
        """
        if self.closed.is_set():
            raise BrokerLost("the connection is closed")
        channel = Channel(self)
        self._channels.append(channel)
        await channel.open()
        return channel

    def close(self) -> None:
        """Say goodbye: what was sent before still arrives, unacknowledged messages are requeued."""
        if not self.closed.is_set():
            self.to_broker.send(self._gone)
            self._lost()

    def unacknowledged(self) -> int:
        """Deliveries that the client has not acknowledged."""
        return sum(channel.unacknowledged() for channel in self._channels)

    def own(self, queue: str) -> None:
        """An exclusive queue: it goes with the connection."""
        self._exclusive.append(queue)

    def cut(self, client_learns: float = 0.0, broker_learns: float = 0.0, *, died: bool = False) -> None:
        """Break; see `Broker.cut`. A broker that died gets nothing of what was on its way."""
        random, loop = self.broker.random, asyncio.get_running_loop()
        self.to_broker.cut(0 if died else random.randint(0, len(self.to_broker)))
        self.to_client.cut(random.randint(0, len(self.to_client)))
        loop.call_later(client_learns, self._lost, context=self._context)
        if broker_learns:
            loop.call_later(broker_learns, self._gone, context=Context())
        else:
            self._gone()

    def _lost(self) -> None:
        """The client's end is closed."""
        self.closed.set()
        for channel in self._channels:
            channel.lost("the connection is closed")

    def _gone(self) -> None:
        """The broker's end is closed."""
        if self in self.broker.connections.get(self.replica, ()):
            self.broker.connections[self.replica].remove(self)
        self.to_client.cut(0)
        for channel in self._channels:
            channel.gone()
        for name in self._exclusive:
            self.broker.queues.pop(name, None)


class Channel:
    """A channel, both its ends: the client's methods send frames, those with `_` in front are the broker's."""

    def __init__(self, connection: Connection) -> None:
        self.closed = asyncio.Event()
        self.reason = ""
        self._connection = connection
        self._broker = connection.broker
        self._published = 0
        self._unconfirmed: dict[int, asyncio.Future[None]] = {}
        self._calls: dict[asyncio.Future[None], None] = {}
        # The broker's end
        self._alive = True
        self._tags = 0
        self._unacked: dict[int, tuple[QuorumQueue, Consumer]] = {}
        self._settling: dict[int, tuple[QuorumQueue, Consumer]] = {}
        self._consumers: dict[str, tuple[QuorumQueue, Consumer]] = {}

    # The client's end

    async def open(self) -> None:
        """Wait until the broker knows it."""
        await self._call(lambda: None)

    async def declare(self, queue: str, *, exclusive: bool = False) -> None:
        """Make a queue where there is none."""

        def declared() -> None:
            self._broker.declare(queue)
            if exclusive:
                self._connection.own(queue)

        await self._call(declared)

    def publish(self, queue: str, body: bytes, *, mandatory: bool = True) -> "asyncio.Future[None]":
        """Send a persistent message at once; the future is done when it is confirmed.

        Raises:
            BrokerLost: the channel is closed. The future raises this (unknown), `Rejected` (full) or `Unroutable`.
        """
        self._check()
        self._published += 1
        number, future = self._published, asyncio.get_running_loop().create_future()
        self._unconfirmed[number] = future
        self._connection.to_broker.send(lambda: self._publish(number, queue, body, mandatory=mandatory))
        return future

    async def consume(
        self, queue: str, prefetch: int, callback: Callable[[Incoming], None], *, no_ack: bool = False
    ) -> str:
        """Consume a queue; gives the consumer's tag. Deliveries may come before it is returned."""
        tag = f"ctag{len(self._consumers) + 1}"

        def deliver(consumer: Consumer, item: Item) -> None:
            self._deliver(consumer, item, callback)

        def consumed() -> None:
            if queue not in self._broker.queues:
                self._close(f"404 NOT_FOUND - no queue {queue!r}")
                return
            found = self._broker.queues[queue]
            consumer = Consumer(tag, prefetch, no_ack, deliver)
            self._consumers[tag] = (found, consumer)
            found.attach(consumer)

        await self._call(consumed)
        return tag

    async def cancel(self, consumer_tag: str) -> None:
        """Stop to consume; what is unacknowledged stays with this channel until it is acknowledged or closed."""

        def cancelled() -> None:
            queue, consumer = self._consumers.pop(consumer_tag)
            queue.detach(consumer)

        await self._call(cancelled)

    def ack(self, tag: int) -> None:
        """Acknowledge a delivery of this channel."""
        self._check()
        self._connection.to_broker.send(lambda: self._ack(tag))

    def reject(self, tag: int) -> None:
        """Give a delivery to the dead letters."""
        self._check()
        self._connection.to_broker.send(lambda: self._reject(tag))

    def nack(self, tag: int) -> None:
        """Give a delivery back to be requeued."""
        self._check()
        self._connection.to_broker.send(lambda: self._nack(tag))

    def close(self) -> None:
        """Close it: unacknowledged messages are requeued."""
        if not self.closed.is_set():
            self._connection.to_broker.send(self.gone)
            self.lost("closed by the client")

    def lost(self, reason: str) -> None:
        """The client's end is closed: what is under way is unknown."""
        if self.closed.is_set():
            return
        self.reason = reason
        self.closed.set()
        waiting = [*self._unconfirmed.values(), *self._calls]
        self._unconfirmed.clear()
        self._calls.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(BrokerLost(reason))

    def _check(self) -> None:
        if self.closed.is_set():
            raise BrokerLost(self.reason)

    async def _call(self, action: Callable[[], None]) -> None:
        """Have something done by the broker and wait until it says so."""
        self._check()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._calls[future] = None

        def done() -> None:
            if self._alive:
                action()
            if self._alive:
                self._connection.to_client.send(lambda: self._called(future))

        self._connection.to_broker.send(done)
        await future

    def _called(self, future: "asyncio.Future[None]") -> None:
        self._calls.pop(future, None)
        if not future.done():
            future.set_result(None)

    def _confirmed(self, number: int, error: BrokerError | None) -> None:
        future = self._unconfirmed.pop(number, None)
        if future is None or future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    # The broker's end

    def unacknowledged(self) -> int:
        """Deliveries that the client has not acknowledged."""
        return len(self._unacked) if self._alive else 0

    def gone(self) -> None:
        """The broker's end is closed: its consumers go, and what it held comes back."""
        if not self._alive:
            return
        self._alive = False
        # An acknowledgement that is not written yet may be ignored.
        ignored = {tag: held for tag, held in self._settling.items() if self._broker.random.getrandbits(1)}
        returned: dict[QuorumQueue, list[Item]] = defaultdict(list)
        for tag, (queue, consumer) in sorted({**self._unacked, **ignored}.items()):
            item = consumer.held.pop(tag, None)
            if item is not None:
                returned[queue].append(item)
        # What they held is back before the next consumer is active.
        for queue, consumer in self._consumers.values():
            queue.detach(consumer, returned.pop(queue, []))
        for queue, items in returned.items():
            queue.give_back(items)

    def _close(self, reason: str) -> None:
        self._connection.to_client.send(lambda: self.lost(reason))
        self.gone()

    def _publish(self, number: int, queue: str, body: bytes, *, mandatory: bool) -> None:
        self._connection.publishes = True
        if self._broker.blocked:
            self._connection.to_broker.pause()
        if queue in self._broker.queues:
            self._broker.queues[queue].publish(body, lambda taken: self._confirm(number, None if taken else Rejected()))
        else:
            self._confirm(number, Unroutable(queue) if mandatory else None)

    def _confirm(self, number: int, error: BrokerError | None) -> None:
        if self._alive:
            self._connection.to_client.send(lambda: self._confirmed(number, error))

    def _deliver(self, consumer: Consumer, item: Item, callback: Callable[[Incoming], None]) -> None:
        self._tags += 1
        incoming = Incoming(self._tags, item.body, item.returned > 0)
        if not consumer.no_ack:
            consumer.held[self._tags] = item
            self._unacked[self._tags] = (self._consumers[consumer.tag][0], consumer)

        def arrived() -> None:
            if not self.closed.is_set():
                callback(incoming)

        self._connection.to_client.send(arrived)

    def _ack(self, tag: int) -> None:
        if self._known(tag):
            queue, consumer = self._settling[tag] = self._unacked.pop(tag)
            queue.settle(consumer, tag, lambda: self._settled(tag))

    def _settled(self, tag: int) -> None:
        self._settling.pop(tag, None)

    def _nack(self, tag: int) -> None:
        if self._known(tag):
            queue, consumer = self._unacked.pop(tag)
            item = consumer.held.pop(tag, None)
            if item is not None:
                queue.give_back([item])

    def _reject(self, tag: int) -> None:
        if self._known(tag):
            queue, consumer = self._unacked.pop(tag)
            item = consumer.held.pop(tag, None)
            if item is not None:
                queue.bury(item)

    def _known(self, tag: int) -> bool:
        """Whether the tag stands for a delivery of this channel; closes the channel where it does not."""
        if self._alive and tag not in self._unacked:
            reason = f"406 PRECONDITION_FAILED - unknown delivery tag {tag}"
            self._broker.violations.append(f"{self._connection.replica}: {reason}")
            self._close(reason)
        return self._alive
