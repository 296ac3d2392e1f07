"""A broker carries the mailboxes of several processes: queues, publishing with confirms, consuming with acks.

The words are those of AMQP 0-9-1 (https://www.rabbitmq.com/amqp-0-9-1-reference).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ultramarket.errors import UltraMarketError


class BrokerError(UltraMarketError):
    """The broker did not do what it was asked."""


class BrokerLost(BrokerError):
    """It can't be reached, or the connection or channel is closed; what was under way may have been done or not."""


class Mismatch(BrokerLost):
    """A queue is there with other arguments; the text says which, and what to do. The channel is closed."""


class Rejected(BrokerError):
    """The queue is full: the message was not taken (basic.nack)."""

    def __init__(self) -> None:
        super().__init__("the queue is full")


class Unroutable(BrokerError):
    """There is no such queue: a mandatory message was returned."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A delivery, as its consumer gets it.

    Attributes:
        tag: names it on the channel that brought it, and on no other.
        redelivered: it may have been delivered before.
    """

    tag: int
    body: bytes
    redelivered: bool


class Channel(Protocol):
    """A channel: everything of it is in order, and it closes by itself when something goes wrong.

    Attributes:
        closed: set as soon as it can't be used any more, whoever closed it.
        reason: why it is closed.
    """

    closed: asyncio.Event
    reason: str

    async def declare(self, queue: str, *, exclusive: bool = False) -> None:
        """Make a queue where there is none; an exclusive one is this connection's alone and goes with it.

        Raises:
            Mismatch: it is there with other arguments.
            BrokerLost: the channel is closed.
        """
        ...

    def publish(self, queue: str, body: bytes, *, mandatory: bool = True) -> "asyncio.Future[None]":
        """Send at once, without waiting; the future is done when the broker has confirmed it.

        A mandatory message is persistent, and is returned when there is no such queue.

        Raises:
            BrokerLost: the channel is closed. The future raises this (unknown), `Rejected` (full) or `Unroutable`.
        """
        ...

    async def consume(
        self, queue: str, prefetch: int, callback: Callable[[Incoming], None], *, no_ack: bool = False
    ) -> str:
        """Consume a queue; gives the consumer's tag. Deliveries may come before it is returned.

        Raises:
            BrokerLost: the channel is closed, e.g. because there is no such queue.
        """
        ...

    async def cancel(self, consumer_tag: str) -> None:
        """Stop to consume; what is unacknowledged stays with this channel until it is acknowledged or closed.

        Raises:
            BrokerLost: the channel is closed.
        """
        ...

    def ack(self, tag: int) -> None:
        """Acknowledge a delivery of this channel.

        Raises:
            BrokerLost: the channel is closed.
        """
        ...

    def reject(self, tag: int) -> None:
        """Give a delivery of this channel to the dead letters.

        Raises:
            BrokerLost: the channel is closed.
        """
        ...

    def close(self) -> None:
        """Close it: unacknowledged deliveries go back to their queue. Harmless when it is closed."""
        ...


class Connection(Protocol):
    """A connection.

    Attributes:
        closed: set as soon as it can't be used any more, whoever closed it.
    """

    closed: asyncio.Event

    async def channel(self) -> Channel:
        """A new channel.

        Raises:
            BrokerLost: the connection is closed.
        """
        ...

    def close(self) -> None:
        """Close it and its channels: what was sent before still arrives. Harmless when it is closed."""
        ...


class Broker(Protocol):
    """What carries the mailboxes."""

    async def connect(self, name: str) -> Connection:
        """Connect.

        Args:
            name: who connects, for people who look at the broker.

        Raises:
            BrokerLost: it can't be reached, or does not let us in; the text says why.
        """
        ...

    async def close(self) -> None:
        """Wait until the connections that were closed are gone."""
        ...
