"""The topic `orders`: each event of each order, for staff; resumed by the position that each event comes with."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from ultramarket.ports.feed import Logged, Place
from ultramarket.runtime.partitioning import PARTITIONS
from web.ws.connection import Connection
from web.ws.following import Follower, Log

TOPIC = "orders"
PAGE = 20
"""Events of one partition read at once."""
_KIND = "order"
PLACES: tuple[Place, ...] = tuple((_KIND, no) for no in range(PARTITIONS))
_POSITION = re.compile(rf"[0-9a-f]{{1,15}}(?:\.[0-9a-f]{{1,15}}){{{PARTITIONS - 1}}}")


def read_position(text: str) -> dict[int, int]:
    """The last event known of each partition.

    Raises:
        ValueError: it is not what `write_position` makes.
    """
    if not _POSITION.fullmatch(text):
        raise ValueError("it is no position of this topic")
    return {no: int(part, 16) for no, part in enumerate(text.split("."))}


def write_position(at: Mapping[int, int]) -> str:
    """A position as clients keep it: for each partition of the log, in order, the last event in hexadecimal digits."""
    return ".".join([f"{at[no]:x}" for no in range(PARTITIONS)])


class OrdersFollower(Follower):
    """Follows the orders.

    Args:
        log: what is followed.
        connection: who is told.
        at: the last event that the client knows, by partition.
    """

    __slots__ = ()

    def __init__(self, log: Log, connection: Connection, at: Mapping[int, int]) -> None:
        super().__init__(log, connection, TOPIC, at, at)

    def _places(self) -> Sequence[Place]:
        return PLACES

    def _id(self) -> None:
        return None

    def _numbered(self, event: Logged) -> tuple[int, int]:
        return event.no, event.seq

    async def _missed(self) -> tuple[list[Logged], bool]:
        page = await self._log.feed.after({(_KIND, no): seq for no, seq in self._at.items()}, PAGE)
        return page, PAGE in Counter(event.no for event in page).values()

    def _payload(self, event: Logged) -> bytes:
        return self._log.encoding.of_feed(event, TOPIC, write_position(self._at))
