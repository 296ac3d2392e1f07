"""The public form of an entity, its personal values opened for the edges."""

from collections import OrderedDict
from typing import Any

from ultramarket.messages.common import Sealed
from ultramarket.ports.asking import Shown
from ultramarket.ports.vault import Vault
from ultramarket.runtime.actor import Actor
from ultramarket.runtime.memory import Entity

KEPT_BYTES = 32 << 20
"""Estimated bytes of public forms that are kept; a form takes about three times its entity's text."""


class Showcase:
    """Makes public forms, and keeps the last ones made: a write reads its entity before and after.

    A form with a personal value in it is never kept: once the key of its subject is gone, nothing shows it again.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        # None instead of a form: personal values were met in the entity.
        self._kept: OrderedDict[tuple[str, str], tuple[Shown | None, int]] = OrderedDict()
        self._bytes = 0

    async def show(self, actor: Actor[Any, Any, Any], id: str, entity: Entity) -> Shown:
        """The public form of an entity that exists.

        Raises:
            TypeError: it holds a personal value and says of nobody that it is theirs.
            Unavailable: the keys can't be reached.
        """
        key = (actor.kind, id)
        kept, _ = self._kept.get(key, (None, 0))
        if kept is not None and kept.version == entity.version:
            self._kept.move_to_end(key)
            return kept
        if kept is not None or key not in self._kept:
            try:
                made = Shown(actor.show(entity.state, id, entity.version, _needs_key), entity.version)
            except _NeedsKey:
                self._keep(key, None, entity.size)
            else:
                self._keep(key, made, entity.size)
                return made
        subject = actor.subject(entity.state)
        if subject is None:
            raise TypeError(f"a sealed value in {actor.kind} {id}, which has no subject")
        unseal = await self._vault.opener(subject)
        return Shown(actor.show(entity.state, id, entity.version, unseal), entity.version)

    def _keep(self, key: tuple[str, str], made: Shown | None, size: int) -> None:
        _, before = self._kept.pop(key, (None, 0))
        cost = 400 if made is None else 1000 + 3 * size
        self._kept[key] = (made, cost)
        self._bytes += cost - before
        while self._bytes > KEPT_BYTES:
            _, (_, gone) = self._kept.popitem(last=False)
            self._bytes -= gone


class _NeedsKey(Exception):
    """A personal value is to be shown."""


def _needs_key(_sealed: Sealed) -> str:
    raise _NeedsKey
