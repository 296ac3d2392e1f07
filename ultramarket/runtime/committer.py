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
    ClaimTaken,
    CommitBusy,
    CommitRefused,
    Journal,
    Lane,
    Loaded,
    TurnRows,
    Wanted,
)
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime.actor import Actor, Send
from ultramarket.runtime.clock import Clock
from ultramarket.runtime.codec import KindCodec
from ultramarket.runtime.failpoints import failpoint
from ultramarket.runtime.memory import Entity, Memory
from ultramarket.runtime.partition import Partition
from ultramarket.runtime.rebuild import NewerShape, rebuild
from ultramarket.runtime.turn import Failure, Judge, Keep, Turn, outgoing

log = structlog.get_logger()

BUSY_TRIES = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a group: entities, commands of one entity, and commands in all."""

    entities: int = 256
    per_entity: int = 256
    commands: int = 1024


@dataclass(slots=True)
class Unit:
    """What waits for one entity: the smallest piece that a group is split into is one delivery of one unit.

    Attributes:
        done: for a worker's finished call: the answers that go out with the deletion of its message.
    """

    partition: Partition
    id: str
    deliveries: list[Delivery]
    done: tuple[Send, ...] | None = None


@dataclass(slots=True)
class Measures:
    """What a committer has done since it started; for metrics."""

    commits: int = 0
    loads: int = 0
    turns: int = 0
    commands: int = 0
    events: int = 0
    splits: int = 0
    commit_seconds: float = 0.0


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
        self.in_flight: list[Unit] = []
        self.uncertain: list[Delivery] = []

    def ready(self, partition: Partition, id: str) -> None:
        """Something waits for this entity."""
        self._ready.setdefault((partition.kind, id), partition)
        self._work.set()

    def finish(self, partition: Partition, delivery: Delivery, sends: Iterable[Send]) -> None:
        """A worker's call is done: commit its answers and the deletion of its message together."""
        self._finished.append(Unit(partition, delivery.id, [delivery], tuple(sends)))
        self._work.set()

    def idle(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not (self._ready or self._finished or self.in_flight)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._work.wait()
            units = self._gather()
            if not units:
                self._work.clear()
                continue
            self.in_flight = units
            await self._process(units)
            self.in_flight = []

    def reset(self) -> list[Unit]:
        """Forget what is ready; gives the group that did not end. Finished calls of workers are kept."""
        units, self.in_flight = self.in_flight, []
        self._ready.clear()
        return units

    def take_uncertain(self) -> list[Delivery]:
        """The messages of the commit that did not end: they may stand in the outbox."""
        uncertain, self.uncertain = self.uncertain, []
        return uncertain

    def _gather(self) -> list[Unit]:
        units, self._finished = self._finished, []
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
        loaded, entities = await self._load(units)
        for tries in range(1, BUSY_TRIES + 1):
            turns = [self._judge(unit, loaded, entities.get((unit.partition.kind, unit.id))) for unit in units]
            conflicts = await self._claim_conflicts(turns)
            good = [(unit, turn) for unit, turn in zip(units, turns, strict=True) if id(turn) not in conflicts]
            try:
                await self._commit(good)
            except CommitBusy:
                if tries == BUSY_TRIES:
                    raise
                continue
            except CommitRefused as error:
                await self._split([unit for unit, _ in good], error)
            for unit, turn in zip(units, turns, strict=True):
                if id(turn) in conflicts:
                    await self._claim_refused(unit, conflicts[id(turn)])
            return

    async def _load(self, units: list[Unit]) -> tuple[Loaded, dict[tuple[str, str], Entity]]:
        """Everything the units need: one select, none when all is in memory. An entity of a newer shape is left out."""
        wanted = Wanted(now=self.clock.now())
        entities: dict[tuple[str, str], Entity] = {}
        for unit in units:
            if unit.done is None:
                entity = self.memory.get(unit.partition.kind, unit.id)
                if entity is not None:
                    entities[unit.partition.kind, unit.id] = entity
                self._want(unit, entity, wanted)
        if not wanted:
            return Loaded(), entities
        self.measures.loads += 1
        loaded = await self.journal.load(wanted)
        for kind, id_ in wanted.entities:
            stored = loaded.entities.get((kind, id_))
            try:
                entity = (
                    Entity()
                    if stored is None
                    else await rebuild(self.journal, self.actors[kind], self.codecs[kind], id_, stored)
                )
            except NewerShape as error:
                log.warning("entity has a newer shape", kind=kind, id=id_, error=str(error))
                continue
            entities[kind, id_] = entity
            self.memory.put(kind, id_, entity)
        return loaded, entities

    def _want(self, unit: Unit, entity: Entity | None, wanted: Wanted) -> None:
        kind = unit.partition.kind
        if entity is None:
            wanted.entities.append((kind, unit.id))
        for delivery in unit.deliveries:
            if delivery.key is not None:
                wanted.replies.append((kind, unit.id, delivery.key))
            if delivery.message is not None and not delivery.verified:
                wanted.messages.append(delivery.message)
            if isinstance(delivery.command, Wake):
                if (kind, unit.id) not in wanted.due and self.actors[kind].part is not None:
                    wanted.due.append((kind, unit.id))
            elif (entity is None or not entity.complete) and not isinstance(delivery.command, Keep):
                wanted.parts.extend((kind, unit.id, name) for name in self.actors[kind].needs(delivery.command))

    def _judge(self, unit: Unit, loaded: Loaded, entity: Entity | None) -> Turn:
        kind, no = unit.partition.kind, unit.partition.no
        if unit.done is not None:
            return self._worker_turn(unit, unit.done)
        if entity is None:
            turn = Turn(TurnRows(kind, no, unit.id, 0, 0), Entity(), unit.deliveries)
            newer = Unavailable("newer_version", "A newer version of the shop wrote this; it takes over shortly.", 5)
            turn.answers = [(delivery, newer, 0) for delivery in unit.deliveries if delivery.message is None]
            return turn
        judge = Judge(self.actors[kind], self.codecs, entity, unit.id, no, self.clock.now())
        for delivery in unit.deliveries:
            judge.take(delivery, loaded)
        return judge.finish()

    def _worker_turn(self, unit: Unit, sends: tuple[Send, ...]) -> Turn:
        delivery = unit.deliveries[0]
        rows = TurnRows(unit.partition.kind, unit.partition.no, unit.id, 0, 0, taken=[delivery.message or ""])
        turn = Turn(rows, Entity(), unit.deliveries, taken=list(unit.deliveries))
        source = f"{unit.partition.kind}:{unit.id}"
        for index, send in enumerate(sends):
            row, onward = outgoing(f"{delivery.message}>{index}", send, source, delivery.trace)
            rows.outbox.append(row)
            turn.sends.append(onward)
        return turn

    async def _claim_conflicts(self, turns: list[Turn]) -> dict[int, tuple[str, str]]:
        """Turns (by identity) that claim what another entity holds, with the claim."""
        claims = [claim for turn in turns for claim in turn.rows.claims]
        if not claims:
            return {}
        holders = await self.journal.taken_claims(claims)
        conflicts: dict[int, tuple[str, str]] = {}
        for turn in turns:
            rows = turn.rows
            for claim in list(rows.claims):
                holder = holders.get(claim)
                if holder == (rows.kind, rows.id):
                    rows.claims.remove(claim)
                elif holder is not None and claim not in rows.drops:
                    conflicts.setdefault(id(turn), claim)
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
            self.hooks.failed(unit.partition, Failure(delivery, CommitRefused(rejection.detail)))
            return
        rows = TurnRows(unit.partition.kind, unit.partition.no, unit.id, 0, 0)
        turn = Turn(rows, Entity(), [delivery], taken=[delivery], answers=[(delivery, Answer(rejection=rejection), 0)])
        await self._commit([(unit, turn)])

    async def _commit(self, group: list[tuple[Unit, Turn]]) -> None:
        """Number the turns along their partitions' logs, commit, and let the answers and messages go."""
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
            self.uncertain = [onward for _, turn in writing for onward in turn.sends]
            now = await self.journal.commit(lanes, [turn.rows for _, turn in writing])
            failpoint("commit.after")
            self.clock.set(now)
            self._measure([turn for _, turn in writing], self.clock.seconds() - started)
            for partition, tail in tails.values():
                lane = _lane(partition)
                partition.lane = Lane(lane.kind, lane.no, lane.epoch, tail)
        self._committed(group)
        self.uncertain = []

    def _committed(self, group: list[tuple[Unit, Turn]]) -> None:
        """The commit holds: take it into memory, answer, hand the messages on, and deal with what failed."""
        for unit, turn in group:
            self._remember(turn)
            answers = {id(delivery): answer for delivery, answer, _ in turn.answers}
            for delivery in turn.taken:
                unit.partition.settle(delivery, answers.pop(id(delivery), None))
                if isinstance(delivery.command, Wake):
                    self._check_wake(turn, delivery)
        failpoint("answer.after")
        for _, turn in group:
            for onward in turn.sends:
                failpoint("outbox.before")
                self.hooks.send(onward)
                failpoint("outbox.after")
        for unit, turn in group:
            for delivery in reversed(turn.deferred):
                unit.partition.push(delivery, first=True)
            for failure in reversed(turn.failures):
                self.hooks.failed(unit.partition, failure)
        self.hooks.changed([turn for _, turn in group if turn.rows.events])

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
        """A wake-up that left its time in the past is tried again later, so that it can't spin."""
        wake_at = turn.entity.wake_at
        if wake_at is not None and wake_at <= self.clock.now():
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
