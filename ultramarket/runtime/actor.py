"""What an actor is: pure functions from a state and a command to a decision, and from a state and an event to a state.

The runtime (turns, partitions, committers) calls them; an actor has no clock, no random and no IO of its own.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from ultramarket.errors import Rejection
from ultramarket.messages.common import Sealed

State = TypeVar("State")
Command = TypeVar("Command")
Event = TypeVar("Event")

Unseal = Callable[[Sealed], str]
"""Opens a sealed value; gives `erased` where the subject's key is gone."""


class Context(msgspec.Struct, frozen=True):
    """All that an actor may know besides its state and the command.

    Attributes:
        id: the entity's id.
        version: the entity's version before this command, 0 when it does not exist.
        now: the database's time (UTC).
        principal: who asks: `staff`, `guest`, `system`, or the sending entity as `kind:id`.
        command: the command's id, stable over retries; derive new ids from it.
        parts: the entity parts that `Actor.needs` named and that exist; for a `Wake`, the parts that are due.
        next_due: for a `Wake`, when the first part that is not in `parts` will be due.
    """

    id: str
    version: int
    now: datetime
    principal: str = "system"
    command: str = ""
    parts: Mapping[str, Any] = msgspec.field(default_factory=dict)
    next_due: datetime | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """A message to another actor, handed on after the commit, taken exactly once, in order per source and target."""

    kind: str
    id: str
    command: Any


@dataclass(frozen=True, slots=True)
class Claim:
    """A value that only one entity may have at a time, e.g. `Claim("sku", "TOTE-NATURAL")`."""

    namespace: str
    value: str


@dataclass(frozen=True, slots=True)
class Part:
    """The new value of an entity part, or None to drop it, with the time it is due (for `Wake`), if any."""

    value: Any
    due_at: datetime | None = None


class Decision(msgspec.Struct, frozen=True):
    """What a command leads to.

    Attributes:
        events: what happened, in order; the log keeps them for ever.
        reply: a msgspec-encodable answer for the asker; stored with the turn when the command has an idempotency key.
        answers: messages sent although nothing happened, e.g. a refusal for the actor that asked. Only for commands
            that came as a message from an actor; what follows from events belongs in `Actor.react`.
        claims: values to take; if one is taken already the command is refused with 409 `taken`.
        drops: values to give back.
    """

    events: tuple[Any, ...] = ()
    reply: Any = None
    answers: tuple[Send, ...] = ()
    claims: tuple[Claim, ...] = ()
    drops: tuple[Claim, ...] = ()


class Actor(Generic[State, Command, Event]):
    """A kind of entity. Subclasses set the class variables and write the functions; see actors/cart.py.

    Class attributes:
        kind: the noun, e.g. `cart`; also the first part of partition names and consistency tokens.
        state: the state's Struct.
        commands: union of the commands it takes (with `Wake` when it uses timers).
        events: union of the events it records.
        part: the Struct (or union) of its entity parts, None when it has none.
        shape: number of the state's layout; raise it when a stored state can't be read any more. An entity with an
            older shape is rebuilt from its events.
    """

    kind: ClassVar[str]
    state: ClassVar[Any]
    commands: ClassVar[Any]
    events: ClassVar[Any]
    part: ClassVar[Any] = None
    shape: ClassVar[int] = 1

    def decide(self, state: State | None, command: Command, ctx: Context) -> Decision | Rejection:
        """Judge a command. Pure; state is None when the entity does not exist."""
        raise NotImplementedError

    def evolve(self, state: State | None, event: Event) -> State:
        """Apply an event. Pure and total: replaying the log gives the stored state."""
        raise NotImplementedError

    def evolve_parts(self, event: Event, parts: Mapping[str, Any]) -> Mapping[str, Part]:  # noqa: ARG002 - the default has no parts
        """The entity parts that an event changes, given those loaded. Pure."""
        return {}

    def react(self, event: Event, state: State, ctx: Context) -> Iterable[Send]:  # noqa: ARG002 - the default sends nothing
        """Messages to other actors that follow from an event; `state` is the one after the event. Pure."""
        return ()

    def needs(self, command: Command) -> Iterable[str]:  # noqa: ARG002 - the default has no parts
        """Names of the entity parts that judging this command takes."""
        return ()

    def wake_at(self, state: State) -> datetime | None:  # noqa: ARG002 - the default has no timer
        """When the entity wants a `Wake` next; the runtime keeps one durable timer an entity in step with it.

        A `Wake` must lead to events that move this time on, else the runtime asks again with growing delays.
        """
        return None

    def subject(self, state: State) -> str | None:  # noqa: ARG002 - the default has no personal data
        """Whose key seals the personal values of this entity, None when it has none."""
        return None

    def show(self, state: State, id: str, version: int, unseal: Unseal) -> Any:
        """The public form of the entity: a Struct of ultramarket/messages. Pure."""
        raise NotImplementedError

    def tell(self, event: Event) -> Any:  # noqa: ARG002 - the default tells nothing
        """The public event for those who may read the entity: a Struct of ultramarket/messages; None: it is internal.

        Never a sealed value, and never the id of another entity that its readers must not know. Pure.
        """
        return None


class Worker(Generic[Command]):
    """An actor without state that talks to the world: it takes a message, does IO, and answers with messages.

    The message stays in the outbox until the answers are committed, so a crash in between repeats the call: the
    world is called with keys that make a repeat harmless.

    Class attributes:
        kind: the noun, e.g. `gateway`.
        commands: union of the messages it takes.
        concurrency: how many calls may run at once for each committer; calls of one id run one after the other.
    """

    kind: ClassVar[str]
    commands: ClassVar[Any]
    concurrency: ClassVar[int] = 16

    async def work(self, id: str, command: Command, message: str) -> Iterable[Send]:
        """Do what the message asks, as often as it is asked; `message` is the message's own id, stable over repeats.

        Raises:
            Exception: the message is tried again, then parked with the reason.
        """
        raise NotImplementedError
