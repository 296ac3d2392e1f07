"""An entity from its row, or from its events where the row has an older shape."""

from typing import Any

from ultramarket.errors import UltraMarketError, Unavailable
from ultramarket.ports.journal import Journal, StoredEntity
from ultramarket.runtime.actor import Actor
from ultramarket.runtime.codec import KindCodec
from ultramarket.runtime.memory import Entity


class NewerShape(UltraMarketError):
    """A newer version of the program wrote this entity; this one must leave it alone."""


def newer_version() -> Unavailable:
    """The answer to who asks for an entity of a newer shape."""
    return Unavailable("newer_version", "A newer version of the shop wrote this; it takes over shortly.", 5)


async def rebuild(
    journal: Journal, actor: Actor[Any, Any, Any], codec: KindCodec, id: str, stored: StoredEntity
) -> Entity:
    """The entity that a row stands for.

    Raises:
        NewerShape: the row's shape is newer than the actor's.
    """
    if stored.shape > actor.shape:
        raise NewerShape(f"{actor.kind} {id} has shape {stored.shape}; this program knows {actor.shape}")
    if stored.shape == actor.shape:
        state = codec.state(stored.state)
    else:
        state = None
        async for row in journal.history(actor.kind, id):
            state = actor.evolve(state, codec.event(row.data))
    wake_at = actor.wake_at(state)
    return Entity(state, stored.version, stored.head, len(stored.state), wake_at)
