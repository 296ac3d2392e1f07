"""Mailboxes over a broker; see `ultramarket.ports.mailbox.Mailbox`.

How order is kept: one channel a partition; never a nack with requeue, never a cancel while something is held that would
be missed; an acknowledgement only over the channel that brought the delivery; one unconfirmed message a source,
published again before anything behind it. Every close of a channel or connection leads through the same start.

When a delivery is acknowledged:

- A message: once the owner's door was asked, whatever it said. Its outbox row is the truth: what the door took in and
  lost, or refused, is brought by the owner's sweep. This holds only as long as whoever acknowledges owns the partition.
- A client's command: once it was answered, that is, committed or refused; nobody else remembers it. One that comes
  again may have taken effect: with an idempotency key it is judged anew and finds its kept answer, without one it is
  answered `outcome_unknown`.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random
from typing import Any

import structlog

from ultramarket.adapters.broker_asking import Asking, full, lost_on_its_way
from ultramarket.adapters.broker_publisher import RECONNECT_SECONDS, Letter, Publisher, again_and_again
from ultramarket.adapters.broker_wire import FOLLOW, LOOK, Envelope, delivery_of, seal, seal_reply, unseal
from ultramarket.ports.asking import Answer
from ultramarket.ports.broker import Broker, BrokerLost, Channel, Connection, Incoming
from ultramarket.ports.mailbox import Deliver, Delivery
from ultramarket.runtime.codec import UNREADABLE, KindCodec
from ultramarket.runtime.owner import CHANCE, Backoff
from ultramarket.runtime.partitioning import partitions_of

log = structlog.get_logger()

LAST_SECONDS = 2.0
"""How long a stop waits until the last answers are out."""
LOST_SECONDS = 3.0
"""How long the broker may be away before this process counts as cut off from the others."""
Key = tuple[str, int]


def queue_of(kind: str, no: int) -> str:
    """The queue of a partition, e.g. `um.cmd.cart.07`."""
    return f"um.cmd.{kind}.{no:02d}"


@dataclass(slots=True, eq=False)
class Consumer:
    """A partition's consumer, for as long as its channel lives.

    Attributes:
        tag: what it is cancelled by; empty until it consumes.
        begun: set once it consumes.
        open: commands that arrived and are not answered yet.
        answered: set while there is none.
    """

    channel: Channel
    tag: str = ""
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    open: int = 0
    answered: asyncio.Event = field(default_factory=asyncio.Event)


class BrokerMailbox:
    """The mailbox of one process.

    Args:
        broker: what carries.
        name: the process, unique.
        codecs: of every kind of actor and worker.
        direct: what is for a partition of this process goes to its door at once. What was published for it before may
            be overtaken: the door of a partition that is new here lets no message in before its first sweep.
        prefetch: deliveries of a partition that may be unacknowledged.
        limit: commands, messages and answers that may wait to be published. A command that is too many is refused; a
            message is left to its outbox row, which its owner sweeps; an answer is missed by its asker's deadline.
        ask_seconds: after this time nobody waits for an answer any more.
        chance: what the jitter of retries is drawn from.

    Attributes:
        connected: answers can be received: commands are taken.
    """

    def __init__(
        self,
        broker: Broker,
        name: str,
        codecs: Mapping[str, KindCodec],
        *,
        direct: bool = True,
        prefetch: int = 32,
        limit: int = 10_000,
        ask_seconds: float = 15.0,
        chance: Random = CHANCE,
    ) -> None:
        self._broker = broker
        self._name = name
        self._codecs = codecs
        self._direct = direct
        self._prefetch = prefetch
        self._chance = chance
        self._connect = partial(broker.connect, name)
        self._publisher = Publisher(self._connect, limit, chance)
        self._asking = Asking(self._publisher, ask_seconds)
        self.connected = self._asking.connected
        self._doors: dict[Key, Deliver] = {}
        self._draining: set[Key] = set()
        self._consumers: dict[Key, Consumer] = {}
        self._consuming: dict[Key, asyncio.Task[None]] = {}
        self._connection: Connection | None = None
        self._lost_since: float | None = None
        self._generations = count(1)
        self._declared = False
        self._was_ready = False
        self._tasks: list[asyncio.Task[None]] = []

    # The port

    def open(self, kind: str, no: int, deliver: Deliver) -> None:
        """Consume a partition's mailbox, once started."""
        self._doors[kind, no] = deliver
        self._consume_soon((kind, no))

    def close(self, kind: str, no: int) -> None:
        """Stop to consume: what is not settled goes back to the queue, for the next owner."""
        self._doors.pop((kind, no), None)
        task = self._consuming.pop((kind, no), None)
        if task is not None:
            task.cancel()
        consumer = self._consumers.pop((kind, no), None)
        if consumer is not None:
            consumer.channel.close()

    def offer(self, delivery: Delivery) -> bool:
        """Hand on without waiting: to the door where it is ours, else to be published in order."""
        key = (delivery.kind, delivery.no)
        door = self._doors.get(key) if self._direct and key not in self._draining else None
        if door is not None:
            return door(delivery)
        queue = queue_of(*key)
        if delivery.message is not None:
            return self._publisher.post(Letter(queue, seal(delivery), delivery.source))
        return delivery.answer is not None and self._asking.ask(queue, delivery, delivery.answer)

    # Life

    async def start(self) -> None:
        """Begin to publish and to consume; partitions may be opened and closed before and after."""
        self._lost_since = asyncio.get_running_loop().time()
        self._tasks = [
            asyncio.create_task(self._publisher.run(), name=f"{self._name} publishes"),
            asyncio.create_task(
                again_and_again(self._connect, self._consume_over, "consume", self._chance),
                name=f"{self._name} consumes",
            ),
        ]

    async def drain(self, kind: str, no: int) -> None:
        """Stop to consume a partition in order; what is offered meanwhile goes to its queue, for the next owner.

        Returns when every command that arrived is answered and acknowledged; the partition's mailbox is closed then.
        A cancelled consumer may hold messages here: they are acknowledged as they arrive, and their order comes from
        the outbox.
        """
        key = (kind, no)
        self._draining.add(key)
        try:
            task = self._consuming.pop(key, None)
            consumer = self._consumers.get(key)
            if consumer is not None and task is not None:
                # Where it is just about to consume, what comes meanwhile would come again to the next owner.
                await _either(consumer.begun.wait(), consumer.channel.closed.wait())
            tag = "" if consumer is None else consumer.tag
            if task is not None:
                task.cancel()
            if consumer is not None and tag:
                with suppress(BrokerLost):  # then nothing can be acknowledged, and everything is back in the queue
                    await consumer.channel.cancel(tag)
                await _either(consumer.answered.wait(), consumer.channel.closed.wait())
        finally:
            self.close(kind, no)
            self._draining.discard(key)

    async def stop(self) -> None:
        """Publish the last answers, and stop; who still waits for an answer gets none but that."""
        loop = asyncio.get_running_loop()
        end = loop.time() + LAST_SECONDS
        while self._publisher.depth and self.lost_since() is None and loop.time() < end:  # noqa: ASYNC110 - an event would cost every letter
            await asyncio.sleep(0.01)
        tasks = [*self._tasks, *self._consuming.values()]
        self._consuming.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._broker.close()

    def idle(self) -> bool:
        """Whether every open mailbox is consumed, and nothing waits to be published or to be answered."""
        consumed = {key for key, consumer in self._consumers.items() if consumer.tag}
        return consumed >= self._doors.keys() and self._publisher.depth == 0 and not self._asking

    def lost_since(self) -> float | None:
        """The loop's time since when it can't publish or can't consume; None while it can do both."""
        times = [since for since in (self._lost_since, self._publisher.lost_since) if since is not None]
        return min(times, default=None)

    def ready(self) -> bool:
        """Whether it can publish and consume, or could until a moment ago: a short loss is no reason to move house."""
        since = self.lost_since()
        if since is None:
            self._was_ready = True
            return True
        return self._was_ready and asyncio.get_running_loop().time() - since < LOST_SECONDS

    @property
    def queues(self) -> Sequence[str]:
        """The queues of every partition there is."""
        return [queue_of(kind, no) for kind in self._codecs for no in range(partitions_of(kind))]

    # Consuming

    async def _consume_over(self, connection: Connection) -> None:
        """Consume until the connection is lost.

        Raises:
            BrokerLost: always.
        """
        loop = asyncio.get_running_loop()
        try:
            channel = await connection.channel()
            if not self._declared:
                # Every queue there is: messages wait in it also while nobody owns its partition.
                await asyncio.gather(*map(channel.declare, self.queues))
                self._declared = True
            await self._receive_answers(channel)
            self._connection = connection
            self._lost_since = None
            for key in self._doors:
                self._consume_soon(key)
            # Without this channel no answer arrives any more.
            await _either(connection.closed.wait(), channel.closed.wait())
        finally:
            self._disconnected(connection, loop.time())
        raise BrokerLost(channel.reason)

    async def _receive_answers(self, channel: Channel) -> None:
        """Consume a queue of our own: a new one each time, as the old one went with its connection."""
        reply_to = f"um.reply.{self._name}.{next(self._generations)}"
        await channel.declare(reply_to, exclusive=True)
        await channel.consume(reply_to, self._prefetch, self._asking.answered, no_ack=True)
        self._asking.connect(reply_to)

    def _disconnected(self, connection: Connection, now: float) -> None:
        self._connection = None
        if self._lost_since is None:
            self._lost_since = now
        connection.close()
        self._asking.disconnect()

    def _consume_soon(self, key: Key) -> None:
        connection = self._connection
        if connection is None or connection.closed.is_set() or key in self._consuming or key in self._draining:
            return
        self._consuming[key] = asyncio.create_task(self._consume(key, connection), name=queue_of(*key))
        self._consuming[key].add_done_callback(partial(self._consumed, key))

    async def _consume(self, key: Key, connection: Connection) -> None:
        """Consume over one channel after the other until the connection is closed."""
        queue = queue_of(*key)
        backoff = Backoff(self._chance, RECONNECT_SECONDS)
        why = ""
        while not connection.closed.is_set():
            consumer = None
            try:
                channel = await connection.channel()
                if why:
                    await channel.declare(queue)  # it may be what was missing
                consumer = self._consumers[key] = Consumer(channel)
                consumer.answered.set()
                consumer.tag = await channel.consume(queue, self._prefetch, partial(self._arrived, key, consumer))
                consumer.begun.set()
                await channel.closed.wait()
                why = channel.reason
            except BrokerLost as error:
                why = str(error)
            finally:
                if consumer is not None:
                    consumer.tag = ""
            if not connection.closed.is_set():
                log.warning("a mailbox is not consumed; trying again", queue=queue, error=why)
                await asyncio.sleep(backoff.next())

    def _consumed(self, key: Key, task: "asyncio.Task[None]") -> None:
        if self._consuming.get(key) is task:
            del self._consuming[key]
            if key in self._doors:
                self._consume_soon(key)  # there may be a new connection already

    def _arrived(self, key: Key, consumer: Consumer, incoming: Incoming) -> None:
        door = self._doors.get(key)
        if door is None or self._consumers.get(key) is not consumer:
            return  # the channel is being closed: this goes back to the queue
        try:
            envelope = unseal(incoming.body)
            delivery = delivery_of(envelope, self._codecs)
        except (*UNREADABLE, KeyError) as error:
            log.error("none of ours came: a dead letter", queue=queue_of(*key), error=str(error))  # noqa: TRY400 - it says all
            consumer.channel.reject(incoming.tag)
            return
        if envelope.message is not None:
            door(delivery)
            _acknowledge(consumer.channel, incoming.tag)
            return
        if envelope.own == FOLLOW:  # it may be answered much later, and must not take the room of others until then
            delivery.answer = partial(self._tell, envelope)
            door(delivery)
            _acknowledge(consumer.channel, incoming.tag)
            return
        consumer.open += 1
        consumer.answered.clear()
        if incoming.redelivered and envelope.key is None and envelope.own != LOOK:
            self._reply(envelope, consumer, incoming.tag, lost_on_its_way())
            return
        delivery.answer = partial(self._reply, envelope, consumer, incoming.tag)
        if not door(delivery):
            delivery.answer(full())

    def _reply(self, envelope: Envelope, consumer: Consumer, tag: int, answer: Answer | Exception) -> None:
        """Answer, then acknowledge; an answer that gets lost is missed by its asker's deadline."""
        self._tell(envelope, answer)
        _acknowledge(consumer.channel, tag)
        consumer.open -= 1
        if consumer.open == 0:
            consumer.answered.set()

    def _tell(self, envelope: Envelope, answer: Answer | Exception) -> None:
        self._publisher.post(
            Letter(
                envelope.reply_to,
                seal_reply(envelope.ask, answer),
                f"reply {envelope.reply_to} {envelope.ask}",
                mandatory=False,
                failed=lambda _: None,
            )
        )


def _acknowledge(channel: Channel, tag: int) -> None:
    """Over the channel that brought it, or not at all: a tag of another means another delivery."""
    with suppress(BrokerLost):  # it comes again
        channel.ack(tag)


async def _either(*works: Coroutine[Any, Any, Any]) -> None:
    """Wait for the first of them."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
