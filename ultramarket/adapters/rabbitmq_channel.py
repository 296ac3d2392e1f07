"""A channel to RabbitMQ: publishes and acknowledges without waiting, and says at once when it is closed.

It stands on aiormq, which is what aio-pika is made of. Used past its methods are a channel's number, `delivery_tag`,
`confirmations` and `message_id_delivery_tag`: what aiormq's own publishing keeps, to settle confirms and returns.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Protocol, TypeVar

import aiormq
import structlog
from aiormq.abc import ChannelFrame, DeliveredMessage
from aiormq.exceptions import AMQPError, ChannelPreconditionFailed, DeliveryError, PublishError
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from ultramarket.adapters import rabbitmq_topology as topology
from ultramarket.adapters.rabbitmq_stream import Stream
from ultramarket.ports.broker import BrokerError, BrokerLost, Incoming, Mismatch, Rejected, Unroutable

log = structlog.get_logger()
Result = TypeVar("Result")

CALL_SECONDS = 10.0
LOST = (AMQPError, OSError, EOFError, RuntimeError)
"""What aio-pika raises when a connection or channel is gone or never came to be; a timeout is an OSError."""


class Host(Protocol):
    """The connection, as its channels know it."""

    stream: Stream
    arguments: topology.Arguments

    async def declare_exchanges(self, channel: "RabbitChannel") -> None:
        """What queues are bound to."""
        ...

    def finish(self, work: Coroutine[Any, Any, Any]) -> None:
        """Bring this to its end by itself."""
        ...


class Confirm(asyncio.Future[None]):
    """Done when the broker has confirmed a message; aiormq settles it in its own words."""

    def set_result(self, _frame: object) -> None:
        """It is published."""
        super().set_result(None)

    def set_exception(self, error: "type[BaseException] | BaseException") -> None:
        """It is not, or nobody knows."""
        if isinstance(error, PublishError):
            error = Unroutable(error.message.routing_key if error.message else None)
        elif isinstance(error, DeliveryError):
            error = Rejected()
        super().set_exception(error)


class RabbitChannel:
    """A channel; see `ultramarket.ports.broker.Channel`."""

    def __init__(self, connection: Host, channel: aiormq.Channel) -> None:
        self.closed = asyncio.Event()
        self.reason = ""
        self._connection = connection
        self._channel = channel
        channel.closing.add_done_callback(lambda closing: self.lost(reason(closing)))
        channel.on_consumer_cancel_callbacks.add(self._cancelled)

    @property
    def underlay(self) -> aiormq.Channel:
        """The channel of aiormq."""
        return self._channel

    async def depth(self, queue: str) -> tuple[int, int]:
        """Messages that wait in a queue, and its consumers.

        Raises:
            BrokerLost: there is none, and the channel is closed for it.
        """
        found = await self.call(self._channel.queue_declare(queue, passive=True))
        return found.message_count or 0, found.consumer_count or 0

    async def declare(self, queue: str, *, exclusive: bool = False) -> None:
        """Make a queue where there is none, with its bindings."""
        if exclusive:
            await self.call(self._channel.queue_declare(queue, exclusive=True))
        else:
            await self._connection.declare_exchanges(self)
            await self.call(topology.declare(self._channel, queue, self._connection.arguments))

    def publish(self, queue: str, body: bytes, *, mandatory: bool = True) -> "asyncio.Future[None]":
        """Send at once; the future is done when it is confirmed."""
        self._check()
        channel = self._channel
        channel.delivery_tag += 1
        number = channel.delivery_tag
        confirm = Confirm()
        channel.confirmations[number] = confirm
        exchange, key = topology.route(queue)
        properties = commands.Basic.Properties(content_type="application/json", delivery_mode=2 if mandatory else 1)
        if mandatory:
            properties.message_id = name = str(number)  # what a returned message is known by
            channel.message_id_delivery_tag[name] = number
            confirm.add_done_callback(partial(self._forget, name))
        header = ContentHeader(properties=properties, body_size=len(body))
        method = commands.Basic.Publish(exchange=exchange, routing_key=key, mandatory=mandatory)
        self._write(method, header, *self._parts(body))
        return confirm

    async def consume(
        self, queue: str, prefetch: int, callback: Callable[[Incoming], None], *, no_ack: bool = False
    ) -> str:
        """Consume a queue; gives the consumer's tag."""

        async def arrived(message: DeliveredMessage) -> None:
            self._arrived(message, callback)

        await self.call(self._channel.basic_qos(prefetch_count=prefetch))
        consuming = await self.call(self._channel.basic_consume(queue, arrived, no_ack=no_ack))
        return consuming.consumer_tag or ""

    async def cancel(self, consumer_tag: str) -> None:
        """Stop to consume."""
        await self.call(self._channel.basic_cancel(consumer_tag))

    def ack(self, tag: int) -> None:
        """Acknowledge a delivery of this channel."""
        self._check()
        self._write(commands.Basic.Ack(delivery_tag=tag))

    def reject(self, tag: int) -> None:
        """Give a delivery of this channel to the dead letters."""
        self._check()
        self._write(commands.Basic.Reject(delivery_tag=tag, requeue=False))

    def close(self) -> None:
        """Close it, after what was written before."""
        self._end("it was closed here")

    def lost(self, reason: str) -> None:
        """It is closed: what is under way is unknown."""
        if self.closed.is_set():
            return
        self.reason = reason
        self.closed.set()
        for confirm in list(self._channel.confirmations.values()):
            if isinstance(confirm, Confirm) and not confirm.done():
                confirm.set_exception(BrokerLost(reason))

    async def call(self, work: Awaitable[Result]) -> Result:
        """Wait until the broker has done something.

        Raises:
            Mismatch: what is to be declared is there with other arguments.
            BrokerLost: the channel is closed.
        """
        try:
            return await called(work)
        except BrokerLost as error:
            # What the broker does not do for a channel closes it, and so does aiormq where no answer comes.
            self._end(str(error))
            if isinstance(error.__cause__, ChannelPreconditionFailed):
                raise Mismatch(topology.mismatch(str(error))) from error
            raise

    def _arrived(self, message: DeliveredMessage, callback: Callable[[Incoming], None]) -> None:
        delivery = message.delivery
        if self.closed.is_set() or not isinstance(delivery, commands.Basic.Deliver):
            return
        try:
            callback(Incoming(delivery.delivery_tag or 0, message.body, bool(delivery.redelivered)))
        except Exception:
            log.exception("a delivery could not be taken; its channel is closed")
            self.close()

    def _cancelled(self, _frame: object) -> None:
        """The broker stops the delivery: the queue was deleted, or its leader is gone."""
        self._end("the broker cancelled the consumer")

    def _end(self, reason: str) -> None:
        if not self.closed.is_set():
            self.lost(reason)
            self._connection.finish(self._channel.close())

    def _forget(self, name: str, _confirm: "asyncio.Future[None]") -> None:
        self._channel.message_id_delivery_tag.pop(name, None)

    def _parts(self, body: bytes) -> Iterable[ContentBody]:
        size = self._channel.max_content_size
        return (ContentBody(body[start : start + size]) for start in range(0, len(body), size))

    def _write(self, *frames: Any) -> None:
        self._connection.stream.write(ChannelFrame.marshall(self._channel.number, frames).payload)

    def _check(self) -> None:
        if self.closed.is_set() or self._channel.is_closed:
            raise BrokerLost(self.reason or "the channel is closed")


async def called(work: Awaitable[Result]) -> Result:
    """Wait until the broker has done something.

    Raises:
        BrokerLost: it did not, or nobody knows.
    """
    try:
        async with asyncio.timeout(CALL_SECONDS):
            return await work
    except BrokerError:
        raise
    except Exception as error:  # aiormq rejects who waits with whatever ended its reader, a bare Exception among them
        raise BrokerLost(said(error)) from error
    except asyncio.CancelledError:
        # aiormq cancels who waits for what is closed; a cancel that is meant for us goes on.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise BrokerLost("it was closed meanwhile") from None


def said(error: BaseException | None) -> str:
    """What an error says, or its name."""
    return str(error) or type(error).__name__


def reason(closing: "asyncio.Future[Any]") -> str:
    """Why aiormq closed something."""
    return "it was closed" if closing.cancelled() or closing.exception() is None else said(closing.exception())
