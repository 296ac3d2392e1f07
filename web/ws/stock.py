"""The topic `inventory:{sku}`: the newest stock, a few times a second at most, for all who follow the SKU at once."""

import asyncio
from collections.abc import Callable

from ultramarket.errors import Unavailable
from ultramarket.messages.inventory import ShownStock, StockChanged
from ultramarket.ports.asking import Actors
from ultramarket.ports.feed import Logged, Place
from ultramarket.runtime.partitioning import partition_of
from web.quotes import Quoter
from web.ws.connection import Connection
from web.ws.following import Log
from web.ws.frames import Error, Event, Subscribed, framed, write

PAUSE_SECONDS = 0.2
"""From one state told to the next: five a second."""
MEMORY_SECONDS = 0.02
"""After this time an entity is read again that is not yet in memory as it was seen in the log."""
AGAIN_SECONDS = 0.5
"""After this time a store that could not be read is read again."""


class StockTopic:
    """The stock of a SKU, as long as somebody follows it.

    Guests may follow what they may read: while the SKU's product is published.

    Args:
        sku: of the stock.
        actors: read the stock.
        quoter: says whether it is sold.
        log: tells of events.
        idle: told when nobody follows it any more.
    """

    def __init__(
        self, sku: str, actors: Actors, quoter: Quoter, log: Log, idle: "Callable[[StockTopic], None]"
    ) -> None:
        self.sku = sku
        self.name = f"inventory:{sku}"
        self._actors = actors
        self._quoter = quoter
        self._log = log
        self._idle = idle
        self._followers: dict[Connection, int] = {}
        self._entering = 0
        self._lock = asyncio.Lock()
        self._places: tuple[Place, ...] = (("inventory", partition_of("inventory", sku)),)
        self._listens = False
        self._telling = False
        self._wanted = 0
        self._stock: ShownStock | None = None
        self._product = ""
        self._judging = False
        self._judged = 0

    async def enter(self, connection: Connection, after: int | None) -> bool:
        """Tell a connection of the stock now, where it is not at version `after`, and from then on; False: it must not.

        Raises:
            Unavailable: the store can't be reached.
        """
        self._entering += 1
        try:
            if not connection.staff and await self._sold() is None:
                return False
            stock = await self._first()
            if stock is None:
                return False
            self._followers[connection] = stock.version
            connection.subscriptions[self.name] = _Membership(self, connection)
            connection.put(framed(write(Subscribed(topic=self.name, version=stock.version))))
            if after is None or stock.version != after:
                connection.put(self._frame(stock))
        finally:
            self._entering -= 1
            self._end_if_idle()
        self._tell_soon()
        return True

    def leave(self, connection: Connection) -> None:
        """Tell this connection no more."""
        self._followers.pop(connection, None)
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._followers or self._entering:
            return
        if self._listens:
            self._log.tailer.leave(self._places, self.sku, self._take)
            self._listens = False
        self._unwatch()
        self._idle(self)

    async def _first(self) -> ShownStock | None:
        """The stock for one who has just come."""
        async with self._lock:
            fresh = not self._listens
            if fresh:
                await self._log.tailer.listen(self._places, self.sku, self._take)
                self._listens = True
            stock = await self._read()
            if stock is not None and fresh:
                for event in await self._log.feed.history("inventory", self.sku, stock.version, 1):
                    self._wanted = max(self._wanted, event.version)
        if stock is not None and self._stock is not None and self._stock.version > stock.version:
            return self._stock
        return stock

    def _take(self, event: Logged) -> None:
        self._wanted = max(self._wanted, event.version)
        self._tell_soon()

    def _tell_soon(self) -> None:
        """Tell what has not been told yet, unless that is being done."""
        if not self._telling and min(self._followers.values(), default=self._wanted) < self._wanted:
            self._telling = True
            self._log.spawn(self._tell())

    async def _tell(self) -> None:
        """Tell all followers of the newest state, until it is the one that was last heard of."""
        try:
            while min(self._followers.values(), default=self._wanted) < self._wanted:
                pause = await self._tell_once()
                await asyncio.sleep(pause)
        finally:
            self._telling = False

    async def _tell_once(self) -> float:
        """Tell the newest state; gives the seconds to wait before the next time."""
        try:
            stock = await self._read()
        except Unavailable:
            return AGAIN_SECONDS
        if stock is None or stock.version < self._wanted:
            return MEMORY_SECONDS
        self._stock = stock
        frame = self._frame(stock)
        for connection, version in self._followers.items():
            if version < stock.version:
                self._followers[connection] = stock.version
                connection.put(frame)
        return PAUSE_SECONDS

    def _frame(self, stock: ShownStock) -> bytes:
        data = StockChanged(on_hand=stock.on_hand, held=stock.held, available=stock.available, version=stock.version)
        name, now = type(data).__name__, self._actors.now()
        return framed(write(Event(topic=self.name, version=stock.version, event=name, data=data, at=now)))

    async def _read(self) -> ShownStock | None:
        """The stock; zeros where a product has the SKU and it was never stocked; None where none has."""
        shown = await self._actors.read("inventory", self.sku)
        if shown is not None:
            stock: ShownStock = shown.value
            return stock
        if await self._actors.owner("sku", self.sku) is None:
            return None
        return ShownStock(sku=self.sku, on_hand=0, held=0, available=0, version=0)

    async def _sold(self) -> int | None:
        """The version of the published product that has the SKU, which is watched from then on; None: there is none."""
        while True:
            found = await self._quoter.find(self.sku)
            if found is None:
                return None
            id, version = found[0].id, found[0].version
            async with self._lock:
                if id == self._product:
                    return version
                self._unwatch()
                await self._log.tailer.listen(_product_place(id), id, self._doubt)
                self._product = id
            # What happened before it was watched and is not in memory yet would not be heard of.
            if await self._log.feed.history("product", id, version, 1):
                await asyncio.sleep(MEMORY_SECONDS)

    def _unwatch(self) -> None:
        if self._product:
            self._log.tailer.leave(_product_place(self._product), self._product, self._doubt)
            self._product = ""

    def _doubt(self, event: Logged) -> None:
        """The product changed: may guests still follow?"""
        self._judged = event.version
        if not self._judging:
            self._judging = True
            self._log.spawn(self._judge())

    async def _judge(self) -> None:
        """Look at the product as it is since its last event; end what guests follow where it is not sold any more."""
        try:
            while self._followers:
                wanted = self._judged
                try:
                    version = await self._sold()
                except Unavailable:
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                if version is None:
                    self._end_for_guests()
                    return
                if version >= wanted and wanted == self._judged:
                    return
                await asyncio.sleep(MEMORY_SECONDS)
        finally:
            self._judging = False
            self._end_if_idle()  # it may have begun to watch a product after everybody had left

    def _end_for_guests(self) -> None:
        error = Error(code="not_found", detail="No product has this SKU any more.", topic=self.name)
        for connection in [each for each in self._followers if not each.staff]:
            connection.drop(self.name, error)


class _Membership:
    """A connection's subscription to the stock of a SKU."""

    __slots__ = ("_connection", "_topic")

    def __init__(self, topic: StockTopic, connection: Connection) -> None:
        self._topic = topic
        self._connection = connection

    def leave(self) -> None:
        self._topic.leave(self._connection)


def _product_place(product: str) -> tuple[Place, ...]:
    return (("product", partition_of("product", product)),)
