"""What must hold at every step of a world, checked at the store and where clients are answered."""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from tests.simulation.store import Store
from ultramarket.ports.asking import Answer
from ultramarket.ports.journal import ANYBODY, Anybody, JournalError, Lane, TurnRows
from ultramarket.runtime.codec import decode_message
from ultramarket.runtime.partitioning import partition_of

Answered = TypeVar("Answered")
Key = tuple[str, str]
Pair = tuple[str, str, str]
"""Source (`kind:id`), and kind and id of the target."""
STALE_SECONDS = 11.0
"""After this time nobody shows what was before: the lease of who lost its partitions without a sign has run out."""
CLOCK_SECONDS = 1.0
"""How far the time of an event may be from the store's."""
Say = Callable[[str], None]


class _Tagged(msgspec.Struct):
    type: str = msgspec.field(name="$type", default="?")


_type = msgspec.json.Decoder(_Tagged)


class Oracle:
    """Collects what is wrong.

    Attributes:
        faults: what was found.
        acknowledged: the newest version of each entity that a client was told of.

    Args:
        seconds: the world's time.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._told: dict[Key, tuple[int, float]] = {}
        self.faults: list[str] = []
        self.acknowledged: dict[Key, int] = {}
        self._kept: dict[str, Any] = {}
        self._pairs: dict[Pair, deque[str]] = defaultdict(deque)
        self._sent: dict[str, Pair] = {}
        self._taken: set[str] = set()

    def fault(self, text: str) -> None:
        """Note a fault, once."""
        if text not in self.faults:
            self.faults.append(text)

    def committed(self, store: Store, lanes: Sequence[tuple[Lane, int]], turns: Sequence[TurnRows]) -> None:
        """A commit took effect."""
        for lane, _ in lanes:
            newest = store.partitions[lane.kind, lane.no].epoch
            if lane.epoch != newest:
                self.fault(f"{lane.kind}.{lane.no:02d} was written under epoch {lane.epoch}, the newest is {newest}")
        for turn in turns:
            for message in turn.taken:
                self._take(message, turn)
        for turn in turns:
            for row in turn.outbox:
                self._send(row.message, (f"{turn.kind}:{turn.id}", row.kind, row.id))

    def parked(self, message: str) -> None:
        """A message was parked: it is out of its row."""
        pair = self._sent.get(message)
        if pair is not None and message in self._pairs[pair]:
            self._pairs[pair].remove(message)
            self._taken.add(message)

    def stamped(self, events: Sequence[tuple[str, datetime]], now: datetime, *, waited: bool) -> None:
        """Events are about to be stored; where the group waited for a look-up they may be older."""
        for name, at in events:
            behind = (now - at).total_seconds()
            if behind < -CLOCK_SECONDS or (behind > CLOCK_SECONDS and not waited):
                self.fault(f"{name} is stamped {behind:+.3f} s behind the store's time")

    def answered(self, store: Store, kind: str, id: str, key: str | None, answer: Answer) -> None:
        """A client is about to be told that its command took effect."""
        if key is not None and (kind, id, key) not in store.replies and not _unkept(answer):
            self.fault(f"{kind} {id}: the answer to {key} was given and is not kept")
        if answer.rejection is not None:
            return
        stored = store.entities.get((kind, id))
        version = stored.version if stored else 0
        if answer.version > version:
            self.fault(f"{kind} {id}: {answer.version} was answered before it was committed, the store has {version}")
        if answer.token is not None:
            seq, tail = int(answer.token.partition("@")[2]), store.partitions[kind, partition_of(kind, id)].tail
            if seq > tail:
                self.fault(f"{answer.token} was answered before it was committed, the log ends at {tail}")

    def repeated(self, key: str, answer: Answered) -> Answered:
        """The whole answer that is kept under a client's key, as it was kept or is given again: always the same."""
        first = self._kept.setdefault(key, answer)
        if first != answer:
            self.fault(f"{key} is answered {answer}, but {first} was kept")
        return answer

    def acknowledge(self, kind: str, id: str, version: int) -> None:
        """A client was told of this version."""
        if version > self.acknowledged.get((kind, id), 0):
            self.acknowledged[kind, id] = version
            self._told[kind, id] = (version, self._seconds())

    def least(self, kind: str, id: str) -> int:
        """The version that whoever is asked now has to show: clients were told of it long ago."""
        version, at = self._told.get((kind, id), (0, 0.0))
        return version if self._seconds() > at + STALE_SECONDS else 0

    def lost(self) -> list[str]:
        """At rest: messages that were sent and neither taken nor parked."""
        return [
            f"{message} was sent to {pair[1]} {pair[2]} and never taken"
            for message, pair in self._sent.items()
            if message not in self._taken
        ]

    def _send(self, message: str, pair: Pair) -> None:
        if message in self._sent:
            self.fault(f"{message} was sent twice")
        self._sent[message] = pair
        self._pairs[pair].append(message)

    def _take(self, message: str, turn: TurnRows) -> None:
        pair = self._sent.get(message)
        if pair is None or pair[1:] != (turn.kind, turn.id):
            self.fault(f"{message} was taken by {turn.kind} {turn.id}, but sent to {pair}")
            return
        if message in self._taken:
            self.fault(f"{message} was taken twice")
            return
        self._taken.add(message)
        row = self._pairs[pair]
        if row[0] == message:
            row.popleft()
            return
        self.fault(f"{message} overtook {row[0]}")
        row.remove(message)


