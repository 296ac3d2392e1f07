"""A simulated RabbitMQ with the quirks that matter for order and loss; all waits are virtual, all choices are seeded.

What it does, and where that is written:

- Quorum queues, reject-publish, returned messages, the single active consumer: see `QuorumQueue`.
- What a channel or a connection holds unacknowledged is requeued with the flag `redelivered` when it closes
  (https://www.rabbitmq.com/docs/confirms#automatic-requeueing); an acknowledgement sent just before may be ignored
  (https://github.com/rabbitmq/rabbitmq-server/issues/10327).
- Delivery tags belong to a channel: one that it does not know closes it with 406 PRECONDITION_FAILED
  (https://www.rabbitmq.com/docs/confirms#consumer-acks-delivery-tags). One that it does know is acknowledged, even if
  its sender meant another channel's.
- Confirms come late, and are lost with the connection: whether such a message was published is not known
  (https://www.rabbitmq.com/docs/confirms#publisher-confirms). A message for no queue is returned if it is mandatory,
  and confirmed all the same (https://www.rabbitmq.com/docs/publishers#unroutable).
- nack with requeue puts a message behind what was returned before it, and thereby behind later ones
  (https://github.com/rabbitmq/rabbitmq-server/issues/10499).
- Under an alarm connections that publish are not read any more, acknowledgements and all; others go on
  (https://www.rabbitmq.com/docs/alarms).
- More than `delivery_limit` returns make a dead letter (https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling).
- A connection that breaks is noticed at its two ends at different times (https://www.rabbitmq.com/docs/heartbeats).
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextvars import Context
from random import Random

from tests.simulation.broker_connection import Channel, Connection
from tests.simulation.broker_queue import Pipe, QuorumQueue
from ultramarket.ports.broker import BrokerLost

__all__ = ["Broker", "Channel", "Connection"]


class Broker:
    """One broker and its queues; a world cuts, restarts, blocks and switches it.

    Args:
        random: for the choices that the network or a crash makes.
        delay: seconds that a frame needs one way.
        write: seconds until a queue has written something; as `delay` when None.
        max_length: messages that may wait in a queue.
        delivery_limit: how often a message may come back.
    """

    def __init__(
        self,
        random: Random,
        delay: Callable[[], float],
        write: Callable[[], float] | None = None,
        *,
        max_length: int = 20_000,
        delivery_limit: int = 1000,
    ) -> None:
        self.random = random
        self.delay = delay
        self.queues: dict[str, QuorumQueue] = {}
        self.connections: dict[str, list[Connection]] = defaultdict(list)
        self.unreachable: set[str] = set()
        self.blocked = False
        self.down = False
        self.violations: list[str] = []
        self._write = write or delay
        self._max_length = max_length
        self._delivery_limit = delivery_limit

    async def connect(self, name: str) -> "Connection":
        """Connect a replica; the connection's events are handled in the caller's context.

        Raises:
            BrokerLost: it can't be reached.
        """
        await asyncio.sleep(self.delay())
        await asyncio.sleep(self.delay())
        if self.down or name in self.unreachable:
            raise BrokerLost("the broker can't be reached")
        connection = Connection(self, name)
        self.connections[name].append(connection)
        return connection

    async def close(self) -> None:
        """Connections that are closed are gone by themselves."""

    def declare(self, name: str) -> QuorumQueue:
        """A queue, made where there is none."""
        if name not in self.queues:
            log = Pipe(self._write, Context())
            self.queues[name] = QuorumQueue(name, log, self.random, self._max_length, self._delivery_limit)
        return self.queues[name]

    # What a world does to it

    def cut(self, replica: str, client_learns: float = 0.0, broker_learns: float = 0.0) -> None:
        """Break the connections of a replica; each end learns of it after so many seconds.

        Until then it may write, and that is lost. A replica in `unreachable` does not come back before it is taken out.
        """
        for connection in self.connections.pop(replica, []):
            connection.cut(client_learns, broker_learns)

    def restart(self, seconds: float) -> None:
        """Die and come back after so many seconds: connections break, what was being written may be lost."""
        self.down = True
        connections, self.connections = self.connections, defaultdict(list)
        for queue in list(self.queues.values()):
            queue.restart()
        for replica in connections.values():
            for connection in replica:
                connection.cut(died=True)
        asyncio.get_running_loop().call_later(seconds, self._up, context=Context())

    def _up(self) -> None:
        self.down = False

    def block(self) -> None:
        """Memory or disk run low: who publishes is not read any more."""
        self.blocked = True
        for connection in self._all():
            if connection.publishes:
                connection.to_broker.pause()

    def unblock(self) -> None:
        """There is room again."""
        self.blocked = False
        for connection in self._all():
            connection.to_broker.resume()

    def nack(self, share: float) -> None:
        """Queues are in trouble, e.g. without a leader: they refuse so many of the messages that are published.

        See https://www.rabbitmq.com/docs/confirms#when-publishes-are-confirmed.
        """
        for queue in self.queues.values():
            queue.nacks = share

    def switch(self, queue: str) -> None:
        """Make another consumer the active one, if there is any; what the first held is delivered again."""
        self.queues[queue].switch()

    def quiet(self) -> bool:
        """Whether nothing is on its way, and nothing waits that somebody would consume."""
        pipes = [pipe for connection in self._all() for pipe in (connection.to_broker, connection.to_client)]
        return not any(pipes) and not any(
            len(queue.log) or (queue.consumers and len(queue)) or any(c.held for c in queue.consumers)
            for queue in self.queues.values()
        )

    def left(self) -> list[str]:
        """What is wrong with a broker whose replicas rest: nothing may wait, be held or have been refused."""
        waiting = [f"{len(queue)} deliveries wait in {queue.name}" for queue in self.queues.values() if len(queue)]
        dead = [f"{len(queue.dead)} dead letters of {queue.name}" for queue in self.queues.values() if queue.dead]
        held = [
            f"{connection.replica} does not acknowledge {count} deliveries"
            for connection in self._all()
            if (count := connection.unacknowledged())
        ]
        return [*self.violations, *waiting, *dead, *held]

    def _all(self) -> list["Connection"]:
        return [connection for replica in self.connections.values() for connection in replica]
