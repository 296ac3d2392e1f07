"""Publishes to a broker: in order for each source, again after a lost connection, many sources at once."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from random import Random

import structlog

from ultramarket.ports.broker import BrokerError, BrokerLost, Channel, Connection
from ultramarket.runtime.owner import CHANCE, Backoff

log = structlog.get_logger()

WINDOW = 100
"""Unconfirmed messages at once, of as many lanes."""
RECONNECT_SECONDS = 2.0
"""The longest wait before a connection is tried again: consumers are to be back soon after their broker."""
STEADY_SECONDS = 10.0
"""A connection that lasted so long is followed by another one with the shortest delay."""


@dataclass(slots=True, eq=False)
class Letter:
    """Something to publish.

    Attributes:
        lane: letters of one lane are published one after the other, each after the confirm of the one before.
        wanted: whether it is still worth sending.
        failed: told when it could not be published, or nobody knows; None where it is to be tried until it is.
    """

    queue: str
    body: bytes
    lane: str
    mandatory: bool = True
    wanted: Callable[[], bool] = lambda: True
    failed: Callable[[BrokerError], None] | None = None


async def again_and_again(
    connect: Callable[[], Awaitable[Connection]],
    use: Callable[[Connection], Awaitable[None]],
    what: str,
    chance: Random,
) -> None:
    """Connect and use the connection until it is lost, until cancelled. A trouble is logged once, not at each try.

    A trouble that nobody thought of is one too: a process without its broker would stand by unready for ever.
    """
    loop = asyncio.get_running_loop()
    backoff = Backoff(chance, RECONNECT_SECONDS)
    told = ""
    while True:
        began = None
        try:
            connection = await connect()
            began = loop.time()
            await use(connection)
        except Exception as error:
            said = str(error) if isinstance(error, BrokerLost) else repr(error)
            if began is not None or said != told:
                told = said
                trace = None if isinstance(error, BrokerLost) else error
                log.warning("no connection to the broker; trying again", to=what, error=told, exc_info=trace)
        if began is not None and loop.time() - began > STEADY_SECONDS:
            backoff.reset()
        await asyncio.sleep(backoff.next())


class Publisher:
    """Owns the connection that publishes; consumers have another, as one that publishes may be blocked.

    Args:
        connect: makes a connection.
        limit: letters that may wait or be under way.
        chance: what jitter is drawn from.

    Attributes:
        depth: letters that wait or are under way.
        lost_since: the loop's time since when nothing can be published; None while it can.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], limit: int, chance: Random = CHANCE) -> None:
        self._connect = connect
        self._limit = limit
        self._chance = chance
        self._lanes: dict[str, deque[Letter]] = {}
        self._ready: deque[str] = deque()
        self._refused: dict[str, Backoff] = {}
        self._channel: Channel | None = None
        self._under_way = 0
        self.depth = 0
        self.lost_since: float | None = None

    def post(self, letter: Letter) -> bool:
        """Publish it when its turn comes; False, and it is forgotten, when too many wait already."""
        if self.depth >= self._limit:
            return False
        self.depth += 1
        lane = self._lanes.get(letter.lane)
        if lane is not None:
            lane.append(letter)
        else:
            self._lanes[letter.lane] = deque([letter])
            self._ready.append(letter.lane)
            self._pump()
        return True

    async def run(self) -> None:
        """Keep a connection until cancelled."""
        self.lost_since = asyncio.get_running_loop().time()
        await again_and_again(self._connect, self._publish_over, "publish", self._chance)

    async def _publish_over(self, connection: Connection) -> None:
        """Publish until the connection is lost.

        Raises:
            BrokerLost: always.
        """
        loop = asyncio.get_running_loop()
        try:
            self._channel = channel = await connection.channel()
            self.lost_since = None
            self._pump()
            await channel.closed.wait()
        finally:
            self._channel = None
            if self.lost_since is None:
                self.lost_since = loop.time()
            connection.close()
        raise BrokerLost(channel.reason)

    def _pump(self) -> None:
        while self._ready and self._under_way < WINDOW and self._channel is not None:
            lane = self._ready[0]
            letter = self._lanes[lane][0]
            if not letter.wanted():
                self._ready.popleft()
                self._done(lane)
                continue
            try:
                confirm = self._channel.publish(letter.queue, letter.body, mandatory=letter.mandatory)
            except BrokerLost:
                return  # `run` makes another channel, and pumps again
            self._ready.popleft()
            self._under_way += 1
            confirm.add_done_callback(partial(self._confirmed, lane, letter))

    def _confirmed(self, lane: str, letter: Letter, confirm: "asyncio.Future[None]") -> None:
        self._under_way -= 1
        error = confirm.exception()
        if error is None:
            self._done(lane)
        elif not isinstance(error, BrokerError):
            raise error
        elif letter.failed is not None:
            letter.failed(error)
            self._done(lane)
        elif isinstance(error, BrokerLost):
            # It goes out again with the next connection, before anything behind it.
            self._ready.append(lane)
        else:
            backoff = self._refused.setdefault(lane, Backoff(self._chance))
            asyncio.get_running_loop().call_later(backoff.next(), self._again, lane)
        self._pump()

    def _again(self, lane: str) -> None:
        self._ready.append(lane)
        self._pump()

    def _done(self, lane: str) -> None:
        """The first letter of a lane is through: the next one may go."""
        self.depth -= 1
        self._refused.pop(lane, None)
        letters = self._lanes[lane]
        letters.popleft()
        if letters:
            self._ready.append(lane)
        else:
            del self._lanes[lane]
