"""Entities in memory: their committed state, by least recent use, within a bound of bytes."""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ultramarket.runtime.codec import Chain
from ultramarket.runtime.partitioning import partition_of


@dataclass(slots=True)
class Entity:
    """An entity as committed.

    Attributes:
        state: None when it does not exist.
        size: bytes of its stored state and known parts.
        wake_at: when its durable timer is due.
        parts: the parts that are known, by name.
        complete: whether all parts it has are in `parts`.
    """

    state: Any = None
    version: int = 0
    head: bytes = Chain.START
    size: int = 0
    wake_at: datetime | None = None
    parts: dict[str, Any] = field(default_factory=dict)
    complete: bool = False


class Memory:
    """Entities by (kind, id). Absent entities are kept too: that they are absent is known."""

    PARTS_LIMIT = 20_000
    """Parts kept in memory for one entity; more are looked up when they are needed."""
    OVERHEAD = 600
    """Bytes that an entity costs beside its text, as measured with tracemalloc on small carts."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._entities: OrderedDict[tuple[str, str], Entity] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entities)

    @property
    def size(self) -> int:
        """Bytes held, by estimate."""
        return self._bytes

    def get(self, kind: str, id: str) -> Entity | None:
        """The entity, which counts as used; None when it is not in memory."""
        entity = self._entities.get((kind, id))
        if entity is not None:
            self._entities.move_to_end((kind, id))
        return entity

    def put(self, kind: str, id: str, entity: Entity) -> None:
        """Keep the entity, and let go of the least recently used ones beyond the bound."""
        if len(entity.parts) > self.PARTS_LIMIT:
            entity.parts = {}
            entity.complete = False
        self.drop(kind, id)
        self._entities[kind, id] = entity
        self._bytes += self._cost(entity)
        while self._bytes > self._limit and len(self._entities) > 1:
            _, gone = self._entities.popitem(last=False)
            self._bytes -= self._cost(gone)

    def drop(self, kind: str, id: str) -> None:
        """Forget the entity; harmless when it is not here."""
        entity = self._entities.pop((kind, id), None)
        if entity is not None:
            self._bytes -= self._cost(entity)

    def forget(self, partitions: Collection[tuple[str, int]]) -> None:
        """Forget what is in these partitions (kind, no)."""
        kinds = {kind for kind, _ in partitions}
        for kind, id_ in [key for key in self._entities if key[0] in kinds]:
            if (kind, partition_of(kind, id_)) in partitions:
                self.drop(kind, id_)

    def clear(self) -> None:
        """Forget all."""
        self._entities.clear()
        self._bytes = 0

    def _cost(self, entity: Entity) -> int:
        return self.OVERHEAD + entity.size
