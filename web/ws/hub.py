"""All live connections of a process: who comes, what they ask for, and how they end."""

import asyncio
from dataclasses import dataclass
from typing import assert_never

import msgspec
from aiohttp import web

from ultramarket.errors import Unavailable
from ultramarket.ports.asking import Actors
from ultramarket.ports.feed import Feed
from ultramarket.runtime.codec import text_fault
from ultramarket.views.tailer import Tailer
from web.quotes import Quoter
from web.services import LiveLimits, Tell
from web.ws import feed, frames
from web.ws.connection import RESTART, TOO_SLOW, Connection
from web.ws.encoding import Encoding
from web.ws.entities import EntityFollower
from web.ws.following import Log
from web.ws.stock import StockTopic

_ENTITIES = ("cart", "order")
_STOCK = "inventory"
STOPS = "The process stops: connect again, and go on after what you have."
"""The reason of a close frame at the stop."""


@dataclass(slots=True)
class Figures:
    """What the hub has done since the start."""

    refused: int = 0
    cut: int = 0


class AskedWrong(Exception):
    """What a client's frame asks for can't be had."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Hub:
    """The live connections.

    Args:
        actors: read the entities that clients ask for.
        log: the events.
        tailer: tells of new ones.
        tell: makes public events.
        quoter: says what is sold.
        limits: of each connection.

    Attributes:
        limits: as given.
        figures: counts.
    """

    def __init__(
        self, actors: Actors, log: Feed, tailer: Tailer, tell: Tell, quoter: Quoter, limits: LiveLimits
    ) -> None:
        self.limits = limits
        self.figures = Figures()
        self._closing = False
        self._actors = actors
        self._quoter = quoter
        self._log = Log(log, tailer, Encoding(tell))
        self._connections: set[Connection] = set()
        self._stocks: dict[str, StockTopic] = {}

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    @property
    def subscriptions(self) -> int:
        """How many there are, over all connections."""
        return sum(len(connection.subscriptions) for connection in self._connections)

    def stops(self) -> bool:
        """Whether nobody is let in any more."""
        return self._closing

    def enter(self, ws: web.WebSocketResponse, transport: asyncio.WriteTransport, *, staff: bool) -> Connection:
        """A client has come."""
        connection = Connection(ws, transport, staff=staff, unread_bytes=self.limits.unread_bytes, on_slow=self._cut)
        self._connections.add(connection)
        return connection

    def leave(self, connection: Connection) -> None:
        """A client has gone."""
        self._connections.discard(connection)
        connection.leave()

    async def stop(self) -> None:
        """Send everybody away: another process, or the next one, goes on."""
        self._closing = True
        gone, self._connections = self._connections, set()
        await asyncio.gather(*(connection.close(RESTART, STOPS) for connection in gone))
        await self._log.stop()

    async def hear(self, connection: Connection, text: str) -> None:
        """Do what a client's frame asks for; what is wrong with it is answered.

        Raises:
            ConnectionError: the client has gone.
        """
        try:
            asked = frames.read(text)
        except msgspec.ValidationError as error:
            await self._answer(connection, "invalid", f"{error}.")
            return
        except (msgspec.DecodeError, RecursionError):
            await self._answer(connection, "malformed_json", "The frame is not JSON: send one JSON object a frame.")
            return
        topic = msgspec.UNSET if isinstance(asked, frames.Ping) else asked.topic
        try:
            await self._do(connection, asked)
        except AskedWrong as error:
            await self._answer(connection, error.code, str(error), topic)
        except Unavailable as error:
            await self._answer(connection, error.code, str(error), topic)

    async def refuse(self, connection: Connection, code: str, detail: str) -> None:
        """Answer a frame that can't be heard at all."""
        await self._answer(connection, code, detail)

    async def _answer(
        self,
        connection: Connection,
        code: str,
        detail: str,
        topic: str | msgspec.UnsetType = msgspec.UNSET,
    ) -> None:
        self.figures.refused += 1
        await connection.say(frames.Error(code=code, detail=detail, topic=topic))

    async def _do(self, connection: Connection, asked: frames.Asked) -> None:
        match asked:
            case frames.Ping():
                await connection.say(frames.Pong())
            case frames.Unsubscribe():
                subscription = connection.subscriptions.pop(asked.topic, None)
                if subscription is None:
                    raise AskedWrong("not_subscribed", "There is no subscription to this topic.")
                subscription.leave()
                connection.put(frames.framed(frames.write(frames.Unsubscribed(topic=asked.topic))))
            case frames.Subscribe():
                await self._subscribe(connection, asked)
            case _:
                assert_never(asked)

    async def _subscribe(self, connection: Connection, asked: frames.Subscribe) -> None:
        if asked.topic in connection.subscriptions:
            raise AskedWrong("already_subscribed", "Unsubscribe first to begin elsewhere.")
        if len(connection.subscriptions) >= self.limits.subscriptions:
            limit = self.limits.subscriptions
            raise AskedWrong("too_many_subscriptions", f"A connection has {limit} subscriptions at most.")
        if asked.topic == feed.TOPIC:
            await self._subscribe_orders(connection, asked.after)
            return
        kind, _, id = asked.topic.partition(":")
        if kind not in (*_ENTITIES, _STOCK) or not id:
            raise AskedWrong(
                "topic_unknown", "The topics are `cart:{id}`, `order:{id}`, `inventory:{sku}` and, for staff, `orders`."
            )
        if isinstance(asked.after, str) or not 0 <= (asked.after or 0) < 1 << 63:
            raise AskedWrong("invalid", "`after` is the version that you have, a whole number from 0 on.")
        if text_fault(id) is not None:
            raise AskedWrong("not_found", f"There is no such {kind}.")
        if kind == _STOCK:
            await self._subscribe_stock(connection, id, asked.after)
        else:
            await self._subscribe_entity(connection, kind, id, asked.after)

    async def _subscribe_entity(self, connection: Connection, kind: str, id: str, after: int | None) -> None:
        # Whoever knows the id of a cart or an order may read it: docs/how-to/live-updates.md.
        shown = await self._actors.read(kind, id)
        if shown is None:
            raise AskedWrong("not_found", f"There is no such {kind}.")
        # What another process has just committed may be in the log and not yet where the entity was read.
        if after is not None and after > shown.version and not await self._log.feed.history(kind, id, after - 1, 1):
            raise AskedWrong("after_ahead", f"The {kind} is at version {shown.version}.")
        after = shown.version if after is None else after
        topic = f"{kind}:{id}"
        follower = EntityFollower(self._log, connection, topic, kind, id, after=after, version=shown.version)
        await follower.listen()
        connection.subscriptions[topic] = follower
        await connection.say(frames.Subscribed(topic=topic, version=after))
        follower.begin()

    async def _subscribe_orders(self, connection: Connection, after: int | str | None) -> None:
        if not connection.staff:
            raise AskedWrong("credentials_required", "This topic is for staff: connect with the staff key.")
        if isinstance(after, int):
            raise AskedWrong("invalid", "`after` is the `position` of the last event that you have.")
        tails = {no: tail for (_, no), tail in (await self._log.feed.tails(feed.PLACES)).items()}
        at = tails
        if after is not None:
            try:
                at = feed.read_position(after)
            except ValueError as error:
                raise AskedWrong("malformed_position", f"Send a `position` as an event brought it: {error}.") from error
            if any(at[no] > tail for no, tail in tails.items()):
                raise AskedWrong("after_ahead", "The log has not come as far as this position.")
        follower = feed.OrdersFollower(self._log, connection, at)
        await follower.listen()
        connection.subscriptions[feed.TOPIC] = follower
        await connection.say(frames.Subscribed(topic=feed.TOPIC, position=feed.write_position(at)))
        follower.begin()

    async def _subscribe_stock(self, connection: Connection, sku: str, after: int | None) -> None:
        topic = self._stocks.get(sku)
        if topic is None:
            topic = self._stocks[sku] = StockTopic(sku, self._actors, self._quoter, self._log, self._stock_idle)
        if not await topic.enter(connection, after):
            raise AskedWrong("not_found", "No product has this SKU.")

    def _stock_idle(self, topic: StockTopic) -> None:
        if self._stocks.get(topic.sku) is topic:
            del self._stocks[topic.sku]

    def _cut(self, connection: Connection) -> None:
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self.figures.cut += 1
        self._log.spawn(connection.close(TOO_SLOW, "Too slow: connect again, and go on after what you have."))
