"""What clients are told of stored events: the public events that the actors make of them."""

from collections.abc import Iterable
from typing import Any

import msgspec

from ultramarket.runtime.actor import Actor, Worker
from ultramarket.runtime.codec import UNREADABLE, KindCodec

INTERNAL = "Changed"
"""The name under which an event is told whose content is nobody's business but the platform's."""


class Told(msgspec.Struct, frozen=True):
    """A public event: its name, and its Struct; None for an internal event."""

    name: str
    data: Any


_CHANGED = Told(INTERNAL, None)


class Teller:
    """Makes public events.

    Args:
        cast: the actors whose events are told; workers have none.
    """

    def __init__(self, cast: Iterable[Actor[Any, Any, Any] | Worker[Any]]) -> None:
        self._actors = {part.kind: (part, KindCodec(part)) for part in cast if isinstance(part, Actor)}

    def tell(self, kind: str, data: str) -> Told:
        """The public event for the stored text of an event; `Changed` for an internal one.

        One that this program can't read was written by a newer one, beside which it still runs: `Changed`, too.
        """
        actor, codec = self._actors[kind]
        try:
            event = codec.event(data)
        except UNREADABLE:
            return _CHANGED
        public = actor.tell(event)
        return _CHANGED if public is None else Told(type(public).__name__, public)
