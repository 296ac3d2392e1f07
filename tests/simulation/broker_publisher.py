"""Publishes to a broker: in order for each source, again after a lost connection, many sources at once."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from tests.simulation.broker import BrokerError, BrokerLost, Channel, Connection

WINDOW = 100
"""Unconfirmed messages at once, of as many lanes."""
AGAIN_SECONDS = 0.2
"""After this time a message that a full or missing queue refused is published again, or a connection tried again."""


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


class Publisher:
    """Owns the connection that publishes; consumers have another, as one that publishes may be blocked."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._lanes: dict[str, deque[Letter]] = {}
        self._ready: deque[str] = deque()
        self._channel: Channel | None = None
        self._under_way = 0
        self.depth = 0

    def post(self, letter: Letter) -> None:
        """Publish it when its turn comes."""
        self.depth += 1
        lane = self._lanes.get(letter.lane)
        if lane is not None:
            lane.append(letter)
            return
        self._lanes[letter.lane] = deque([letter])
        self._ready.append(letter.lane)
        self._pump()

    async def run(self) -> None:
        """Keep a connection until cancelled."""
        while True:
            try:
                connection = await self._connect()
                self._channel = connection.channel()
            except BrokerLost:
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            try:
                self._pump()
                await self._channel.closed.wait()
            finally:
                self._channel = None
                connection.close()

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
                return
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
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._again, lane)
        self._pump()

    def _again(self, lane: str) -> None:
        self._ready.append(lane)
        self._pump()

    def _done(self, lane: str) -> None:
        """The first letter of a lane is through: the next one may go."""
        self.depth -= 1
        letters = self._lanes[lane]
        letters.popleft()
        if letters:
            self._ready.append(lane)
        else:
            del self._lanes[lane]
