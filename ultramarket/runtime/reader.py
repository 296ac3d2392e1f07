"""Reads committed entities, claims and kept answers: what many ask for at once goes out as one select."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from ultramarket.errors import Unavailable
from ultramarket.ports.journal import Journal, JournalError, JournalLost, Loaded, StoredEntity, Wanted
from ultramarket.runtime.actor import Actor
from ultramarket.runtime.codec import KindCodec
from ultramarket.runtime.memory import Entity
from ultramarket.runtime.rebuild import NewerShape, newer_version, rebuild

Result = TypeVar("Result")

NUMBERS = 20
"""Numbers of a sequence fetched at once; those not used when the process ends are gaps."""


class Reader:
    """One connection for reads. Requests that come while a select runs share the next one."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = asyncio.Lock()
        self._next: tuple[Wanted, asyncio.Task[Loaded]] | None = None
        self._claims: tuple[set[tuple[str, str]], asyncio.Task[dict[tuple[str, str], tuple[str, str]]]] | None = None
        self._numbers: dict[str, list[int]] = {}
        self._closed = False

    async def load(
        self,
        entities: Iterable[tuple[str, str]],
        replies: Iterable[tuple[str, str, str]] = (),
        messages: Iterable[str] = (),
    ) -> Loaded:
        """Stored entities, kept answers, and which messages are in the outbox, with how many before them.

        Raises:
            Unavailable: the database can't be reached.
        """
        if self._next is None:
            wanted = Wanted()
            self._next = (wanted, _for_many(self._load(wanted)))
        wanted, task = self._next
        wanted.entities.extend(entities)
        wanted.replies.extend(replies)
        wanted.ordered.extend(messages)
        return await asyncio.shield(task)

    async def earlier(self, message: str) -> int | None:
        """How many earlier messages of its pair wait with this one; None where it is not in the outbox any more.

        Raises:
            Unavailable: the database can't be reached.
        """
        return (await self.load((), messages=[message])).earlier.get(message)

    async def entity(self, actor: Actor[Any, Any, Any], codec: KindCodec, id: str, stored: StoredEntity) -> Entity:
        """The entity that a row stands for.

        Raises:
            Unavailable: the database can't be reached, or a newer version of the program wrote the entity.
        """
        try:
            return await rebuild(self._journal, actor, codec, id, stored)
        except NewerShape as error:
            raise newer_version() from error
        except JournalError as error:
            raise _unavailable() from error

    async def holder(self, namespace: str, value: str) -> tuple[str, str] | None:
        """(kind, id) of who holds a claim.

        Raises:
            Unavailable: the database can't be reached.
        """
        if self._claims is None:
            claims: set[tuple[str, str]] = set()
            self._claims = (claims, _for_many(self._holders(claims)))
        claims, task = self._claims
        claims.add((namespace, value))
        return (await asyncio.shield(task)).get((namespace, value))

    async def number(self, sequence: str) -> int:
        """The next number of a sequence.

        Raises:
            Unavailable: the database can't be reached.
        """
        async with self._lock:
            numbers = self._numbers.setdefault(sequence, [])
            if not numbers:
                numbers.extend(await self._asked(lambda: self._journal.numbers(sequence, NUMBERS)))
            return numbers.pop(0)

    async def close(self) -> None:
        """Disconnect; what is asked from now on is refused."""
        self._closed = True
        await self._journal.close()

    async def _load(self, wanted: Wanted) -> Loaded:
        async with self._lock:
            self._next = None
            wanted.entities = list(dict.fromkeys(wanted.entities))
            wanted.replies = list(dict.fromkeys(wanted.replies))
            return await self._asked(lambda: self._journal.load(wanted))

    async def _holders(self, claims: set[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, str]]:
        async with self._lock:
            self._claims = None
            return await self._asked(lambda: self._journal.taken_claims(list(claims)))

    async def _asked(self, read: Callable[[], Awaitable[Result]]) -> Result:
        """Read, and once more over a new connection when the old one broke: a read may be repeated.

        Raises:
            Unavailable: the database can't be reached, or we are closed.
        """
        try:
            try:
                return await read()
            except JournalLost:
                if self._closed:
                    raise
                await self._journal.open()
                return await read()
        except JournalError as error:
            raise _unavailable() from error


def _for_many(work: Coroutine[Any, Any, Result]) -> "asyncio.Task[Result]":
    """A task that many wait for; where all of them have gone, nobody is to be told of its error."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def _unavailable() -> Unavailable:
    return Unavailable("database_unavailable", "The database can't be reached just now; try again shortly.", 2)
