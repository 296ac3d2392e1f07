"""The log of every partition: what a turn appends in one commit, and what a partition's owner reads back."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final, Protocol

from ultramarket.errors import UltraMarketError


class JournalError(UltraMarketError):
    """The journal did not do what it was asked."""


class CommitRefused(JournalError):
    """The store refuses something in the commit (a constraint, a size, a bad text); nothing of it was written."""


class ClaimTaken(CommitRefused):
    """A claimed value belongs to another entity; nothing of the commit was written."""


class CommitBusy(JournalError):
    """A serialisation failure or a deadlock; nothing was written, the same commit may be tried again."""


class Fenced(JournalError):
    """A partition in the commit has another owner by now, or its log is not where we thought; nothing was written."""


class JournalLost(JournalError):
    """The connection broke; whether the commit took effect is not known."""


class JournalFull(JournalLost):
    """The store has no room or no resources left: nothing was written, and another connection or process won't help."""


class JournalFailed(JournalError):
    """The store failed in a way that says nothing of the commit: it is damaged, or not as this program knows it."""


class Timer(Enum):
    """What a turn does to the entity's timer besides setting it."""

    KEEP = "keep"
    DROP = "drop"


KEEP: Final = Timer.KEEP
DROP: Final = Timer.DROP


@dataclass(frozen=True, slots=True)
class Lane:
    """A partition as its owner knows it: the epoch it was taken with, and the seq of its last event."""

    kind: str
    no: int
    epoch: int
    tail: int


Place = tuple[str, int, str, str]
"""A pair with a message in the outbox: (kind, no) of the target's partition, the source, and the target's id."""


class Anybody(Enum):
    """Whoever owns a partition."""

    ANYBODY = "anybody"


ANYBODY: Final = Anybody.ANYBODY


@dataclass(slots=True)
class EventRow:
    """An event as stored; `data` is its exact text, `hash` the entity's chain up to here."""

    seq: int
    version: int
    type: str
    data: str
    at: datetime
    command: str
    actor: str
    trace: str
    hash: bytes


@dataclass(slots=True)
class ReplyRow:
    """An answer kept for 24 hours under the client's key."""

    command: str
    body_hash: bytes
    reply: str


@dataclass(slots=True)
class OutboxRow:
    """A message of the entity `source` (`kind:id`) for the entity `kind`:`id` in partition `no`."""

    message: str
    kind: str
    no: int
    id: str
    body: str
    source: str


@dataclass(slots=True)
class PartRow:
    """A new value of an entity part; None drops it."""

    part: str
    value: str | None
    due_at: datetime | None


