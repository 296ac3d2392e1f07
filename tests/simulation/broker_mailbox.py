"""Mailboxes over a broker; see `ultramarket.ports.mailbox.Mailbox`.

How order is kept: one channel a partition; never a nack with requeue, never a cancel while something is held; an
acknowledgement only over the channel that brought the delivery; one unconfirmed message a source, published again
before anything behind it. Every close of a channel or connection leads through the same start.

When a delivery is acknowledged:

- A message: once the owner's door was asked, whatever it said. Its outbox row is the truth: what the door took in and
  lost, or refused, is brought by the owner's sweep. This holds only as long as whoever acknowledges owns the partition.
- A client's command: once it was answered, that is, committed or refused; nobody else remembers it. One that comes
  again may have taken effect: with an idempotency key it is judged anew and finds its kept answer, without one it is
  answered `outcome_unknown`.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count

from tests.simulation.broker import Broker, BrokerError, BrokerLost, Channel, Connection, Incoming, Rejected
from tests.simulation.broker_publisher import AGAIN_SECONDS, Letter, Publisher
from tests.simulation.broker_wire import Envelope, delivery_of, seal, seal_reply, settle_reply, unseal
from ultramarket.errors import Rejection, Unavailable
from ultramarket.ports.asking import Answer
from ultramarket.ports.mailbox import Deliver, Delivery
from ultramarket.runtime.codec import KindCodec
from ultramarket.runtime.owner import outcome_unknown
from ultramarket.runtime.partitioning import PARTITIONS

Settle = Callable[[Answer | Exception], None]
Key = tuple[str, int]


def queue_of(kind: str, no: int) -> str:
    """The queue of a partition, e.g. `um.cmd.cart.07`."""
    return f"um.cmd.{kind}.{no:02d}"


class BrokerMailbox:
    """The mailbox of one process.

    Args:
        broker: what carries.
        name: the process, unique.
        codecs: of every kind of actor and worker.
        direct: what is for a partition of this process goes to its door at once; but messages only as long as none was
            published for it, which they might overtake.
        prefetch: deliveries of a partition that may be unacknowledged.
        limit: commands and messages that may wait to be published before a command is refused. A message never is: its
            owner, elsewhere, would not know that later ones of the pair must wait behind it.
        ask_seconds: after this time nobody waits for an answer any more.

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
    ) -> None:
        self._broker = broker
        self._name = name
        self._codecs = codecs
        self._direct = direct
        self._prefetch = prefetch
        self._limit = limit
        self._ask_seconds = ask_seconds
        self._publisher = Publisher(lambda: broker.connect(name))
        self._doors: dict[Key, Deliver] = {}
        self._channels: dict[Key, Channel] = {}
        self._consumers: dict[Key, asyncio.Task[None]] = {}
        self._consuming: set[Key] = set()
        self._published: set[Key] = set()
        self._connection: Connection | None = None
        self._reply_to = ""
        self._asks = count(1)
        self._generations = count(1)
        self._asked: dict[int, Settle] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.connected = asyncio.Event()

    # The port

    def open(self, kind: str, no: int, deliver: Deliver) -> None:
        """Consume a partition's mailbox, once started."""
        self._doors[kind, no] = deliver
        self._consume_soon((kind, no))

    def close(self, kind: str, no: int) -> None:
        """Stop to consume: what is not settled goes back to the queue, for the next owner."""
        self._doors.pop((kind, no), None)
        task = self._consumers.pop((kind, no), None)
        if task is not None:
            task.cancel()
        channel = self._channels.pop((kind, no), None)
        if channel is not None:
            channel.close()

    def offer(self, delivery: Delivery) -> bool:
        """Hand on without waiting: to the door where it is ours, else to be published in order."""
        key = (delivery.kind, delivery.no)
        door = self._doors.get(key) if self._direct else None
        if door is not None and (delivery.message is None or key not in self._published):
            return door(delivery)
        queue = queue_of(*key)
        if delivery.message is not None:
            self._published.add(key)
            self._publisher.post(Letter(queue, seal(delivery), delivery.source))
            return True
        return delivery.answer is not None and self._ask(queue, delivery, delivery.answer)

    # Life

    async def start(self) -> None:
        """Begin to publish and to consume: the runtime has taken its partitions and swept their outbox once."""
        self._tasks = [
            asyncio.create_task(self._publisher.run(), name=f"{self._name} publishes"),
            asyncio.create_task(self._stay_connected(), name=f"{self._name} consumes"),
        ]

    async def stop(self) -> None:
        """Stop to publish and to consume; who still waits for an answer gets none but that."""
        tasks = [*self._tasks, *self._consumers.values()]
        self._consumers.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def idle(self) -> bool:
        """Whether every open mailbox is consumed, and nothing waits to be published or to be answered."""
        return self._consuming >= self._doors.keys() and self._publisher.depth == 0 and not self._asked

    # Asking

    def _ask(self, queue: str, delivery: Delivery, settle: Settle) -> bool:
        if not self.connected.is_set() or self._publisher.depth >= self._limit:
            return False
        number = next(self._asks)
        try:
            body = seal(delivery, self._reply_to, number)
        except UnicodeEncodeError:
            settle(Answer(rejection=Rejection("too_large_or_bad_text", "A text holds a lone surrogate.", 422)))
            return True
        self._asked[number] = settle
        asyncio.get_running_loop().call_later(self._ask_seconds, self._asked.pop, number, None)
        self._publisher.post(
            Letter(
                queue,
                body,
                f"ask {number}",
                wanted=lambda: number in self._asked,
                failed=partial(self._not_asked, number),
            )
        )
        return True

    def _not_asked(self, number: int, error: BrokerError) -> None:
        settle = self._asked.pop(number, None)
        if settle is None:
            return
        if isinstance(error, BrokerLost):
            settle(outcome_unknown())
        elif isinstance(error, Rejected):
            settle(Unavailable("mailbox_full", "More is asked of this part of the shop than it can take; try again."))
        else:
            settle(Unavailable("not_ready", "This part of the shop is starting up; try again."))

    def _answered(self, incoming: Incoming) -> None:
        settle_reply(incoming.body, lambda number: self._asked.pop(number, None))

    # Consuming

    async def _stay_connected(self) -> None:
        while True:
            try:
                connection = await self._broker.connect(self._name)
            except BrokerLost:
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            try:
                channel = connection.channel()
                await self._declare(channel)
                await self._receive_answers(channel)
                self._connection = connection
                for key in self._doors:
                    self._consume_soon(key)
                await connection.closed.wait()
            except BrokerLost:
                await asyncio.sleep(AGAIN_SECONDS)
            finally:
                self._disconnected(connection)

    async def _declare(self, channel: Channel) -> None:
        """Every queue there is: messages wait in it also while nobody owns its partition."""
        queues = [queue_of(kind, no) for kind in self._codecs for no in range(PARTITIONS)]
        await asyncio.gather(*map(channel.declare, queues))

    async def _receive_answers(self, channel: Channel) -> None:
        """Consume a queue of our own: a new one each time, as the old one went with its connection."""
        reply_to = f"um.reply.{self._name}.{next(self._generations)}"
        await channel.declare(reply_to, exclusive=True)
        await channel.consume(reply_to, self._prefetch, self._answered, no_ack=True)
        self._reply_to = reply_to
        self.connected.set()

    def _disconnected(self, connection: Connection) -> None:
        self._connection = None
        self.connected.clear()
        connection.close()
        # Their answers would go to a queue that is no more.
        asked, self._asked = self._asked, {}
        for settle in asked.values():
            settle(outcome_unknown())

    def _consume_soon(self, key: Key) -> None:
        connection = self._connection
        if connection is not None and not connection.closed.is_set() and key not in self._consumers:
            self._consumers[key] = asyncio.create_task(self._consume(key, connection), name=queue_of(*key))
            self._consumers[key].add_done_callback(partial(self._consumed, key))

    async def _consume(self, key: Key, connection: Connection) -> None:
        """Consume over one channel after the other until the connection is closed."""
        while not connection.closed.is_set():
            try:
                channel = self._channels[key] = connection.channel()
                await channel.consume(queue_of(*key), self._prefetch, partial(self._arrived, key, channel))
                self._consuming.add(key)
                await channel.closed.wait()
            except BrokerLost:
                await asyncio.sleep(AGAIN_SECONDS)
            finally:
                self._consuming.discard(key)

    def _consumed(self, key: Key, task: "asyncio.Task[None]") -> None:
        if self._consumers.get(key) is task:
            del self._consumers[key]
            if key in self._doors:
                self._consume_soon(key)  # there may be a new connection already

    def _arrived(self, key: Key, channel: Channel, incoming: Incoming) -> None:
        door = self._doors.get(key)
        if door is None or self._channels.get(key) is not channel:
            return  # the channel is being closed: this goes back to the queue
        envelope = unseal(incoming.body)
        delivery = delivery_of(envelope, self._codecs)
        if envelope.message is not None:
            door(delivery)
            _acknowledge(channel, incoming.tag)
        elif incoming.redelivered and envelope.key is None:
            self._reply(envelope, channel, incoming.tag, outcome_unknown())
        else:
            delivery.answer = partial(self._reply, envelope, channel, incoming.tag)
            if not door(delivery):
                full = "More is asked of this part of the shop than it can take; try again."
                delivery.answer(Unavailable("mailbox_full", full))

    def _reply(self, envelope: Envelope, channel: Channel, tag: int, answer: Answer | Exception) -> None:
        """Answer, then acknowledge; an answer that gets lost is missed by its asker's deadline."""
        self._publisher.post(
            Letter(
                envelope.reply_to,
                seal_reply(envelope.ask, answer),
                f"reply {envelope.reply_to} {envelope.ask}",
                mandatory=False,
                failed=lambda _: None,
            )
        )
        _acknowledge(channel, tag)


def _acknowledge(channel: Channel, tag: int) -> None:
    """Over the channel that brought it, or not at all: a tag of another means another delivery."""
    if not channel.closed.is_set():
        channel.ack(tag)
