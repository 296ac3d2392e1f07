"""The database of a simulated world: the journal's tables as plain Python structures, each statement one step.

A statement looks at everything before it changes anything, so that it is all or nothing as in PostgreSQL. What it
refuses, and in which order it looks, follows `ultramarket/adapters/sql/commit.sql` and the error classes of
`ultramarket.adapters.postgres_journal`; tests/conformance/journal.py runs on both.

Not modelled: the tables by month and day, a full disk, deadlocks, how far an index key can be compressed, and numbers
of the outbox that are given before, but seen after, those of another connection.
"""

import asyncio
import zlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import nsmallest
from typing import Any, Final

from ultramarket.ports.journal import (
    ANYBODY,
    DROP,
    LOOKED_AT,
    MANY,
    Anybody,
    ClaimTaken,
    CommitRefused,
    EventRow,
    Fenced,
    JournalError,
    Lane,
    Loaded,
    Pending,
    Place,
    StoredEntity,
    TurnRows,
    Wanted,
)

Key = tuple[str, str]
"""(kind, id) of an entity, or (namespace, value) of a claim."""
LaneKey = tuple[str, int]
"""(kind, no) of a partition."""

SKIP_THE_TAIL_CHECK: Final = "skip the tail check"
DROP_THE_EPOCH: Final = "drop the epoch"
WRITE_THE_REPLY: Final = "write the reply where the commit failed"
DELETE_THE_ROW_EARLY: Final = "delete the outbox row before the receiver's commit"
TRUST_THE_CONSUMER: Final = "trust in the single active consumer instead of the epoch"
FAULTS: Final = frozenset(
    {SKIP_THE_TAIL_CHECK, DROP_THE_EPOCH, WRITE_THE_REPLY, DELETE_THE_ROW_EARLY, TRUST_THE_CONSUMER}
)
"""The faults that can be planted in a store."""

DUE_PARTS = 64
"""How many due parts one wake-up takes; one more is read to know when the next is due."""
REPLY_KEPT = timedelta(hours=24)
INDEX_ROW = 2704
"""Bytes of the largest index row: a third of a page (PostgreSQL, BTMaxItemSize in access/nbtree.h)."""
SURE_TO_FIT = 600
"""Characters that fit an index row whatever they are: four bytes each at most."""


@dataclass(slots=True)
class PartitionRow:
    """A row of `partition`."""

    epoch: int = 0
    tail: int = 0
    owner: str | None = None


@dataclass(slots=True)
class WaitingRow:
    """A row of `outbox`."""

    row: Pending
    source: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """A row of `parked`."""

    row: Pending
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class KeptReply:
    """A row of `reply`."""

    body_hash: bytes
    reply: str
    at: datetime


