"""The journal of a simulated world: a connection to its `Store` over a network that delays, loses and cuts.

See `ultramarket.ports.journal.Journal`; tests/conformance/journal.py holds it to what PostgreSQL does.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol, TypeVar

from tests.simulation.store import FAULTS, LaneKey, Store, fits_index
from ultramarket.ports.journal import (
    ANYBODY,
    Anybody,
    CommitRefused,
    EventRow,
    JournalError,
    JournalLost,
    Lane,
    Loaded,
    Pending,
    Place,
    TurnRows,
    Wanted,
)

__all__ = ["FAULTS", "Network", "SimJournal", "Steady", "Store"]

Answer = TypeVar("Answer")
PAGE = 500
"""Events that one statement of `history` reads."""
INT4: Final = range(-(1 << 31), 1 << 31)
INT8: Final = range(-(1 << 63), 1 << 63)


class Network(Protocol):
    """The way between a process and the database."""

    async def trip(self, what: str) -> None:
        """A statement (`what`: the journal's method, e.g. `commit`) is on its way, or its answer (`commit answer`).

        Raises:
            JournalLost: the connection broke meanwhile.
        """
        ...

    def late(self) -> float | None:
        """After a connection broke on the way there: in how many seconds its statement still takes effect, if at all.

        Half of the time it waits in the server's queue, half of it it holds its partitions.
        """
        ...


class Steady:
    """A network that neither delays nor breaks; others have their turn meanwhile."""

    async def trip(self, what: str) -> None:  # noqa: ARG002 - see the protocol
        """Arrives."""
        await asyncio.sleep(0)

    def late(self) -> float | None:
        """Never."""
        return None


class SimJournal:
    """One connection; calls wait for each other.

    A call that is cancelled while its statement is out drops the connection, as a driver has to.
    """

    def __init__(self, store: Store, network: Network) -> None:
        self._store = store
        self._network = network
        self._lock = asyncio.Lock()
        self._connection: object | None = None

    async def open(self) -> datetime:
        """Connect (again)."""
        self._connection = None
        await self._network.trip("open")
        await self._network.trip("open answer")
        self._connection = object()
        return self._store.now()

    async def close(self) -> None:
        """Disconnect."""
        self._connection = None

    async def take(self, kind: str, no: int, owner: str, instead_of: str | Anybody | None = ANYBODY) -> Lane | None:
        """Become the owner of a partition; waits for a commit that is at work."""
        check_texts((kind, owner))
        return await self._write("take", [(kind, no)], lambda: self._store.take(kind, no, owner, instead_of))

    async def take_free(self, owner: str, wanted: Sequence[tuple[str, int, str | None]]) -> list[Lane]:
        """Become the owner of those that can be had at once."""
        check_texts((owner, *(kind for kind, _, _ in wanted)))
        return await self._write("take", [], lambda: self._store.take_free(owner, wanted))

    async def release(self, lanes: Sequence[Lane]) -> int:
        """Own these partitions no more."""
        keys = [(lane.kind, lane.no) for lane in lanes]
        return await self._write("release", keys, lambda: sum(map(self._store.release, lanes)))

    async def waiting(self, lanes: Sequence[tuple[str, int]]) -> set[Place]:
        """The pairs that have a message in the outbox for these partitions."""
        return await self._read("waiting", lambda: self._store.waiting(lanes))

    async def epochs(self, lanes: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The epochs of these partitions."""
        return await self._read("epochs", lambda: self._store.epochs(lanes))

    async def load(self, wanted: Wanted) -> Loaded:
        """Everything wanted."""
        check_texts(wanted.messages)
        check_texts(wanted.ordered)
        for names in (wanted.entities, wanted.parts, wanted.due, wanted.replies):
            for name in names:
                check_texts(name)
        return await self._read("load", lambda: self._store.load(wanted))

    async def taken_claims(self, claims: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, str]]:
        """Those of the claims that somebody holds."""
        for claim in claims:
            check_texts(claim)
        return await self._read("taken_claims", lambda: self._store.taken_claims(claims))

    async def commit(self, lanes: Sequence[tuple[Lane, int]], turns: Sequence[TurnRows]) -> datetime:
        """Append the turns, all or nothing."""
        return await self._write(
            "commit",
            [(lane.kind, lane.no) for lane, _ in lanes],
            lambda: self._store.commit(lanes, turns),
            check=lambda: check_commit(lanes, turns),
            sent=lambda: _sent(self._store, lanes, turns),
        )

    async def pending(
        self, lanes: Sequence[tuple[str, int]], after: int, older_than: float, limit: int
    ) -> list[Pending]:
        """Messages waiting for these partitions, in order."""
        return await self._read("pending", lambda: self._store.pending(lanes, after, older_than, limit))

    async def park(self, lane: Lane, message: str, source: str, reason: str) -> bool:
        """Move a message from the outbox to the parked ones."""
        check_texts((message, source, reason))
        return await self._write(
            "park", [(lane.kind, lane.no)], lambda: self._store.park(lane, message, source, reason)
        )

    async def blocked(self, lanes: Sequence[tuple[str, int]]) -> set[tuple[str, int, str, str]]:
        """(kind, no, source, id) of the parked messages of these partitions."""
        return await self._read("blocked", lambda: self._store.blocked(lanes))

    async def due_timers(self, lanes: Sequence[tuple[str, int]], until: datetime) -> list[tuple[str, str, datetime]]:
        """The timers of these partitions due until then."""
        return await self._read("due_timers", lambda: self._store.due_timers(lanes, until))

    async def history(self, kind: str, id: str) -> AsyncIterator[EventRow]:
        """The events of an entity in order."""
        after = 0
        while events := await self._page(kind, id, after):
            for event in events:
                yield event
            after = events[-1].version

    async def numbers(self, sequence: str, count: int) -> list[int]:
        """The next numbers of a sequence."""
        return await self._write("numbers", [], lambda: self._store.numbers(sequence, count))

    async def _page(self, kind: str, id: str, after: int) -> list[EventRow]:
        return await self._read("history", lambda: self._store.history(kind, id, after, PAGE))

    async def _read(self, what: str, statement: Callable[[], Answer]) -> Answer:
        async with self._lock:
            connection = self._connected()
            await self._trip(what, connection)
            return await self._answered(what, connection, statement)

    async def _write(
        self,
        what: str,
        lanes: Sequence[LaneKey],
        statement: Callable[[], Answer],
        check: Callable[[], None] = lambda: None,
        sent: Callable[[], Callable[[], object]] | None = None,
    ) -> Answer:
        """Carry out a statement that writes.

        Args:
            what: its name.
            lanes: the partitions whose rows it locks.
            statement: what it does.
            check: what the driver, or the server before it begins, refuses in its values.
            sent: gives the statement with its values as they are now, for one that outlives its client.
        """
        async with self._lock:
            connection = self._connected()
            check()
            try:
                await self._trip(what, connection)
                await self._store.unlocked(lanes)
            except (JournalLost, asyncio.CancelledError):
                self._drop(connection)
                late = self._network.late()
                if late is not None:
                    self._store.land(lanes, statement if sent is None else sent(), late)
                raise
            return await self._answered(what, connection, statement)

    async def _answered(self, what: str, connection: object, statement: Callable[[], Answer]) -> Answer:
        """Carry it out and bring the answer, or the refusal, back."""
        try:
            answer = statement()
        except JournalError:
            await self._trip(f"{what} answer", connection)
            raise
        await self._trip(f"{what} answer", connection)
        return answer

    async def _trip(self, what: str, connection: object) -> None:
        try:
            await self._network.trip(what)
        except (JournalLost, asyncio.CancelledError):
            self._drop(connection)
            raise
        if self._connection is not connection:
            raise JournalLost("the connection was closed meanwhile")

    def _drop(self, connection: object) -> None:
        if self._connection is connection:
            self._connection = None

    def _connected(self) -> object:
        if self._connection is None:
            raise JournalLost("not connected")
        return self._connection


