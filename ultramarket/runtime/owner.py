"""Keeps a committer alive: takes its partitions, and takes them anew when the journal fails or somebody fenced us."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence

import structlog

from ultramarket.errors import Unavailable
from ultramarket.messages.common import Wake
from ultramarket.ports.journal import ANYBODY, CommitBusy, Fenced, Journal, JournalFull, JournalLost, Lane
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime.committer import Committer
from ultramarket.runtime.failpoints import failpoint
from ultramarket.runtime.partition import Partition, moved

log = structlog.get_logger()

RESTARTS, RESTART_WINDOW = 3, 5.0
REOPENINGS, REOPEN_WINDOW = 3, 60.0
COMMAND_TRIES = 3
STEADY_SECONDS = 10.0
"""After partitions were held for so long, or with a commit, the next restart begins with the shortest delay."""
HAND_OVER_SECONDS = 2.0
"""How long a hand-over waits for the turns that run; workers' calls are not waited for: the next owner makes them anew,
with the same key."""
Prepare = Callable[[Collection[tuple[str, int]]], Awaitable[None]]
CHANCE = random.SystemRandom()
"""What jitter and names are drawn from."""


class GivingUp(Exception):
    """Restarting does not help: the process should end and let its parent start a new one."""


class Backoff:
    """Delays from 0.2 to `most` seconds, doubled each time, with jitter so that many don't come back at once."""

    def __init__(self, chance: random.Random = CHANCE, most: float = 10.0) -> None:
        self._chance = chance
        self._most = most
        self._delay = 0.2

    def reset(self) -> None:
        """It works again."""
        self._delay = 0.2

    def next(self) -> float:
        """Seconds to wait now."""
        delay, self._delay = self._delay, min(self._delay * 2, self._most)
        return delay * self._chance.uniform(0.5, 1.0)