@dataclass
class Store:
    """The tables, and the statements over them. Rows are shared with who wrote them: nobody changes one afterwards.

    Attributes:
        now: the store's time.
        partitions: by (kind, no).
        entities: by (kind, id).
        parts: (value, due_at) by name, by (kind, id).
        logs: the (id, event) of each partition as they were appended.
        histories: the events of each entity as they were appended.
        replies: by (kind, id, command), oldest first: the table has no unique key.
        outbox: by message, in the order of their `n`.
        timers: due_at by id, by (kind, no).
        claims: holder's (kind, id) by (namespace, value).
        parked: by message.
        sequences: the next number of each.
        sent: the last `n` that was given to a message; a statement that failed used up its own.
        planted: names of the `FAULTS` that the store is to make.
        commits: how many took effect.
    """

    now: Callable[[], datetime]
    partitions: dict[LaneKey, PartitionRow] = field(default_factory=dict)
    entities: dict[Key, StoredEntity] = field(default_factory=dict)
    parts: dict[Key, dict[str, tuple[str, datetime | None]]] = field(default_factory=dict)
    logs: dict[LaneKey, list[tuple[str, EventRow]]] = field(default_factory=lambda: defaultdict(list))
    histories: dict[Key, list[EventRow]] = field(default_factory=lambda: defaultdict(list))
    replies: dict[tuple[str, str, str], list[KeptReply]] = field(default_factory=dict)
    outbox: dict[str, WaitingRow] = field(default_factory=dict)
    timers: dict[LaneKey, dict[str, datetime]] = field(default_factory=lambda: defaultdict(dict))
    claims: dict[Key, Key] = field(default_factory=dict)
    parked: dict[str, ParkedRow] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=lambda: {"order_number": 100_001})
    sent: int = 0
    planted: set[str] = field(default_factory=set)
    commits: int = 0

    def __post_init__(self) -> None:
        """Nothing is locked and nothing on its way."""
        self._targets: dict[LaneKey, dict[str, WaitingRow]] = defaultdict(dict)
        self._locks: dict[LaneKey, asyncio.Event] = {}
        self._landing: set[asyncio.Task[None]] = set()

    # Statements that write

    def take(self, kind: str, no: int, owner: str, instead_of: str | Anybody | None = ANYBODY) -> Lane | None:
        """One more epoch for the partition."""
        partition = self.partitions.get((kind, no))
        if instead_of is not ANYBODY and instead_of != (None if partition is None else partition.owner):
            return None
        if partition is None:
            partition = self.partitions[kind, no] = PartitionRow()
        if TRUST_THE_CONSUMER not in self.planted or partition.epoch == 0:
            partition.epoch += 1
        partition.owner = owner
        return Lane(kind, no, partition.epoch, partition.tail)

    def take_free(self, owner: str, wanted: Sequence[tuple[str, int, str | None]]) -> list[Lane]:
        """One more epoch for each of these that no statement holds."""
        lanes = [
            self.take(kind, no, owner, instead_of) for kind, no, instead_of in wanted if (kind, no) not in self._locks
        ]
        return [lane for lane in lanes if lane is not None]

    def release(self, lane: Lane) -> bool:
        """Nobody owns the partition, if its epoch is still this one."""
        partition = self.partitions.get((lane.kind, lane.no))
        if partition is None or partition.epoch != lane.epoch:
            return False
        partition.owner = None
        return True

    def commit(self, lanes: Sequence[tuple[Lane, int]], turns: Sequence[TurnRows]) -> datetime:
        """Append the turns, all or nothing; gives the store's time."""
        touched = [turn for turn in turns if turn.version > turn.before]
        try:
            self._look(lanes, turns, touched)
        except Fenced:
            if WRITE_THE_REPLY in self.planted:
                self._answer(turns, self.now())
            raise
        now = self.now()
        for lane, after in lanes:
            partition = self.partitions.get((lane.kind, lane.no))
            if partition is not None:
                partition.tail = after
        for turn in turns:
            for message in turn.taken:
                self._delete(message)
        for turn in touched:
            self._write(turn)
        self._answer(turns, now)
        for turn in turns:
            for sent in turn.outbox:
                self.sent += 1
                self.enqueue(
                    Pending(self.sent, sent.message, sent.kind, sent.no, sent.id, sent.body, sent.source),
                    now,
                    sent.source,
                )
        self.commits += 1
        return now

    def park(self, lane: Lane, message: str, source: str, reason: str) -> bool:
        """Move a message to the parked ones."""
        partition = self.partitions.get((lane.kind, lane.no))
        if partition is None or (partition.epoch != lane.epoch and DROP_THE_EPOCH not in self.planted):
            raise Fenced(f"{lane.kind}.{lane.no:02d} has another owner than that of epoch {lane.epoch}")
        waiting = self.outbox.get(message)
        if waiting is None:
            return False
        if message in self.parked:
            raise Fenced(f"parked_pkey: {message}")
        self._delete(message)
        self.parked[message] = ParkedRow(waiting.row, source, reason)
        return True

    def numbers(self, sequence: str, count: int) -> list[int]:
        """The next numbers: used up, whoever hears of them."""
        first = self.sequences[sequence]
        self.sequences[sequence] = first + count
        return list(range(first, first + count))

    def enqueue(self, row: Pending, at: datetime, source: str) -> None:
        """Put a message in the outbox, also one that was parked, at its old place."""
        waiting = self.outbox[row.message] = WaitingRow(row, source, at)
        self._targets[row.kind, row.no][row.message] = waiting

    # Statements that read

    def epochs(self, lanes: Iterable[LaneKey]) -> dict[LaneKey, int]:
        """The epochs of these partitions."""
        return {key: self.partitions[key].epoch for key in lanes if key in self.partitions}

    def load(self, wanted: Wanted) -> Loaded:
        """Everything wanted."""
        found = Loaded()
        found.entities = {key: self.entities[key] for key in wanted.entities if key in self.entities}
        for kind, id_, name in wanted.parts:
            part = self.parts.get((kind, id_), {}).get(name)
            if part is not None:
                found.parts[kind, id_, name] = part[0]
        for key in wanted.due:
            self._due(key, wanted.now, found)
        since = self.now() - REPLY_KEPT
        for command in wanted.replies:
            for kept in self.replies.get(command, ()):
                if kept.at > since:
                    found.replies[command] = (kept.body_hash, kept.reply)
        found.messages = {message for message in (*wanted.messages, *wanted.ordered) if message in self.outbox}
        found.earlier = {message: self._earlier(message) for message in wanted.ordered if message in self.outbox}
        if DELETE_THE_ROW_EARLY in self.planted:
            for message in found.messages:
                self._delete(message)
        return found

    def _earlier(self, message: str) -> int:
        """How many earlier messages of the same source to the same target are there."""
        mine = self.outbox[message]
        earlier = [w for w in self._targets[mine.row.kind, mine.row.no].values() if w.row.n < mine.row.n]
        if len(earlier) >= LOOKED_AT:
            return MANY
        return sum(w.source == mine.source and w.row.id == mine.row.id for w in earlier)

    def waiting(self, lanes: Iterable[LaneKey]) -> set[Place]:
        """The pairs that have a message in the outbox for these partitions."""
        rows = [waiting for key in lanes if key in self._targets for waiting in self._targets[key].values()]
        return {(w.row.kind, w.row.no, w.source, w.row.id) for w in rows}

    def pending(self, lanes: Sequence[LaneKey], after: int, older_than: float, limit: int) -> list[Pending]:
        """Messages waiting for these partitions, in order."""
        until = self.now() - timedelta(seconds=older_than)
        found = [
            waiting.row
            for key in lanes
            if key in self._targets
            for waiting in self._targets[key].values()
            if waiting.row.n > after and waiting.at <= until
        ]
        found.sort(key=lambda row: row.n)
        if DELETE_THE_ROW_EARLY in self.planted:
            for row in found[:limit]:
                self._delete(row.message)
        return found[:limit]

    def taken_claims(self, claims: Iterable[Key]) -> dict[Key, Key]:
        """Those of the claims that somebody holds."""
        return {claim: self.claims[claim] for claim in claims if claim in self.claims}

    def blocked(self, lanes: Collection[LaneKey]) -> set[tuple[str, int, str, str]]:
        """(kind, no, source, id) of the parked messages of these partitions."""
        rows = ((parked.row, parked.source) for parked in self.parked.values())
        return {(row.kind, row.no, source, row.id) for row, source in rows if (row.kind, row.no) in lanes}

    def due_timers(self, lanes: Iterable[LaneKey], until: datetime) -> list[tuple[str, str, datetime]]:
        """The timers of these partitions due until then."""
        return [
            (kind, id_, due_at)
            for kind, no in lanes
            if (kind, no) in self.timers
            for id_, due_at in self.timers[kind, no].items()
            if due_at <= until
        ]

    def history(self, kind: str, id: str, after: int, limit: int) -> list[EventRow]:
        """The next events of an entity after a version."""
        events = self.histories.get((kind, id), [])
        start = bisect_right(events, after, key=lambda event: event.version)
        return events[start : start + limit]

    # Locks: a statement that is still at work holds its partitions

    async def unlocked(self, lanes: Collection[LaneKey]) -> None:
        """Wait until no statement holds one of the partitions."""
        while held := self._locks.keys() & lanes if self._locks else ():
            await self._locks[min(held)].wait()

    def land(self, lanes: Sequence[LaneKey], statement: Callable[[], Any], seconds: float) -> None:
        """Carry out a statement whose client has gone: half of the time it waits, half of it it holds its partitions.

        It belongs to the server: it runs on whatever becomes of the process that sent it, in a context of its own.
        """
        task = asyncio.get_running_loop().create_task(self._land(lanes, statement, seconds / 2), context=Context())
        self._landing.add(task)
        task.add_done_callback(self._landing.discard)

    async def _land(self, lanes: Sequence[LaneKey], statement: Callable[[], Any], seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.unlocked(lanes)
        released = asyncio.Event()
        self._locks.update(dict.fromkeys(lanes, released))
        try:
            await asyncio.sleep(seconds)
            statement()
        except JournalError:
            pass  # it was refused, and nobody is there any more who could be told
        finally:
            for lane in lanes:
                del self._locks[lane]
            released.set()

    # The steps of a commit

    def _look(self, lanes: Sequence[tuple[Lane, int]], turns: Sequence[TurnRows], touched: Sequence[TurnRows]) -> None:
        """Raise what stands against the commit: the lanes, then the entities, the messages, the claims, the keys."""
        checked = not self.planted & {SKIP_THE_TAIL_CHECK, TRUST_THE_CONSUMER}
        if checked:
            self._look_at_lanes(lanes)
        for turn in touched:
            stored = self.entities.get((turn.kind, turn.id))
            if (0 if stored is None else stored.version) != turn.before:
                raise Fenced(f"{turn.kind}:{turn.id} is not at version {turn.before}")
        if len({(turn.kind, turn.id) for turn in touched}) < len(touched):
            raise Fenced("an entity stands in the commit twice")
        taken = [message for turn in turns for message in turn.taken]
        if len(self.outbox.keys() & taken) < len(taken) and DELETE_THE_ROW_EARLY not in self.planted:
            raise Fenced(f"a message was taken before, one of {taken}")
        self._look_at_claims(touched)
        for turn in touched:
            names = [part.part for part in turn.parts if part.value is not None]
            if len(set(names)) < len(names):
                raise CommitRefused("21000 a part is set twice in one turn")
        sent = [row.message for turn in turns for row in turn.outbox]
        if len(set(sent)) < len(sent) or any(message in self.outbox and message not in taken for message in sent):
            raise Fenced("outbox_pkey: a message stands in the outbox already")
        if checked:
            self._look_at_events(touched)

    def _look_at_lanes(self, lanes: Sequence[tuple[Lane, int]]) -> None:
        for lane, _ in lanes:
            partition = self.partitions.get((lane.kind, lane.no))
            if partition is None or partition.tail != lane.tail:
                raise Fenced(f"{lane.kind}.{lane.no:02d} does not end at {lane.tail}")
            if partition.epoch != lane.epoch and DROP_THE_EPOCH not in self.planted:
                raise Fenced(f"{lane.kind}.{lane.no:02d} has another owner than that of epoch {lane.epoch}")
        if len({(lane.kind, lane.no) for lane, _ in lanes}) < len(lanes):
            raise Fenced("a partition stands in the commit twice")

    def _look_at_claims(self, touched: Sequence[TurnRows]) -> None:
        claims = [claim for turn in touched for claim in turn.claims]
        freed = {claim for turn in touched for claim in turn.drops if self.claims.get(claim) == (turn.kind, turn.id)}
        for claim in claims:
            if claim in self.claims and claim not in freed:
                raise ClaimTaken(f"23505 {claim} belongs to {self.claims[claim]}")
            fits_index(*claim)
        if len(set(claims)) < len(claims):
            raise ClaimTaken("23505 a value is claimed twice in one commit")

    def _look_at_events(self, touched: Sequence[TurnRows]) -> None:
        for turn in touched:
            log = self.logs.get((turn.kind, turn.no))
            last = log[-1][1].seq if log else 0
            for event in turn.events:
                if event.seq <= last and any((known.seq, known.at) == (event.seq, event.at) for _, known in log or ()):
                    raise Fenced(f"event_pkey: {turn.kind}.{turn.no:02d}@{event.seq}")

    def _write(self, turn: TurnRows) -> None:
        key = (turn.kind, turn.id)
        self.entities[key] = StoredEntity(turn.version, turn.shape, turn.head, turn.state)
        if turn.events:
            self.histories[key].extend(turn.events)
            self.logs[turn.kind, turn.no].extend((turn.id, event) for event in turn.events)
        for part in turn.parts:
            parts = self.parts.setdefault(key, {})
            if part.value is None:
                parts.pop(part.part, None)
            else:
                parts[part.part] = (part.value, part.due_at)
        if isinstance(turn.timer, datetime):
            self.timers[turn.kind, turn.no][turn.id] = turn.timer
        elif turn.timer is DROP:
            self.timers[turn.kind, turn.no].pop(turn.id, None)
        for claim in turn.drops:
            if self.claims.get(claim) == key:
                del self.claims[claim]
        for claim in turn.claims:
            self.claims[claim] = key

    def _answer(self, turns: Sequence[TurnRows], now: datetime) -> None:
        for turn in turns:
            for row in turn.replies:
                kept = KeptReply(row.body_hash, row.reply, now)
                self.replies.setdefault((turn.kind, turn.id, row.command), []).append(kept)

    def _delete(self, message: str) -> None:
        waiting = self.outbox.pop(message, None)
        if waiting is not None:
            del self._targets[waiting.row.kind, waiting.row.no][message]

    def _due(self, key: Key, now: datetime | None, found: Loaded) -> None:
        dated = [(part[1], name) for name, part in self.parts.get(key, {}).items() if part[1] is not None]
        if not dated or now is None:
            return
        due = found.due.setdefault(key, {})
        for at, name in nsmallest(DUE_PARTS + 1, dated):
            if at <= now and len(due) < DUE_PARTS:
                due[name] = self.parts[key][name][0]
            else:
                found.next_due[key] = at
                return


def fits_index(*texts: str) -> None:
    """Raise CommitRefused (54000) where an index row can't hold the texts."""
    if sum(map(len, texts)) > SURE_TO_FIT and len(zlib.compress("".join(texts).encode())) > INDEX_ROW:
        raise CommitRefused("54000 index row size exceeds the maximum")
