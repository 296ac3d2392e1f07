"""RabbitMQ behind the port `Broker`, with aio-pika; see `ultramarket.ports.broker`.

aio-pika connects, declares and consumes. What is hot, publishing and acknowledging, is written without waiting, with
what else gathered in the same turn of the event loop: aio-pika's way would be a task, and a wait, a message.

Connections are plain ones, also those that publish: whoever uses one makes the next one himself, with the state that
belongs to it, where a robust one would bring back consumers behind his back.
"""

import asyncio
import logging
import ssl
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any, cast

import aio_pika
import aiormq
import msgspec
import structlog
from aiormq.exceptions import (
    AuthenticationError,
    ChannelNotFoundEntity,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from yarl import URL

from ultramarket.adapters import rabbitmq_topology as topology
from ultramarket.adapters.rabbitmq_channel import LOST, RabbitChannel, called, reason, said
from ultramarket.adapters.rabbitmq_stream import Stream
from ultramarket.adapters.rabbitmq_topology import version_faults
from ultramarket.errors import UltraMarketError
from ultramarket.ports.broker import BrokerLost

__all__ = ["BrokerReport", "RabbitConnection", "RabbitMq", "version_faults"]

log = structlog.get_logger()
# Why a connection or channel is closed is told by whoever uses it; aiormq would add a traceback to each.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)

HEARTBEAT_SECONDS = 5
CONNECT_SECONDS = 5.0
CLOSE_SECONDS = 3.0
_PORTS = {"amqp": 5672, "amqps": 5671}


class Depth(msgspec.Struct, frozen=True):
    """A queue: messages that wait, and consumers."""

    queue: str
    messages: int
    consumers: int


class BrokerReport(msgspec.Struct, frozen=True):
    """How a server stands.

    Attributes:
        faults: what is known to be wrong with its version.
        depths: the queues that are there.
        missing: the queues that are not.
        dead: dead letters.
    """

    version: str
    faults: list[str]
    depths: list[Depth]
    missing: list[str]
    dead: int


class _Connection(aio_pika.Connection):
    """A connection of aio-pika whose socket is ours."""

    def __init__(self, url: URL, name: str) -> None:
        super().__init__(url, client_properties={"connection_name": name})
        self.stream = Stream()
        self.kwargs["transport_factory"] = self.stream


class RabbitConnection:
    """A connection; see `ultramarket.ports.broker.Connection`.

    Attributes:
        version: of the server.
        arguments: of the queues that are declared over it.
    """

    def __init__(
        self,
        connection: _Connection,
        underlay: aiormq.abc.AbstractConnection,
        arguments: topology.Arguments,
        finishing: "set[asyncio.Task[None]]",
    ) -> None:
        self.closed = asyncio.Event()
        self.stream = connection.stream
        self.arguments = arguments
        self.version = str(underlay.server_properties.get("version", ""))
        self._connection = connection
        self._finishing = finishing
        self._channels: list[RabbitChannel] = []
        self._declaring = asyncio.Lock()
        self._declared = False
        underlay.closing.add_done_callback(lambda closing: self._lost(reason(closing)))

    async def channel(self) -> RabbitChannel:
        """A new channel."""
        if self.closed.is_set():
            raise BrokerLost("the connection is closed")
        opened = await called(self._open())
        if self.closed.is_set():
            raise BrokerLost("the connection is closed")
        channel = RabbitChannel(self, opened)
        self._channels = [one for one in self._channels if not one.closed.is_set()]
        self._channels.append(channel)
        return channel

    async def declare_exchanges(self, channel: RabbitChannel) -> None:
        """What queues are bound to, once a connection."""
        async with self._declaring:
            if not self._declared:
                await channel.call(topology.declare_exchanges(channel.underlay))
                self._declared = True

    def close(self) -> None:
        """Close it: what was sent before still arrives."""
        if not self.closed.is_set():
            self.stream.flush()
            self._lost("it was closed here")
            self.finish(self._close())

    def finish(self, work: Coroutine[Any, Any, Any]) -> None:
        """Bring this to its end by itself, after what was written before."""
        self.stream.flush()
        task = asyncio.ensure_future(_finish(work))
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def _open(self) -> aiormq.Channel:
        channel = self._connection.channel(on_return_raises=True)
        await channel.initialize()
        return cast("aiormq.Channel", await channel.get_underlay_channel())

    async def _close(self) -> None:
        try:
            await self._connection.close()
        finally:
            self.stream.abort()

    def _lost(self, why: str) -> None:
        if not self.closed.is_set():
            self.closed.set()
            for channel in self._channels:
                channel.lost(why)


class RabbitMq:
    """A RabbitMQ server or cluster, 3.10 or later.

    Args:
        url: `amqp://user:password@host:port/vhost`, or `amqps://` for TLS; further options of TLS as aio-pika has them,
            e.g. `?cafile=/path/ca.pem`.
        max_length: messages that may wait in a partition's queue.
        delivery_limit: how often a delivery may come back before it is a dead letter.
    """

    def __init__(
        self, url: str, *, max_length: int = topology.MAX_LENGTH, delivery_limit: int = topology.DELIVERY_LIMIT
    ) -> None:
        self._url = URL(url).update_query(heartbeat=str(HEARTBEAT_SECONDS))
        self._arguments = topology.arguments(max_length, delivery_limit)
        self._finishing: set[asyncio.Task[None]] = set()

    async def connect(self, name: str) -> RabbitConnection:
        """Connect.

        Raises:
            BrokerLost: it can't be reached, or does not let us in; the text says why, without the password.
        """
        connection = _Connection(self._url, name)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.connect()
            underlay = connection.transport.connection if connection.transport is not None else None
            if underlay is None or underlay.is_closed:
                raise ConnectionError("it closed the connection")
        except LOST as error:
            connection.stream.abort()
            raise BrokerLost(self._why(error)) from error
        except asyncio.CancelledError:
            connection.stream.abort()
            raise
        return RabbitConnection(connection, underlay, self._arguments, self._finishing)

    async def close(self) -> None:
        """Wait until what was closed is gone."""
        while self._finishing:
            await asyncio.wait(self._finishing)

    async def prepare(self, queues: Iterable[str]) -> str:
        """Make what is not there yet; gives the server's version. To be called once before the mailboxes start.

        Raises:
            Mismatch: a queue is there with other arguments; says which, and what to do.
            BrokerLost: the server can't be reached.
            UltraMarketError: the server is too old.
        """
        connection = await self.connect("um prepares")
        try:
            for fault in version_faults(connection.version):
                log.warning("known trouble with this version of the broker", detail=fault)
            if topology.too_old(connection.version):
                raise UltraMarketError(" ".join(version_faults(connection.version)))
            channel = await connection.channel()
            for queue in queues:
                await channel.declare(queue)
            return connection.version
        finally:
            connection.close()
            await self.close()

    async def examine(self, queues: Iterable[str]) -> BrokerReport:
        """Look at the server, and change nothing.

        Raises:
            BrokerLost: the server can't be reached.
        """
        connection = await self.connect("um examines")
        depths, missing = [], []
        try:
            channel = await connection.channel()
            for queue in (*queues, topology.DEAD):
                try:
                    depths.append(Depth(queue, *await channel.depth(queue)))
                except BrokerLost as error:
                    if not isinstance(error.__cause__, ChannelNotFoundEntity):
                        raise
                    missing.append(queue)
                    channel = await connection.channel()
        finally:
            connection.close()
            await self.close()
        dead = sum(depth.messages for depth in depths if depth.queue == topology.DEAD)
        depths = [depth for depth in depths if depth.queue != topology.DEAD]
        return BrokerReport(connection.version, version_faults(connection.version), depths, missing, dead)

    def _why(self, error: BaseException) -> str:
        """Why there is no connection, in a sentence without the password."""
        url = self._url
        where = f"RabbitMQ at {url.host}:{url.port or _PORTS.get(url.scheme, 0)}"
        if isinstance(error, AuthenticationError | ProbableAuthenticationError):
            return (
                f"{where} does not let the user {url.user or 'guest'!r} in: correct user and password of the URL. (The "
                "user guest may come from the same machine only.)"
            )
        if isinstance(error, InvalidFrameError) and "Connection.OpenOk" in str(error):
            return (
                f"{where} does not let the user {url.user or 'guest'!r} into the virtual host {url.path!r}: make it "
                "(rabbitmqctl add_vhost), give the user its rights (set_permissions), or correct the URL."
            )
        cause = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
        if isinstance(cause, ssl.SSLError):
            return f"{where} can't be reached over TLS: {cause.reason or said(cause)}."
        if isinstance(error, TimeoutError):
            return f"{where} does not answer within {CONNECT_SECONDS:.0f} s."
        return f"{where} can't be reached: {said(error)}. Is ULTRAMARKET_BROKER_URL right, and does the server run?"


async def _finish(work: Coroutine[Any, Any, Any]) -> None:
    """Bring to its end what nobody waits for: if it fails, it is closed all the same."""
    with suppress(*LOST):
        async with asyncio.timeout(CLOSE_SECONDS):
            await work
