"""What a group of turns needs before it can be judged: entities, parts, kept answers, which messages still exist."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from ultramarket.messages.common import Wake
from ultramarket.ports.journal import Journal, JournalError, Loaded, OutboxRow, StoredEntity, Wanted
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime.actor import Actor
from ultramarket.runtime.clock import Clock
from ultramarket.runtime.codec import KindCodec
from ultramarket.runtime.failpoints import failpoint
from ultramarket.runtime.memory import Entity, Memory
from ultramarket.runtime.partition import Partition
from ultramarket.runtime.rebuild import rebuild
from ultramarket.runtime.turn import Keep, Look

log = structlog.get_logger()


@dataclass(slots=True)
class Unit:
    """What waits for one entity: the smallest piece that a group is split into is one delivery of one unit.

    Attributes:
        done: for a worker's finished call: the answers that go out with the deletion of its message.
    """

    partition: Partition
    id: str
    deliveries: list[Delivery]
    done: tuple[tuple[OutboxRow, Delivery], ...] | None = None


Entities = dict[tuple[str, str], Entity | Exception]
"""By (kind, id); in place of an entity that can't be read the reason."""


@dataclass(frozen=True, slots=True)
class Loader:
    """Looks in memory first, and for the rest into the journal: one select a group, none when all is in memory."""

    journal: Journal
    actors: Mapping[str, Actor[Any, Any, Any]]
    codecs: Mapping[str, KindCodec]
    clock: Clock
    memory: Memory

    async def load(self, units: list[Unit]) -> tuple[Loaded | None, Entities]:
        """What the units need; None in place of what was loaded when nothing had to be."""
        wanted = Wanted(now=self.clock.now())
        entities: Entities = {}
        for unit in units:
            if unit.done is None:
                entity = self.memory.get(unit.partition.kind, unit.id)
                if entity is not None:
                    entities[unit.partition.kind, unit.id] = entity
                self._want(unit, entity, wanted)
            else:
                # A sweep may have read it just before its first call was committed.
                wanted.messages.extend(d.message for d in unit.deliveries if d.message and not d.verified)
        if not wanted:
            return None, entities
        failpoint("load.before")
        loaded = await self.journal.load(wanted)
        failpoint("load.after")
        for kind, id_ in wanted.entities:
            entities[kind, id_] = await self._entity(kind, id_, loaded.entities.get((kind, id_)))
        return loaded, entities

    async def _entity(self, kind: str, id: str, stored: StoredEntity | None) -> Entity | Exception:
        entity = Entity()
        if stored is not None:
            try:
                entity = await rebuild(self.journal, self.actors[kind], self.codecs[kind], id, stored)
            except JournalError:
                raise
            except Exception as error:  # noqa: BLE001 - an entity that can't be read must not stop its neighbours
                log.warning("entity can't be read", kind=kind, id=id, error=str(error))
                return error
        self.memory.put(kind, id, entity)
        return entity

    def _want(self, unit: Unit, entity: Entity | None, wanted: Wanted) -> None:
        kind = unit.partition.kind
        if entity is None:
            wanted.entities.append((kind, unit.id))
        for delivery in unit.deliveries:
            if delivery.key is not None:
                wanted.replies.append((kind, unit.id, delivery.key))
            if delivery.message is not None and not delivery.verified:
                (wanted.messages if delivery.swept else wanted.ordered).append(delivery.message)
            if isinstance(delivery.command, Wake):
                if (kind, unit.id) not in wanted.due and self.actors[kind].part is not None:
                    wanted.due.append((kind, unit.id))
            elif (entity is None or not entity.complete) and not isinstance(delivery.command, (Keep, Look)):
                wanted.parts.extend((kind, unit.id, name) for name in self._needs(kind, delivery))

    def _needs(self, kind: str, delivery: Delivery) -> tuple[str, ...]:
        try:
            return tuple(self.actors[kind].needs(delivery.command))
        except Exception:  # noqa: BLE001 - it is raised again, and dealt with, when the command is judged
            return ()