def check_texts(texts: Iterable[str]) -> None:
    """Raise CommitRefused for a text with NUL or a lone surrogate."""
    text = "".join(texts)
    if "\0" in text:
        raise CommitRefused("22021 invalid byte sequence: 0x00")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise CommitRefused(f"a text can't be encoded: {error.reason}") from error


def check_commit(lanes: Sequence[tuple[Lane, int]], turns: Sequence[TurnRows]) -> None:
    """Raise CommitRefused for a value that no column takes."""
    for lane, after in lanes:
        if not (lane.no in INT4 and lane.epoch in INT8 and lane.tail in INT8 and after in INT8):
            raise CommitRefused("a number of a lane is out of range")
    for turn in turns:
        check_texts(_texts(turn))
        fits_index(turn.kind, turn.id)
        for sent in turn.outbox:
            fits_index(sent.message)
        for part in turn.parts:
            fits_index(turn.kind, turn.id, part.part)
        if not (turn.no in INT4 and turn.shape in INT4 and turn.version in INT8):
            raise CommitRefused(f"a number of {turn.kind}:{turn.id} is out of range")


def _texts(turn: TurnRows) -> list[str]:
    texts = [turn.kind, turn.id, turn.state, *turn.taken]
    for event in turn.events:
        texts += (event.type, event.data, event.command, event.actor, event.trace)
    for reply in turn.replies:
        texts += (reply.command, reply.reply)
    for sent in turn.outbox:
        texts += (sent.message, sent.kind, sent.id, sent.body)
    for part in turn.parts:
        texts += (part.part, part.value or "")
    for claim in (*turn.claims, *turn.drops):
        texts += claim
    return texts


def _sent(store: Store, lanes: Sequence[tuple[Lane, int]], turns: Sequence[TurnRows]) -> Callable[[], datetime]:
    """The commit as it went out: its client may number its events anew meanwhile."""
    copies = [replace(turn, events=[replace(event) for event in turn.events]) for turn in turns]
    return lambda: store.commit(lanes, copies)
