"""Mailboxes carry commands and messages to the owner of a partition."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ultramarket.ports.asking import Answer

Deliver = Callable[["Delivery"], bool]
"""The owner's door: takes a delivery, or gives False when its mailbox is full or closed."""


@dataclass(slots=True)
class Delivery:
    """A command on its way to an entity.

    Attributes:
        kind, no, id: the target and its partition.
        command: the command's Struct.
        principal: who asks; for a message the source as `kind:id`.
        trace: follows the command through every actor.
        command_id: the command's name in the log.
        key: the client's scope and idempotency key: its answer is kept.
        body_hash: of what the client sent, for `key`.
        deadline: the store's time as POSIX seconds after which it is refused; None for messages.
        message: the outbox id; None for a client's command.
        source: the sender's `kind:id` of a message, else empty.
        verified: the outbox row is known to exist, so it need not be looked up.
        swept: a sweep brought it, in the order of the outbox; what comes another way may be too early.
        attempts: how often taking this message failed.
        answer: where the answer goes; None where nobody waits for one.
    """

    kind: str
    no: int
    id: str
    command: Any
    principal: str
    trace: str
    command_id: str
    key: str | None = None
    body_hash: bytes = b""
    deadline: float | None = None
    message: str | None = None
    source: str = ""
    verified: bool = False
    swept: bool = False
    attempts: int = 0
    answer: Callable[[Answer | Exception], None] | None = None


class Mailbox(Protocol):
    """Mailboxes of all partitions.

    For deliveries of one source to one target: those that were accepted arrive in the order they were offered; but what
    is on its way to a partition when that becomes this process's own may come later than what it offers then.
    """

    def open(self, kind: str, no: int, deliver: Deliver) -> None:
        """Consume a partition's mailbox; only its owner does."""
        ...

    def close(self, kind: str, no: int) -> None:
        """Stop to consume; what is offered from now on is refused."""
        ...

    async def drain(self, kind: str, no: int) -> None:
        """Stop to consume, and wait until every command that has come in is answered; then it is closed."""
        ...

    def ready(self) -> bool:
        """Whether deliveries come in and go out: a process whose broker is away can own nothing."""
        ...

    def offer(self, delivery: Delivery) -> bool:
        """Hand on without waiting.

        False when the mailbox is full or nobody consumes it: a client then gets 503, a message stays in the outbox
        and its owner's sweeper brings it later.
        """
        ...
