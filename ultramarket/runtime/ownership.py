"""Which partitions this process owns when several share a shop.

Twice a second each member renews its lease and sees who lives. Rendezvous hashing tells every one of them the same
preferred owner of each partition: it takes those that nobody alive has, and hands over those that another is to have.
Nothing that is written depends on it: the epoch in the commit statement alone keeps two owners apart.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import structlog

from ultramarket.errors import UltraMarketError
from ultramarket.ports.journal import Journal, JournalError
from ultramarket.ports.mailbox import Deliver, Mailbox
from ultramarket.ports.membership import Membership, MembershipLost, Standing
from ultramarket.runtime.clock import Clock, wait_within
from ultramarket.runtime.owner import Owner
from ultramarket.runtime.partition import Partition
from ultramarket.runtime.partitioning import partition_of
from ultramarket.runtime.rendezvous import preferred

log = structlog.get_logger()

BEAT_SECONDS = 0.5
DRAIN_SECONDS = 5.0
"""How long a hand-over waits until every command that arrived is answered."""
FIRST_SECONDS = 30.0
"""How long a start waits until it stands among the members."""


class Ownership:
    """Takes and hands over partitions as members come and go.

    Args:
        name: this member.
        membership: the list of members.
        journal: an unopened connection, to take and to release with.
        mailbox: opened for what is taken, drained for what is handed over.
        owners: each with partitions of its own.
        clock: measures the lease.
        door: what the mailbox of a partition hands deliveries to.
        takes: whether this process owns partitions at all.
        figures: what it tells of itself, for people.
    """

    def __init__(
        self,
        name: str,
        membership: Membership,
        journal: Journal,
        mailbox: Mailbox,
        owners: Sequence[Owner],
        clock: Clock,
        door: Callable[[Partition], Deliver],
        *,
        takes: bool,
        figures: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._name = name
        self._membership = membership
        self._journal = journal
        self._mailbox = mailbox
        self._owners = owners
        self._owner_of = {(p.kind, p.no): owner for owner in owners for p in owner.partitions}
        self._partitions = {(p.kind, p.no): p for owner in owners for p in owner.partitions}
        self._clock = clock
        self._door = door
        self._takes = takes
        self._figures = figures
        self._open = False
        self._lease_until = 0.0
        self._hurry = asyncio.Event()
        membership.heard = self._hurry.set
        self._leaving = False
        self._turn = asyncio.Lock()
        self.settled = asyncio.Event()
        """Set once this member has seen the others and taken what is its own."""

    def lives(self) -> bool:
        """Whether our lease runs: else others may own what we did, and what is in memory here may be old."""
        return self._clock.seconds() < self._lease_until

    async def start(self) -> None:
        """Become a member.

        Raises:
            UltraMarketError: a process that shares with nobody runs on this store, or it can't be reached.
        """
        await self._membership.join(self._name)

    async def run(self) -> None:
        """Renew the lease and follow what it shows, until cancelled."""
        while not self._leaving:
            async with self._turn:
                await self._beat()
            await wait_within(self._hurry, BEAT_SECONDS)
            self._hurry.clear()

    async def leave(self) -> None:
        """Hand everything over, and be a member no more."""
        self._leaving = True
        async with self._turn:
            await self._stand_by()
            try:
                await self._hand_over([p for p in self._partitions.values() if p.lane is not None])
            except JournalError as error:
                log.warning("not handed over; others take it when our session ends", error=str(error))
            await self._membership.leave()
            await self._journal.close()

    async def _stand_by(self) -> None:
        """Tell the others that we own nothing from now on: then what we let go of is theirs at once."""
        try:
            await self._membership.beat(owns=False, figures=self._figures())
        except MembershipLost as error:
            log.warning("this member can't see the others", error=str(error), lives=self.lives())

    async def _beat(self) -> None:
        if self._leaving:
            return
        began = self._clock.seconds()
        try:
            standing = await self._membership.beat(owns=self._can_own(), figures=self._figures())
            self._lease_until = began + self._membership.lease_seconds
            await self._follow(standing)
        except (MembershipLost, JournalError) as error:
            log.warning("this member can't see the others", error=str(error), lives=self.lives())
            self._open = self._open and not isinstance(error, JournalError)
            if not self.lives():
                self._let_go()

    def _let_go(self) -> None:
        """Stop to work and to consume: others may own it all, and a consumer that stays holds their messages up."""
        for key, partition in self._partitions.items():
            self._owner_of[key].lose(partition)
            self._mailbox.close(*key)

    def _can_own(self) -> bool:
        return self._takes and not self._leaving and self._mailbox.ready()

    async def _follow(self, standing: Standing) -> None:
        """Take what is ours to take, let go of what is another's."""
        able = [name for name, owns in standing.members.items() if owns]
        taking: list[tuple[Partition, str | None]] = []
        leaving: list[Partition] = []
        for key, partition in self._partitions.items():
            owner = standing.owners.get(key)
            if owner != self._name:
                if partition.lane is not None:
                    self._owner_of[key].lose(partition)
                self._mailbox.close(*key)  # also where its committer was the first to see that it is another's
            # Where nobody can own, everybody keeps what it has.
            wanted = preferred(*key, able) or owner
            if wanted == self._name:
                if partition.lane is None and (owner is None or owner == self._name or owner not in standing.members):
                    taking.append((partition, owner))
            elif partition.lane is not None:
                leaving.append(partition)
            elif owner == self._name and wanted is not None and self._takes:
                taking.append((partition, owner))  # ours by name only: taken to be handed over with the next beat
        await self._hand_over(leaving)
        if await self._take(taking):
            self._hurry.set()  # see at once whether it is so
        self._consume()
        if self._has_its_own(able):
            self.settled.set()

    def _consume(self) -> None:
        """Whatever closed its mailbox: what is ours is consumed."""
        for key, partition in self._partitions.items():
            if partition.lane is not None:
                self._mailbox.open(*key, self._door(partition))

    def _has_its_own(self, able: Sequence[str]) -> bool:
        """Whether this member can be asked, and owns all that it is to own."""
        if not self._mailbox.ready() or (self._takes and self._name not in able):
            return False
        return all(
            partition.lane is not None or preferred(*key, able) != self._name
            for key, partition in self._partitions.items()
        )

    async def _take(self, wanted: Sequence[tuple[Partition, str | None]]) -> int:
        """Take what can be taken; gives how many are ours now."""
        if not wanted:
            return 0
        taken = 0
        await self._connected()
        for owner in self._owners:
            ours = [(p, before) for p, before in wanted if self._owner_of[p.kind, p.no] is owner]
            for partition in await owner.adopt(self._journal, ours, self._hold_sent):
                self._mailbox.open(partition.kind, partition.no, self._door(partition))
                taken += 1
        return taken

    async def _hand_over(self, partitions: Sequence[Partition]) -> None:
        if not partitions:
            return
        await self._connected()
        log.info("handing over", partitions=len(partitions))
        try:
            await self._drain(partitions)
            for owner in self._owners:
                ours = [p for p in partitions if self._owner_of[p.kind, p.no] is owner]
                await owner.hand_over(self._journal, ours)
        finally:
            # Their mailboxes are closed: what could not be released is ours by name only, and taken or released again.
            for partition in partitions:
                self._owner_of[partition.kind, partition.no].lose(partition)
        await self._membership.tell()

    async def _drain(self, partitions: Sequence[Partition]) -> None:
        """Let their mailboxes answer what has come in, for a while."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await asyncio.gather(*(self._mailbox.drain(p.kind, p.no) for p in partitions))
        except TimeoutError:  # an owner gave up, or its commit hangs: the next owner gets what is not answered
            log.warning("commands are not answered in partitions that are handed over; they are given back")

    async def _hold_sent(self, sources: Collection[tuple[str, int]]) -> None:
        """Hold what the last owner's entities sent to ours, and is still under way: ours must not overtake it.

        What they sent to others, its owners look up in the outbox.
        """
        targets = [key for key, partition in self._partitions.items() if partition.lane is not None]
        for kind, no, source, id_ in await self._journal.waiting(targets):
            sender, _, name = source.partition(":")
            if (sender, partition_of(sender, name)) in sources:
                self._partitions[kind, no].hold(source, id_)

    async def _connected(self) -> None:
        if not self._open:
            await self._clock.ask(self._journal.open)
            self._open = True


async def settled(ownership: Ownership) -> None:
    """Wait until a member that has just started stands among the others.

    Raises:
        UltraMarketError: it took too long.
    """
    if not await wait_within(ownership.settled, FIRST_SECONDS):
        raise UltraMarketError(
            f"No partition could be taken within {FIRST_SECONDS:.0f} s: is the broker there? The log has the reason."
        )
