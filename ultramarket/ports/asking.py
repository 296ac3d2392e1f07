"""How the edges and the workers talk to actors: ask an entity, read an entity, watch an entity."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol

import msgspec

from ultramarket.errors import Rejection


class Answer(msgspec.Struct, frozen=True):
    """What came of a command.

    Attributes:
        value: the actor's reply, as plain data (dict, list, str, ...) where `replayed`, else its Struct.
        rejection: set when the command was refused; nothing changed then.
        token: consistency token of the write, e.g. `cart.07@1234`; None when nothing was written.
        replayed: this is the stored answer of an earlier command with the same key.
        version: the entity's version after the turn.
    """

    value: Any = None
    rejection: Rejection | None = None
    token: str | None = None
    replayed: bool = False
    version: int = 0


class Shown(msgspec.Struct, frozen=True):
    """The public form of a committed entity (a Struct of ultramarket/messages) and its version."""

    value: Any
    version: int


class Actors(Protocol):
    """The actors, as the edges see them."""

    async def ask(
        self,
        kind: str,
        id: str,
        command: Any,
        *,
        principal: str = "system",
        key: str | None = None,
        body_hash: bytes = b"",
        trace: str = "",
        timeout: float | None = None,
    ) -> Answer:
        """Send a command and wait for its commit.

        Args:
            kind: the actor's noun, e.g. `cart`.
            id: the entity.
            command: a Struct of the actor's messages.
            principal: who asks: `staff`, `guest`, `system`.
            key: scope and idempotency key of the client, at most 200 bytes; the answer is kept under it for 24 hours.
            body_hash: SHA-256 of what the client sent; another one under the same key is refused with 422
                `idempotency_key_reused`.
            trace: id that follows the command through every actor it touches.
            timeout: seconds until the deadline; the setting `command_seconds` when None.

        Raises:
            Unavailable: mailbox full, deadline passed, shutting down, or the commit's outcome is unknown.
        """
        ...

    async def read(self, kind: str, id: str) -> Shown | None:
        """The public form of the entity as committed; None when it does not exist.

        Raises:
            Unavailable: the store can't be reached.
        """
        ...

    async def read_many(self, kind: str, ids: list[str]) -> dict[str, Shown]:
        """As `read`, for many; those that do not exist are missing."""
        ...

    async def owner(self, namespace: str, value: str) -> str | None:
        """Id of the entity that holds a claim, e.g. `owner("handle", "canvas-tote-bag")`; None when nobody does."""
        ...

    def watch(self, kind: str, id: str) -> AbstractAsyncContextManager[AsyncIterator[int]]:
        """Versions of an entity from now on, each as it is committed (newest wins when the reader is slow)."""
        ...

    async def stored(self, kind: str, id: str, key: str, body_hash: bytes) -> Answer | None:
        """The answer kept under an idempotency key; a rejection `idempotency_key_reused` where the body was another."""
        ...

    async def keep(self, kind: str, id: str, key: str, body_hash: bytes, value: Any) -> None:
        """Keep an answer under an idempotency key for 24 hours, without a command."""
        ...

    async def number(self, sequence: str) -> int:
        """The next number of a sequence, for people: unique and growing, with gaps."""
        ...

    def now(self) -> datetime:
        """The database's time (UTC), as carried on by the monotonic clock."""
        ...