@dataclass(slots=True)
class TurnRows:
    """All that one turn of one entity writes.

    Attributes:
        before: the entity's version before the turn, 0 for a new one.
        version: its version afterwards; equal to `before` when the turn touches no entity.
    """

    kind: str
    no: int
    id: str
    before: int
    version: int
    shape: int = 1
    head: bytes = b""
    state: str = ""
    events: list[EventRow] = field(default_factory=list)
    replies: list[ReplyRow] = field(default_factory=list)
    outbox: list[OutboxRow] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    parts: list[PartRow] = field(default_factory=list)
    timer: datetime | Timer = KEEP
    claims: list[tuple[str, str]] = field(default_factory=list)
    drops: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Wanted:
    """What a group of turns needs before it can be judged.

    Attributes:
        entities: (kind, id) not in memory.
        parts: (kind, id, part) that the commands need.
        due: (kind, id) whose due parts a wake-up needs, at most 64 each.
        replies: (kind, id, command) that may have been answered before.
        messages: ids of messages that may have been taken before.
        ordered: the same, of messages that may also have come before an earlier one of their pair.
        now: parts due at or before this time are due.
    """

    entities: list[tuple[str, str]] = field(default_factory=list)
    parts: list[tuple[str, str, str]] = field(default_factory=list)
    due: list[tuple[str, str]] = field(default_factory=list)
    replies: list[tuple[str, str, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    ordered: list[str] = field(default_factory=list)
    now: datetime | None = None

    def __bool__(self) -> bool:
        """Whether anything is wanted at all."""
        return bool(self.entities or self.parts or self.due or self.replies or self.messages or self.ordered)


@dataclass(frozen=True, slots=True)
class StoredEntity:
    """An entity row."""

    version: int
    shape: int
    head: bytes
    state: str


MANY = 1 << 30
LOOKED_AT = 256
"""Earlier messages for a partition that are looked at for those of the same pair; with more a sweep is quicker."""


@dataclass(slots=True)
class Loaded:
    """What was found of a `Wanted`; what is missing does not exist.

    Attributes:
        due: (kind, id) to the due parts as (part, value), and `next_due` to when the next part will be due.
        messages: those wanted that are in the outbox.
        earlier: of those wanted as `ordered`, how many earlier ones of the same source to the same target are there;
            `MANY` where so much waits for the partition that nobody looked.
    """

    entities: dict[tuple[str, str], StoredEntity] = field(default_factory=dict)
    parts: dict[tuple[str, str, str], str] = field(default_factory=dict)
    due: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    next_due: dict[tuple[str, str], datetime] = field(default_factory=dict)
    replies: dict[tuple[str, str, str], tuple[bytes, str]] = field(default_factory=dict)
    messages: set[str] = field(default_factory=set)
    earlier: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pending:
    """A message that waits in the outbox; `n` gives the order. Its sender stands in the body, and beside it."""

    n: int
    message: str
    kind: str
    no: int
    id: str
    body: str
    source: str = ""


class Journal(Protocol):
    """One connection to the log, with one statement in flight: calls wait for each other.

    Every call raises `JournalLost` when the connection breaks; `open` then makes a new one.
    """

    async def open(self) -> datetime:
        """Connect (again); gives the store's time."""
        ...

    async def close(self) -> None:
        """Disconnect; harmless when not connected."""
        ...

    async def take(self, kind: str, no: int, owner: str, instead_of: str | Anybody | None = ANYBODY) -> Lane | None:
        """Become the owner of a partition: epoch + 1, in a transaction of its own. Waits for a commit in flight.

        Args:
            kind: of the partition.
            no: its number.
            owner: who takes it.
            instead_of: only from this owner: a name, or None where nobody owns it. Gives None where another does.
        """
        ...

    async def take_free(self, owner: str, wanted: Sequence[tuple[str, int, str | None]]) -> list[Lane]:
        """Become the owner of those of these partitions that can be had at once, in one transaction.

        Args:
            owner: who takes them.
            wanted: kind, number, and from which owner alone: a name, or None where nobody owns it. One whose owner is
                another by now, or which a commit in flight holds, is left out.
        """
        ...

    async def release(self, lanes: Sequence[Lane]) -> int:
        """Own these partitions no more, in one transaction; gives how many of them nobody had taken meanwhile."""
        ...

    async def waiting(self, lanes: Sequence[tuple[str, int]]) -> set[Place]:
        """The pairs that have a message in the outbox for these partitions."""
        ...

    async def epochs(self, lanes: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The epochs of these partitions (kind, no), as far as anybody has taken them."""
        ...

    async def load(self, wanted: Wanted) -> Loaded:
        """Everything wanted, in one select."""
        ...

    async def taken_claims(self, claims: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, str]]:
        """Those of the claims (namespace, value) that somebody holds, with the holder's (kind, id)."""
        ...

    async def commit(self, lanes: Sequence[tuple[Lane, int]], turns: Sequence[TurnRows]) -> datetime:
        """Append the turns, all or nothing; each lane comes with its new tail. Gives the store's time.

        Raises:
            Fenced: a lane's epoch or tail is not as expected, an entity's version moved, or a message was taken before.
            ClaimTaken: a claim belongs to another entity.
            CommitRefused: SQL errors of class 21, 22, 23 and 54.
            CommitBusy: 40001 and 40P01.
            JournalLost: the outcome is unknown.
        """
        ...

    async def pending(
        self, lanes: Sequence[tuple[str, int]], after: int, older_than: float, limit: int
    ) -> list[Pending]:
        """Messages waiting for these (kind, no) with n > after, at least `older_than` seconds old, in order."""
        ...

    async def park(self, lane: Lane, message: str, source: str, reason: str) -> bool:
        """Move a message from the outbox to the parked ones; False when it is not there any more.

        Raises:
            Fenced: the partition has another owner.
        """
        ...

    async def blocked(self, lanes: Sequence[tuple[str, int]]) -> set[tuple[str, int, str, str]]:
        """(kind, no, source, id) of the parked messages: later ones of that source to that entity wait behind them."""
        ...

    async def due_timers(self, lanes: Sequence[tuple[str, int]], until: datetime) -> list[tuple[str, str, datetime]]:
        """(kind, id, due_at) of the timers of these partitions due until then."""
        ...

    def history(self, kind: str, id: str) -> AsyncIterator[EventRow]:
        """The events of an entity in order."""
        ...

    async def numbers(self, sequence: str, count: int) -> list[int]:
        """The next numbers of a sequence: unique and growing, with gaps."""
        ...