class Window:
    """Counts what happened within the last seconds."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._times: deque[float] = deque()

    def over(self, now: float) -> bool:
        """Something happened now: was it once too often?"""
        self._times.append(now)
        while self._times and self._times[0] < now - self._seconds:
            self._times.popleft()
        return len(self._times) > self._most


class Owner:
    """Owns partitions of one committer: all of them for as long as the process lives, or those that it is given.

    Args:
        name: what stands at a partition that it owns.
        committer: works on them.
        partitions: those that it may own.
        taken: told when it has taken some.
        uncertain: told of messages that may stand in the outbox.
        chance: jitter is drawn from it.
        shared: others may own them too: it begins with none, and `adopt` and `hand_over` say which it has.
    """

    def __init__(
        self,
        name: str,
        committer: Committer,
        partitions: Sequence[Partition],
        taken: Callable[[], None],
        uncertain: Callable[[Sequence[Delivery]], None],
        chance: random.Random = CHANCE,
        *,
        shared: bool = False,
    ) -> None:
        self._name = name
        self._committer = committer
        self.partitions = partitions
        self._taken = taken
        self._uncertain = uncertain
        self._shared = shared
        self._assigned: dict[Partition, None] = {} if shared else dict.fromkeys(partitions)
        self._changing = asyncio.Lock()
        self._restarts = Window(RESTARTS, RESTART_WINDOW)
        self._reopenings = Window(REOPENINGS, REOPEN_WINDOW)
        self._backoff = Backoff(chance)
        self._open = False
        self._since = 0.0
        self._commits = 0
        self.first = asyncio.Event()

    async def run(self) -> None:
        """Take the partitions and commit, again and again.

        Raises:
            GivingUp: restarting and reconnecting do not help.
        """
        while True:
            try:
                await self._take()
                self._since = self._committer.clock.seconds()
                await self._committer.run()
            except Exception as error:  # noqa: BLE001 - supervision: whatever it is, the partitions are taken anew
                await self._restart(error)

    async def close(self) -> None:
        """Disconnect."""
        await self._committer.journal.close()

    async def adopt(
        self, journal: Journal, wanted: Sequence[tuple[Partition, str | None]], prepare: Prepare
    ) -> list[Partition]:
        """Take partitions, each from the owner whose name stands there; gives those that are ours now.

        Args:
            journal: a connection that nobody else uses.
            wanted: the partitions, each with that name.
            prepare: called for what was taken (kind, no), before any of it is worked on.

        Raises:
            JournalError: the store can't be reached.
        """
        async with self._changing:
            # Where turns of the time before we lost it still run, they would bring old states into memory.
            able = {(p.kind, p.no): (p, before) for p, before in wanted if self._committer.done_with(p)}
            if not able:
                return []
            failpoint("adopt.before")
            lanes = await journal.take_free(self._name, [(*key, before) for key, (_, before) in able.items()])
            failpoint("adopt.after")
            if not lanes:
                return []
            taken = {(lane.kind, lane.no): able[lane.kind, lane.no][0] for lane in lanes}
            await prepare(taken)
            self._committer.memory.forget(taken)
            for lane in lanes:
                partition = taken[lane.kind, lane.no]
                partition.begin(lane)
                self._assigned[partition] = None
        self._taken()
        return list(taken.values())

    async def hand_over(self, journal: Journal, partitions: Sequence[Partition]) -> None:
        """Finish what waits in partitions whose mailboxes are drained, and let go of them.

        Raises:
            JournalError: the store can't be reached; others take them when we are gone.
        """
        try:
            async with asyncio.timeout(HAND_OVER_SECONDS):
                while not all(map(self._committer.done_with, partitions)):  # noqa: ASYNC110 - an event would cost every turn
                    await asyncio.sleep(0.005)
        except TimeoutError:
            log.warning("turns still run in partitions that are handed over; they are given up")
        async with self._changing:
            lanes = [partition.lane for partition in partitions if partition.lane is not None]
            for partition in partitions:
                self.lose(partition)  # all at once: sweeps and timers would bring work while others are released
            failpoint("release.before")
            await journal.release(lanes)
            failpoint("release.after")

    def lose(self, partition: Partition) -> None:
        """A partition is not ours any more: commands that wait are answered, messages left to the outbox."""
        self._assigned.pop(partition, None)
        partition.leave(moved())

    async def _take(self) -> None:
        if not self._open:
            await self._committer.clock.ask(self._committer.journal.open)
            self._open = True
        async with self._changing:
            for partition in self.partitions:
                if partition in self._assigned:
                    lane = await self._take_again(partition)
                    # It may have been lost meanwhile, and its mailbox closed with it: then it is to be adopted anew.
                    partition.lane = lane if partition in self._assigned else None
            for partition in [each for each in self._assigned if each.lane is None]:
                self.lose(partition)  # somebody else was quicker
            for partition in self._assigned:
                partition.fresh = True  # somebody else may have had it, and have sent something
                partition.forget()
            # Only now, as until the first take ended the lost commit may still have been on its way: what it may have
            # sent comes before what this owner's entities send from here on.
            self._uncertain(self._committer.take_uncertain())
        self.first.set()
        self._taken()

    async def _take_again(self, partition: Partition) -> Lane | None:
        """Take a partition once a commit in flight has ended; where others may own it, only if it is still ours."""
        failpoint("take.before")
        instead_of = self._name if self._shared else ANYBODY
        lane = await self._committer.journal.take(partition.kind, partition.no, self._name, instead_of)
        failpoint("take.after")
        return lane

    async def _restart(self, error: Exception) -> None:
        now = self._committer.clock.seconds()
        was_owner = any(partition.lane is not None for partition in self.partitions)
        # That the partitions could be taken says little: with a full disk it may be all that still works.
        commits, self._commits = self._commits, self._committer.measures.commits
        if self._commits > commits or (was_owner and now - self._since > STEADY_SECONDS):
            self._backoff.reset()
        for partition in self.partitions:
            partition.lane = None
        self._committer.memory.clear()
        self._requeue(self._committer.reset(), error)
        if isinstance(error, JournalLost):
            log.warning("the journal is lost; taking the partitions anew", owner=self._name, error=str(error))
            self._open = False
        else:
            log.error("committer failed; taking the partitions anew", owner=self._name, exc_info=error)
            if self._restarts.over(now):
                self._open = False
        helps = was_owner and not isinstance(error, JournalFull)
        if not self._open and helps and self._reopenings.over(now):
            raise GivingUp(
                f"{self._name}: {REOPENINGS} reconnections within {REOPEN_WINDOW:.0f} s did not help"
            ) from error
        if not was_owner and not isinstance(error, JournalLost):
            self._open = False
        await asyncio.sleep(self._backoff.next())

    def _requeue(self, open_: Sequence[tuple[Partition, Delivery]], error: Exception) -> None:
        """What was in flight: commands whose outcome is known, or can be looked up, are judged again."""
        nothing_written = isinstance(error, Fenced | CommitBusy | JournalFull)
        for partition, delivery in reversed(open_):
            if delivery.message is not None:
                partition.shelve(delivery)
                continue
            if isinstance(delivery.command, Wake):
                continue
            if nothing_written and partition not in self._assigned:
                partition.settle(delivery, moved())
                continue
            delivery.attempts += 1
            if delivery.attempts < COMMAND_TRIES and (nothing_written or delivery.key is not None):
                partition.push(delivery, first=True)
            else:
                partition.settle(delivery, outcome_unknown())


def outcome_unknown() -> Unavailable:
    """The answer to a command whose commit may or may not have taken effect."""
    detail = (
        "The connection to the database broke while this was being written, so whether it took effect is not known. "
        "Look at the resource, or repeat requests with an Idempotency-Key."
    )
    return Unavailable("outcome_unknown", detail)


def shutting_down() -> Unavailable:
    """The answer to a command that comes too late, or that a stop leaves waiting."""
    return Unavailable("shutting_down", "The shop is restarting; try again in a moment.", 2)