def _unkept(answer: Answer) -> bool:
    """Whether an answer says only that another one is to come, or belongs to another request."""
    return answer.rejection is not None and answer.rejection.code in ("in_progress", "idempotency_key_reused")


class WatchedStore(Store):
    """A store whose every write is watched, and told step by step where somebody wants to know.

    Attributes:
        oracle: the watcher.
        say: told of every write; None where nobody wants to know.
    """

    oracle: Oracle
    say: Say | None = None

    def take(self, kind: str, no: int, owner: str, instead_of: str | Anybody | None = ANYBODY) -> Lane | None:
        """One more epoch for the partition."""
        lane = super().take(kind, no, owner, instead_of)
        if lane is None:
            return None
        if self.say is not None and no == 0:
            self.say(f"takes {kind}.00 and on, epoch {lane.epoch}")
        return lane

    def commit(self, lanes: Sequence[tuple[Lane, int]], turns: Sequence[TurnRows]) -> datetime:
        """Append the turns, all or nothing."""
        taken = self._described(turns) if self.say is not None else {}
        try:
            now = super().commit(lanes, turns)
        except JournalError as error:
            if self.say is not None:
                self.say(f"commit refused: {type(error).__name__} {error}")
            raise
        self.oracle.committed(self, lanes, turns)
        if self.say is not None:
            for turn in turns:
                self._tell(turn, taken)
        return now

    def park(self, lane: Lane, message: str, source: str, reason: str) -> bool:
        """Move a message to the parked ones."""
        parked = super().park(lane, message, source, reason)
        if parked:
            self.oracle.parked(message)
        return parked

    def _described(self, turns: Sequence[TurnRows]) -> dict[str, str]:
        """Source and type of the messages that the turns take, before their rows go."""
        found = {}
        for turn in turns:
            for message in turn.taken:
                waiting = self.outbox.get(message)
                if waiting is not None:
                    stored = decode_message(waiting.row.body)
                    found[message] = f"{stored.source} -> {turn.kind}:{turn.id} {_type.decode(stored.body).type}"
        return found

    def _tell(self, turn: TurnRows, taken: dict[str, str]) -> None:
        say = self.say
        if say is None:
            return
        events = defaultdict(list)
        for event in turn.events:
            events[event.command, event.actor].append(event.type)
        for message in turn.taken:
            done = [name for (command, _), names in events.items() if command == message for name in names]
            say(f"{taken.get(message, message)}: {', '.join(done) or 'nothing new'}")
        for (command, actor), names in events.items():
            if command not in turn.taken:
                say(f"{actor} -> {turn.kind}:{turn.id} {command}: {', '.join(names)}")
        if turn.replies and not turn.events:
            say(f"answer kept for {', '.join(reply.command for reply in turn.replies)} at {turn.kind}:{turn.id}")
