"""Public forms of entities as the store has them, for who has none in memory."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from ultramarket.ports.asking import Shown
from ultramarket.ports.journal import StoredEntity
from ultramarket.runtime.actor import Actor
from ultramarket.runtime.codec import KindCodec, text_fault
from ultramarket.runtime.reader import Reader
from ultramarket.runtime.showing import Showcase


class StoredForms:
    """Reads and shows committed entities.

    Args:
        reader: reads the rows.
        actors: every kind of entity.
        codecs: of the same kinds.
        showcase: makes the forms.
    """

    def __init__(
        self,
        reader: Reader,
        actors: Mapping[str, Actor[Any, Any, Any]],
        codecs: Mapping[str, KindCodec],
        showcase: Showcase,
    ) -> None:
        self._reader = reader
        self._actors = actors
        self._codecs = codecs
        self._showcase = showcase

    async def read_many(self, kind: str, ids: Sequence[str]) -> dict[str, Shown]:
        """The public forms of those that exist.

        Raises:
            Unavailable: the database can't be reached, or a newer version of the program wrote one of them.
        """
        good = [id for id in ids if text_fault(id) is None]
        rows = (await self._reader.load([(kind, id) for id in good])).entities
        there = [id for id in good if (kind, id) in rows]
        # Together: the keys of those that hold personal values are fetched at once.
        forms = await asyncio.gather(*(self._form(kind, id, rows[kind, id]) for id in there))
        return dict(zip(there, forms, strict=True))

    async def _form(self, kind: str, id: str, row: StoredEntity) -> Shown:
        actor = self._actors[kind]
        entity = await self._reader.entity(actor, self._codecs[kind], id, row)
        return await self._showcase.show(actor, id, entity)
