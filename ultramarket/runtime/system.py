"""The runtime of one process: partitions, committers, workers, timers and the sweeper; and how it is asked."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

import structlog

from ultramarket.errors import Rejection, UltraMarketError, Unavailable
from ultramarket.messages.common import Wake
from ultramarket.ports.asking import Actors, Answer, Shown
from ultramarket.ports.journal import Journal
from ultramarket.ports.mailbox import Delivery, Mailbox
from ultramarket.ports.membership import Membership
from ultramarket.ports.vault import Vault
from ultramarket.runtime.actor import Actor, Worker
from ultramarket.runtime.clock import Clock
from ultramarket.runtime.codec import KindCodec, text_fault
from ultramarket.runtime.committer import Committer, Hooks, Limits
from ultramarket.runtime.deadlines import Deadlines
from ultramarket.runtime.failpoints import check, failpoint
from ultramarket.runtime.following import Following
from ultramarket.runtime.measures import Measures
from ultramarket.runtime.memory import Entity, Memory
from ultramarket.runtime.owner import CHANCE, GivingUp, Owner, outcome_unknown, shutting_down
from ultramarket.runtime.ownership import Ownership, settled
from ultramarket.runtime.partition import Partition, answer_to
from ultramarket.runtime.partitioning import partition_of, partitions_of
from ultramarket.runtime.poison import DELAYS, Poison
from ultramarket.runtime.reader import Reader
from ultramarket.runtime.showing import Showcase
from ultramarket.runtime.stored import StoredForms
from ultramarket.runtime.sweeper import Sweeper
from ultramarket.runtime.timers import Timers
from ultramarket.runtime.turn import Keep, Look, Turn, replay
from ultramarket.runtime.upkeep import Upkeep
from ultramarket.runtime.watch import Watchers
from ultramarket.runtime.workers import WorkerPool

log = structlog.get_logger()

TAKE_SECONDS = 30
"""How long a start waits until every partition is taken."""
BROUGHT = 100
"""Entities read at once that are worth having in memory: a page of a list, not an import."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the runtime is sized.

    Attributes:
        committers: statements that may be in flight at once; each has its own partitions and connection.
        mailbox_limit: deliveries that may wait in one partition.
        memory_bytes: estimated bytes of entities kept in memory, over all committers.
        command_seconds: deadline of a command that names none.
        grace_seconds: how long a stop waits for the turns and calls that run.
        poison_delays: seconds before each of the later tries of a message that an actor can't take.
    """

    committers: int = 2
    mailbox_limit: int = 10_000
    memory_bytes: int = 256 << 20
    command_seconds: float = 5.0
    grace_seconds: float = 10.0
    poison_delays: tuple[float, ...] = DELAYS
    limits: Limits = field(default_factory=Limits)


class Runtime:
    """Runs the cast; see `ultramarket.ports.asking.Actors` for `ask`, `read` and the other questions.

    Args:
        cast: makes the actors and workers; it is given the runtime, for those workers that ask actors themselves.
        journal: makes an unopened connection to the log; each committer has its own.
        mailbox: carries deliveries to the owners of partitions.
        vault: opens sealed values for `read`.
        options: sizes.
        on_commit: called after each commit that appended events, e.g. to wake the views.
        clock: the store's time, not yet set.
        chance: what the process's name and the jitter of its restarts are drawn from.
        membership: where several processes share the shop; without it this one owns everything.
        takes: whether it owns partitions where it shares.
        name: of this process, unique; a new one where none is given.
    """

    def __init__(
        self,
        cast: Callable[[Actors], Sequence[Actor[Any, Any, Any] | Worker[Any]]],
        journal: Callable[[], Journal],
        mailbox: Mailbox,
        vault: Vault,
        options: Options,
        on_commit: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
        chance: random.Random = CHANCE,
        membership: Membership | None = None,
        *,
        takes: bool = True,
        name: str = "",
    ) -> None:
        parts = cast(self)
        check(parts)
        self._actors = {part.kind: part for part in parts if isinstance(part, Actor)}
        self._workers = {part.kind: part for part in parts if isinstance(part, Worker)}
        self._codecs = {part.kind: KindCodec(part) for part in parts}
        self._options = options
        self._mailbox = mailbox
        self._showcase = Showcase(vault)
        self._on_commit = on_commit
        self._stopping = False
        self._bringing: set[tuple[str, str]] = set()
        self._told = (0.0, 0)
        self.name = name or new_name(chance)
        self._chance = chance
        self._commands = count(1)
        self._deadlines: Deadlines[asyncio.Future[Answer]] = Deadlines(_give_up)
        self.clock = clock or Clock()
        self.watchers = Watchers()
        self._timers = Timers(self.clock, self._wake)
        self._reader = Reader(journal())
        self._stored = StoredForms(self._reader, self._actors, self._codecs, self._showcase)
        self._sweep_journal = journal()
        self._partitions: dict[tuple[str, int], Partition] = {}
        self._sweeper = Sweeper(self._sweep_journal, self._partitions, self._codecs, self._fenced)
        self._poison = Poison(self._sweeper.request, options.poison_delays)
        self._committers = [self._committer(journal()) for _ in range(options.committers)]
        self._pools: list[WorkerPool] = []
        self._by_kind: dict[tuple[str, int], Committer] = {}
        self._owners = self._arrange(shared=membership is not None)
        self._ownership = None
        self._following = Following(self.watchers, self._version, self._offer)
        if membership is not None:
            self._ownership = Ownership(
                self.name,
                membership,
                journal(),
                mailbox,
                self._owners,
                self.clock,
                self._following.door,
                takes=takes,
                figures=self._figures,
            )
        self._upkeep = Upkeep(
            self._sweep_journal,
            self.clock,
            self._sweeper,
            self._poison,
            self._timers,
            self.owned,
            chance,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.failed: asyncio.Future[None] | None = None

    # Asking

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
        """Send a command and wait for its commit; see `ultramarket.ports.asking.Actors.ask`."""
        if self._stopping:
            raise shutting_down()
        if kind not in self._actors:
            raise LookupError(f"there is no actor {kind!r} to ask")
        for text in (id, key, principal, trace or None):  # all of them stand in the log
            if text is not None and (fault := text_fault(text)) is not None:
                return Answer(rejection=Rejection("bad_id", f"The id or idempotency key is not usable: {fault}.", 422))
        seconds = self._options.command_seconds if timeout is None else timeout
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        command_id = key or f"{self.name}-{next(self._commands)}"
        delivery = Delivery(
            kind,
            partition_of(kind, id),
            id,
            command,
            principal,
            trace or command_id,
            command_id,
            key=key,
            body_hash=body_hash,
            deadline=self.clock.timestamp() + seconds,
            answer=answer_to(future),
        )
        if not self._mailbox.offer(delivery):
            if not self._mailbox.ready():
                raise Unavailable("not_ready", "The way to this part of the shop is broken just now; try again.")
            raise Unavailable("mailbox_full", "More is asked of this part of the shop than it can take; try again.")
        # Cheaper than a timeout around the wait: nothing has to be cancelled, the answer is simply settled.
        self._deadlines.add(future, seconds)
        try:
            return await future
        finally:
            self._deadlines.remove(future, seconds)

    async def keep(self, kind: str, id: str, key: str, body_hash: bytes, value: Any) -> None:
        """Keep an answer under an idempotency key for 24 hours, without a command."""
        failpoint("keep.before")
        await self.ask(kind, id, Keep(value), key=key, body_hash=body_hash)
        failpoint("keep.after")

    async def stored(self, kind: str, id: str, key: str, body_hash: bytes) -> Answer | None:
        """The answer kept under an idempotency key."""
        loaded = await self._reader.load((), [(kind, id, key)])
        found = loaded.replies.get((kind, id, key))
        return None if found is None else replay(found, body_hash)

    async def read(self, kind: str, id: str) -> Shown | None:
        """The public form of the entity as committed."""
        return (await self.read_many(kind, [id])).get(id)

    async def read_many(self, kind: str, ids: list[str]) -> dict[str, Shown]:
        """The public forms of those that exist."""
        resident = {id_: entity for id_ in ids if (entity := self._resident(kind, id_)) is not None}
        # That one was absent may be old news where somebody else owns it by now.
        missing = [id_ for id_ in ids if id_ not in resident or resident[id_].state is None]
        found = await self._stored.read_many(kind, missing) if missing else {}
        if len(found) <= BROUGHT:
            for id_ in found:
                self._bring(kind, id_)
        for id_, entity in resident.items():
            if entity.state is not None:
                found[id_] = await self._showcase.show(self._actors[kind], id_, entity)
        return found

    async def owner(self, namespace: str, value: str) -> str | None:
        """Id of the entity that holds a claim."""
        if text_fault(value) is not None:
            return None
        holder = await self._reader.holder(namespace, value)
        return None if holder is None else holder[1]

    @asynccontextmanager
    async def watch(self, kind: str, id: str) -> AsyncIterator[AsyncIterator[int]]:
        """Versions of an entity from now on; of one that is another's the present one comes first."""
        if self._ownership is not None:
            yield self._following.versions(kind, id)
            return
        with self.watchers.watch(kind, id) as versions:
            yield versions

    async def number(self, sequence: str) -> int:
        """The next number of a sequence, for people."""
        return await self._reader.number(sequence)

    def now(self) -> datetime:
        """The database's time."""
        return self.clock.now()

    # Life

    async def start(self) -> None:
        """Take every partition, bring what waits, and begin to work; what can't be begun is stopped in order.

        Raises:
            UltraMarketError: the partitions could not be taken.
        """
        try:
            await self._begin()
        except BaseException:
            try:
                await self.stop()
            except Exception:
                log.exception("what had begun could not be stopped in order")
            raise

    async def _begin(self) -> None:
        self.failed = asyncio.get_running_loop().create_future()
        await self.clock.ask(self._sweep_journal.open)
        if self._ownership is None:
            for key, partition in self._partitions.items():
                self._mailbox.open(*key, partition.offer)
        else:
            await self._ownership.start()
        for owner in self._owners:
            self._spawn(owner.run(), "owner")
        await self._first_taken()
        await self._upkeep.start()
        self._spawn(self._upkeep.run(), "upkeep")
        self._spawn(self._timers.run(), "timers")
        if self._ownership is not None:
            self._spawn(self._ownership.run(), "ownership")
            await self._unless_failed(settled(self._ownership))

    async def stop(self) -> None:
        """Refuse new commands, finish the turns and calls that run, answer who still waits, and let go."""
        self._stopping = True
        failpoint("drain.before")
        await self._finish()
        failpoint("drain.after")
        for key in self._partitions:
            self._mailbox.close(*key)
        for pool in self._pools:
            await pool.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._following.stop()
        for partition in self._partitions.values():
            partition.drain(shutting_down())
        for committer in self._committers:
            for partition, delivery in committer.reset():
                partition.settle(delivery, outcome_unknown())
        failpoint("handover.before")
        for owner in self._owners:
            await owner.close()
        await self._reader.close()
        await self._sweep_journal.close()
        failpoint("handover.after")

    async def _finish(self) -> None:
        """Hand over what others can go on with, and wait for the rest."""
        if self._ownership is not None:
            await self._ownership.leave()
        try:
            async with asyncio.timeout(self._options.grace_seconds):
                while not self._idle():  # noqa: ASYNC110 - an event would cost every turn; turns end in milliseconds
                    await asyncio.sleep(0.01)
        except TimeoutError:
            log.warning(
                "turns still run after the grace period; they are given up", seconds=self._options.grace_seconds
            )

    async def failure(self) -> None:
        """Wait until the runtime gives up.

        Raises:
            Exception: the reason.
        """
        if self.failed is not None:
            await asyncio.shield(self.failed)

    def depths(self) -> dict[str, int]:
        """How many deliveries wait, by kind."""
        depths = dict.fromkeys(self._codecs, 0)
        for (kind, _), partition in self._partitions.items():
            depths[kind] += partition.depth
        return depths

    def measures(self) -> Measures:
        """What the committers have done so far, added up."""
        return Measures.total(committer.measures for committer in self._committers)

    def memory(self) -> tuple[int, int]:
        """Entities in memory, and their bytes by estimate."""
        memories = [committer.memory for committer in self._committers]
        return sum(len(memory) for memory in memories), sum(memory.size for memory in memories)

    def ready(self) -> bool:
        """Whether every partition is ours; where several share, whether this process is one of them."""
        if self._stopping:
            return False
        if self._ownership is not None:
            return self._ownership.lives() and self._mailbox.ready()
        return all(partition.lane is not None for partition in self._partitions.values())

    def owned(self) -> list[tuple[str, int]]:
        """The partitions (kind, no) that are ours at the moment."""
        return [key for key, partition in self._partitions.items() if partition.lane is not None]

    def lanes(self) -> Iterable[tuple[str, int]]:
        """Every partition (kind, no) of the cast."""
        return self._partitions.keys()

    # Inside

    def _committer(self, journal: Journal) -> Committer:
        hooks = Hooks(
            send=self._send,
            set_timer=self._timers.set,
            changed=self._changed,
            failed=self._poison.failed,
            retry_wake=self._timers.retry,
        )
        memory = Memory(self._options.memory_bytes // self._options.committers)
        return Committer(journal, self._actors, self._codecs, self.clock, memory, hooks, self._options.limits)

    def _arrange(self, *, shared: bool) -> list[Owner]:
        """Deal the partitions of every kind to the committers in turn."""
        owners = []
        for index, committer in enumerate(self._committers):
            pool = WorkerPool(self._workers, committer.finish, self._poison.failed, self._reader.earlier)
            self._pools.append(pool)
            ours = []
            for kind in self._codecs:
                wake = pool.ready if kind in self._workers else committer.ready
                for no in range(partitions_of(kind)):
                    if no % len(self._committers) == index:
                        partition = Partition(kind, no, self._options.mailbox_limit, wake, self._sweeper.request)
                        self._partitions[kind, no] = partition
                        self._by_kind[kind, no] = committer
                        ours.append(partition)
            owners.append(Owner(self.name, committer, ours, self._taken, self._hold, self._chance, shared=shared))
        self._poison.arrange(self._sweep_journal)
        return owners

    def _spawn(self, work: Any, name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the runtime gives up", task=task.get_name(), exc_info=error)
            if self.failed is not None and not self.failed.done():
                self.failed.set_exception(error)

    async def _unless_failed(self, work: Coroutine[Any, Any, object]) -> None:
        """Wait for something, or for the failure after which it would not come.

        Raises:
            UltraMarketError: the runtime has given up; the reason.
        """
        task, failure = asyncio.ensure_future(work), asyncio.ensure_future(self.failure())
        try:
            await asyncio.wait((task, failure), return_when=asyncio.FIRST_COMPLETED)
            await (failure if failure.done() else task)
        except GivingUp as error:
            raise UltraMarketError(f"The start was given up: {error}.") from error
        finally:
            for one in (task, failure):
                if not one.cancel() and not one.cancelled():
                    one.exception()  # told by the other one, or by whoever runs the platform

    async def _first_taken(self) -> None:
        try:
            async with asyncio.timeout(TAKE_SECONDS):
                for owner in self._owners:
                    await self._unless_failed(owner.first.wait())
        except TimeoutError:
            raise UltraMarketError(
                f"the partitions could not be taken within {TAKE_SECONDS} s; the log has the reason"
            ) from None

    def _send(self, delivery: Delivery) -> None:
        self._mailbox.offer(delivery)

    def _taken(self) -> None:
        """An owner took its partitions (anew): messages wait in the outbox, and wake-ups may have been lost."""
        self._sweeper.taken()
        self._timers.request()

    def _fenced(self, partition: Partition) -> None:
        """Somebody else has taken a partition of ours."""
        self._by_kind[partition.kind, partition.no].fence()

    def _hold(self, deliveries: Sequence[Delivery]) -> None:
        """Messages that may or may not stand in the outbox: a sweep brings them before later ones of their pairs.

        What is for others, its owners look up there: it reaches them over the broker.
        """
        for delivery in deliveries:
            partition = self._partitions[delivery.kind, delivery.no]
            if partition.lane is not None:
                partition.hold(delivery.source, delivery.id)

    def _changed(self, turns: Sequence[Turn]) -> None:
        if self.watchers:
            for turn in turns:
                self.watchers.changed(turn.rows.kind, turn.rows.id, turn.rows.version)
        if turns:
            try:
                self._on_commit()
            except Exception:
                # The commit holds and its answers are out: who listens can't undo that.
                log.exception("a listener failed after a commit")

    def _wake(self, kind: str, id: str, attempts: int) -> None:
        partition = self._partitions[kind, partition_of(kind, id)]
        if partition.lane is not None:
            name = f"wake:{kind}:{id}"
            partition.push(Delivery(kind, partition.no, id, Wake(), "system", name, name, attempts=attempts))

    def _bring(self, kind: str, id: str) -> None:
        """Have an entity of ours in memory soon, so that its next readers find it there."""
        key, no = (kind, id), partition_of(kind, id)
        if self._partitions[kind, no].lane is None or key in self._bringing:
            return
        name = f"look:{kind}:{id}"
        self._bringing.add(key)
        brought = Delivery(kind, no, id, Look(), "system", name, name, answer=lambda _: self._bringing.discard(key))
        if not self._mailbox.offer(brought):
            self._bringing.discard(key)

    def _resident(self, kind: str, id: str) -> Entity | None:
        """The entity from the owner's memory, when we own its partition."""
        sure = self._sweeper.sure() if self._ownership is None else self._ownership.lives()
        if not sure or text_fault(id) is not None:
            return None
        key = (kind, partition_of(kind, id))
        return None if self._partitions[key].lane is None else self._by_kind[key].memory.get(kind, id)

    def _offer(self, delivery: Delivery) -> bool:
        return self._mailbox.offer(delivery)

    async def _version(self, kind: str, id: str) -> int:
        """The version of an entity; 0 where it does not exist."""
        shown = await self.read(kind, id)
        return 0 if shown is None else shown.version

    def _figures(self) -> dict[str, Any]:
        """What this process tells the other members' people of itself."""
        now, commits = self.clock.seconds(), self.measures().commits
        before, self._told = self._told, (now, commits)
        rate = (commits - before[1]) / (now - before[0]) if now > before[0] else 0.0
        depths = {kind: depth for kind, depth in self.depths().items() if depth}
        return {"mailbox": depths, "commits": commits, "commit_rate": round(rate, 1)}

    def _idle(self) -> bool:
        waiting = any(partition.depth for partition in self._partitions.values())
        return not waiting and all(c.idle() for c in self._committers) and all(p.idle() for p in self._pools)


def new_name(chance: random.Random = CHANCE) -> str:
    """A name for a process that no other has."""
    return f"um-{chance.randbytes(8).hex()}"


def _give_up(future: "asyncio.Future[Answer]") -> None:
    if not future.done():
        detail = "No answer within the deadline; it may still take effect. Repeat it with an Idempotency-Key."
        future.set_exception(Unavailable("deadline_passed", detail))
