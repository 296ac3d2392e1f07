"""A committer owns partitions: it drains what waits for their entities, judges it in memory, and commits it in groups.

One statement is in flight at a time. While it is, commands gather; the next group takes them all.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from ultramarket.errors import Rejection, Unavailable
from ultramarket.messages.common import Wake
from ultramarket.ports.asking import Answer
from ultramarket.ports.journal import (
    KEEP,
    ClaimTaken,
    CommitBusy,
    CommitRefused,
    Fenced,
    Journal,
    Lane,
    Loaded,
)
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime.actor import Actor, Send
from ultramarket.runtime.clock import Clock
from ultramarket.runtime.codec import KindCodec
from ultramarket.runtime.failpoints import failpoint, taken
from ultramarket.runtime.loading import Loader, Unit
from ultramarket.runtime.measures import Measures
from ultramarket.runtime.memory import Entity, Memory
from ultramarket.runtime.other_turns import unreadable_turn, worker_turn
from ultramarket.runtime.partition import Partition, moved
from ultramarket.runtime.turn import Failure, Judge, Turn, outgoing

log = structlog.get_logger()

BUSY_TRIES = 5
NEWER_SECONDS = 5.0
"""How long a message for an entity of a newer shape stays in the outbox before it is looked at again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a group: entities, commands of one entity, and commands in all."""

    entities: int = 256
    per_entity: int = 256
    commands: int = 1024


@dataclass(slots=True)
class Hooks:
    """What the runtime does around commits."""

    send: Callable[[Delivery], None]
    set_timer: Callable[[str, str, datetime], None]
    changed: Callable[[Sequence[Turn]], None]
    failed: Callable[[Partition, Failure], None]
    retry_wake: Callable[[Delivery], None]


@dataclass
class Committer:
    """Judges and commits for its partitions; `run` is its task. Errors of the journal come out of `run`."""

    journal: Journal
    actors: Mapping[str, Actor[Any, Any, Any]]
    codecs: Mapping[str, KindCodec]
    clock: Clock
    memory: Memory
    hooks: Hooks
    limits: Limits = field(default_factory=Limits)
    measures: Measures = field(default_factory=Measures)

    def __post_init__(self) -> None:
        """Start with nothing ready."""
        self._ready: dict[tuple[str, str], Partition] = {}
        self._finished: list[Unit] = []
        self._work = asyncio.Event()
        self._loader = Loader(self.journal, self.actors, self.codecs, self.clock, self.memory)
        self._in_flight: dict[int, tuple[Partition, Delivery]] = {}
        self._failures: list[tuple[Partition, Failure]] = []
        self._deferred: list[tuple[Partition, Delivery]] = []
        self._uncertain: list[Delivery] = []
        self._fenced = False

    def ready(self, partition: Partition, id: str) -> None:
        """Something waits for this entity."""
        self._ready.setdefault((partition.kind, id), partition)
        self._work.set()

    def finish(self, partition: Partition, delivery: Delivery, sends: Iterable[Send]) -> None:
        """A worker's call is done: commit its answers and the deletion of its message together.

        Raises:
            Exception: an answer can't be sent.
        """
        source = f"{partition.kind}:{delivery.id}"
        answers = []
        for index, send in enumerate(sends):
            if send.kind not in self.codecs:
                raise LookupError(f"{partition.kind} sends to {send.kind!r}, which nobody is")
            answers.append(outgoing(f"{delivery.message}>{index}", send, source, delivery.trace))
        self._finished.append(Unit(partition, delivery.id, [delivery], tuple(answers)))
        self._work.set()

    def fence(self) -> None:
        """Somebody else has taken a partition of ours: `run` ends with `Fenced`, as after a commit that was refused."""
        self._fenced = True
        self._work.set()

    def idle(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not (self._ready or self._finished or self._in_flight)

    def done_with(self, partition: Partition) -> bool:
        """Whether nothing of this partition waits or is in flight, calls of workers aside."""
        busy = any(each is partition for each, _ in self._in_flight.values())
        return not busy and not partition.depth and not any(unit.partition is partition for unit in self._finished)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._work.wait()
            if self._fenced:
                raise Fenced("another process has taken a partition of ours")
            units = self._gather()
            if not units:
                if not self._ready:  # all that was looked at may be gone, as after a partition was lost, and more wait
                    self._work.clear()
                continue
            self._in_flight = {id(d): (unit.partition, d) for unit in units for d in unit.deliveries}
            await self._process(units)
            self._put_back()

    def reset(self) -> list[tuple[Partition, Delivery]]:
        """Forget what is ready; gives what of the group is not settled. Finished calls of workers are kept."""
        open_, self._in_flight = list(self._in_flight.values()), {}
        self._failures, self._deferred = [], []
        self._ready.clear()
        self._fenced = False
        return open_

    def take_uncertain(self) -> list[Delivery]:
        """The messages of the commit that did not end: they may stand in the outbox."""
        uncertain, self._uncertain = self._uncertain, []
        return uncertain

    def _gather(self) -> list[Unit]:
        finished, self._finished = self._finished, []
        units = []
        for unit in finished:
            if unit.partition.lane is not None:
                units.append(unit)
            else:  # handed over meanwhile: its message is in the outbox, and the next owner makes the call anew
                unit.partition.settle(unit.deliveries[0])
        room = self.limits.commands
        for key in list(self._ready)[: self.limits.entities]:
            partition = self._ready.pop(key)
            if key[1] not in partition.waiting:
                continue
            batch = partition.pull(key[1], min(self.limits.per_entity, room))
            units.append(Unit(partition, key[1], batch))
            if key[1] in partition.waiting:
                self._ready[key] = partition
            room -= len(batch)
            if room <= 0:
                break
        return units

    async def _process(self, units: list[Unit]) -> None:
        """Judge and commit; what the store refuses is halved until the offender is alone."""
        tries = 0
        while True:
            tries += 1
            conflicts: dict[int, tuple[str, str]] = {}
            rest = units
            try:
                turns = await self._judged(units)
                conflicts = await self._claim_conflicts(turns)
                good = [pair for place, pair in enumerate(zip(units, turns, strict=True)) if place not in conflicts]
                rest = [unit for unit, _ in good]
                await self._commit(good)
            except CommitBusy:
                if tries == BUSY_TRIES:
                    raise
                continue
            except CommitRefused as error:
                await self._split(rest, error)
            for place, claim in conflicts.items():
                await self._claim_refused(units[place], claim)
            return

    async def _judged(self, units: list[Unit]) -> list[Turn]:
        loaded, entities = await self._loader.load(units)
        self.measures.loads += loaded is not None
        turns = []
        for unit in units:
            if unit.done is not None:
                turns.append(worker_turn(unit, unit.done, loaded or Loaded()))
                continue
            entity = entities[unit.partition.kind, unit.id]
            if isinstance(entity, Entity):
                turns.append(self._judge(unit, loaded or Loaded(), entity))
            else:
                turns.append(unreadable_turn(unit, entity))
        return turns

    def _judge(self, unit: Unit, loaded: Loaded, entity: Entity) -> Turn:
        try:
            return self._judge_with(unit, loaded, entity, careful=False)
        except Exception:  # noqa: BLE001 - a command leads to a state that can't be stored: the careful way finds which
            return self._judge_with(unit, loaded, entity, careful=True)

    def _judge_with(self, unit: Unit, loaded: Loaded, entity: Entity, *, careful: bool) -> Turn:
        kind, no = unit.partition.kind, unit.partition.no
        stalled = {f.delivery.source for p, f in self._failures if p is unit.partition and f.delivery.id == unit.id}
        judge = Judge(self.actors[kind], self.codecs, entity, unit.id, no, self.clock.now(), stalled, careful=careful)
        for delivery in unit.deliveries:
            judge.take(delivery, loaded)
        return judge.finish()

    async def _claim_conflicts(self, turns: list[Turn]) -> dict[int, tuple[str, str]]:
        """Turns (by place) that claim what another entity holds, with the claim."""
        claims = [claim for turn in turns for claim in turn.claimed]
        if not claims:
            return {}
        holders = await self.journal.taken_claims(claims)
        conflicts: dict[int, tuple[str, str]] = {}
        for place, turn in enumerate(turns):
            rows = turn.rows
            for claim in turn.claimed:
                holder = holders.get(claim)
                if holder == (rows.kind, rows.id) and claim in rows.claims:
                    rows.claims.remove(claim)
                elif holder not in (None, (rows.kind, rows.id)):
                    conflicts.setdefault(place, claim)
        return conflicts

    async def _claim_refused(self, unit: Unit, claim: tuple[str, str]) -> None:
        """Refuse the command whose claim is taken; others of the same unit are judged alone."""
        if len(unit.deliveries) > 1:
            for delivery in unit.deliveries:
                await self._process([Unit(unit.partition, unit.id, [delivery])])
            return
        namespace, value = claim
        detail = f"The {namespace} {value!r} belongs to another {unit.partition.kind}; choose another one."
        await self._reject(unit, Rejection("taken", detail, 409, extra={"namespace": namespace, "value": value}))

    async def _split(self, units: list[Unit], error: CommitRefused) -> None:
        """Find what the store refuses by halving; alone, it is refused to who asked."""
        self.measures.splits += 1
        if len(units) > 1:
            middle = len(units) // 2
            await self._process(units[:middle])
            await self._process(units[middle:])
            return
        unit = units[0]
        if len(unit.deliveries) > 1:
            middle = len(unit.deliveries) // 2
            await self._process([Unit(unit.partition, unit.id, unit.deliveries[:middle])])
            await self._process([Unit(unit.partition, unit.id, unit.deliveries[middle:])])
            return
        if isinstance(error, ClaimTaken):
            rejection = Rejection("taken", "A handle, SKU or other unique value in it belongs to another entity.", 409)
        else:
            log.error("the store refuses a turn", kind=unit.partition.kind, id=unit.id, error=str(error))
            rejection = Rejection("not_storable", "The store can't keep this; check its texts and sizes.", 422)
        await self._reject(unit, rejection)

    async def _reject(self, unit: Unit, rejection: Rejection) -> None:
        """Refuse a unit of one delivery: a client gets the refusal (kept under its key), a message counts as failed."""
        delivery = unit.deliveries[0]
        if delivery.message is not None:
            self._failures.append((unit.partition, Failure(delivery, CommitRefused(rejection.detail))))
            return
        turn = Turn.nothing(unit.partition.kind, unit.partition.no, unit.id)
        turn.taken.append(delivery)
        turn.answers.append((delivery, Answer(rejection=rejection), 0))
        await self._commit([(unit, turn)])

    async def _commit(self, group: list[tuple[Unit, Turn]]) -> None:
        """Number the turns along their partitions' logs, commit, and let the answers and messages go."""
        group = self._still_ours(group)
        taken(group, "before")
        writing = [(unit, turn) for unit, turn in group if turn.writes()]
        if writing:
            tails: dict[tuple[str, int], tuple[Partition, int]] = {}
            for unit, turn in writing:
                key = (unit.partition.kind, unit.partition.no)
                tail = tails[key][1] if key in tails else _lane(unit.partition).tail
                tails[key] = (unit.partition, turn.number(tail))
            failpoint("commit.before")
            started = self.clock.seconds()
            lanes = [(_lane(partition), tail) for partition, tail in tails.values()]
            self._uncertain = [onward for _, turn in writing for onward in turn.sends]
            now = await self.journal.commit(lanes, [turn.rows for _, turn in writing])
            failpoint("commit.after")
            self.clock.set(now, started)
            self._measure([turn for _, turn in writing], self.clock.seconds() - started)
            for partition, tail in tails.values():
                lane = partition.lane
                if lane is not None:  # else we lost it while the commit, which holds, was under way
                    partition.lane = Lane(lane.kind, lane.no, lane.epoch, tail)
        taken(group, "after")
        self._committed(group)
        self._uncertain = []

    def _still_ours(self, group: list[tuple[Unit, Turn]]) -> list[tuple[Unit, Turn]]:
        """The group without the turns of partitions that became another's since it was gathered."""
        ours = []
        for unit, turn in group:
            if unit.partition.lane is not None:
                ours.append((unit, turn))
                continue
            for delivery in unit.deliveries:
                self._in_flight.pop(id(delivery), None)
                unit.partition.settle(delivery, moved())
        return ours

    def _committed(self, group: list[tuple[Unit, Turn]]) -> None:
        """The commit holds: take it into memory, answer, and hand the messages on."""
        failpoint("answer.before")
        for unit, turn in group:
            self._remember(turn)
            answers = {id(delivery): answer for delivery, answer, _ in turn.answers}
            for delivery in turn.taken:
                self._in_flight.pop(id(delivery), None)
                unit.partition.settle(delivery, answers.pop(id(delivery), None))
                if isinstance(delivery.command, Wake):
                    self._check_wake(turn, delivery)
            for delivery in turn.postponed:
                self._in_flight.pop(id(delivery), None)
                unit.partition.shelve(delivery, NEWER_SECONDS)
            for delivery in turn.early:
                self._in_flight.pop(id(delivery), None)
                unit.partition.shelve(delivery)
            self._deferred.extend((unit.partition, delivery) for delivery in turn.deferred)
            self._failures.extend((unit.partition, failure) for failure in turn.failures)
        failpoint("answer.after")
        for _, turn in group:
            for onward in turn.sends:
                failpoint("outbox.before")
                self.hooks.send(onward)
                failpoint("outbox.after")
        self.hooks.changed([turn for _, turn in group if turn.rows.events])

    def _put_back(self) -> None:
        """The group is through: what had to wait behind a failure goes back, and then the failures before it."""
        deferred, self._deferred = self._deferred, []
        failures, self._failures = self._failures, []
        self._in_flight = {}
        for partition, delivery in reversed(deferred):
            partition.push(delivery, first=True)
        for partition, failure in reversed(failures):
            self.hooks.failed(partition, failure)

    def _remember(self, turn: Turn) -> None:
        rows, entity = turn.rows, turn.entity
        if not rows.events:
            return
        if entity.complete:
            for name, value in turn.parts.items():
                if value is None:
                    entity.parts.pop(name, None)
                else:
                    entity.parts[name] = value
        self.memory.put(rows.kind, rows.id, entity)
        if isinstance(rows.timer, datetime):
            self.hooks.set_timer(rows.kind, rows.id, rows.timer)

    def _check_wake(self, turn: Turn, delivery: Delivery) -> None:
        """A wake-up that left its time in the past is tried again: at once while due parts go, else later."""
        wake_at = turn.entity.wake_at
        if turn.rows.timer is KEEP and wake_at is not None and wake_at <= self.clock.now():
            if turn.more_due and None in turn.parts.values():
                self.hooks.set_timer(turn.rows.kind, turn.rows.id, wake_at)
            else:
                self.hooks.retry_wake(delivery)

    def _measure(self, turns: list[Turn], seconds: float) -> None:
        measures = self.measures
        measures.commits += 1
        measures.commit_seconds += seconds
        measures.turns += len(turns)
        measures.commands += sum(len(turn.taken) for turn in turns)
        measures.events += sum(len(turn.rows.events) for turn in turns)


def _lane(partition: Partition) -> Lane:
    if partition.lane is None:
        raise Unavailable("not_ready", "The partition is not ours yet.")
    return partition.lane
