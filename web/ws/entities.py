"""The topics `cart:{id}` and `order:{id}`: each version of one entity."""

from collections.abc import Sequence

from ultramarket.ports.feed import Logged, Place
from ultramarket.runtime.partitioning import partition_of
from web.ws.connection import Connection
from web.ws.following import Follower, Log

PAGE = 100
"""Events read at once."""
_VERSION = 0
"""The one key under which the events of an entity are counted."""


class EntityFollower(Follower):
    """Follows an entity.

    Args:
        log: what is followed.
        connection: who is told.
        topic: as the client named it.
        kind: of the entity.
        id: of the entity.
        after: the version that the client knows.
        version: the version that the entity has at least.
    """

    __slots__ = ("_entity", "_kind")

    def __init__(
        self, log: Log, connection: Connection, topic: str, kind: str, id: str, *, after: int, version: int
    ) -> None:
        super().__init__(log, connection, topic, {_VERSION: after}, {_VERSION: version})
        self._kind = kind
        self._entity = id

    def _places(self) -> Sequence[Place]:
        return ((self._kind, partition_of(self._kind, self._entity)),)

    def _id(self) -> str:
        return self._entity

    def _numbered(self, event: Logged) -> tuple[int, int]:
        return _VERSION, event.version

    async def _missed(self) -> tuple[list[Logged], bool]:
        page = await self._log.feed.history(self._kind, self._entity, self._at[_VERSION], PAGE)
        return page, len(page) == PAGE

    def _payload(self, event: Logged) -> bytes:
        return self._log.encoding.payload(event, self._topic)

    def _frame(self, event: Logged) -> bytes:
        return self._log.encoding.frame(event, self._topic)
