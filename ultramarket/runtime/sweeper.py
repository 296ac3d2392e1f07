"""Brings messages that are in the outbox and nowhere else: after a take-over, a full mailbox, a failure.

And looks whether the partitions are still ours.
"""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from ultramarket.ports.journal import Journal, Pending
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime.clock import wait_within
from ultramarket.runtime.codec import UNREADABLE, KindCodec, decode_message
from ultramarket.runtime.failpoints import failpoint
from ultramarket.runtime.partition import Pair, Partition
from ultramarket.runtime.turn import Unreadable

log = structlog.get_logger()

EVERY = 2.0
"""Seconds between sweeps that nobody asked for; they bring what is at least this old."""
SURE_SECONDS = 5.0
"""How long after the last look nothing is shown from memory any more."""
BATCH = 500


class Sweeper:
    """Sweeps the outbox for the partitions of this process, in order, with a connection of its own."""

    def __init__(
        self,
        journal: Journal,
        partitions: Mapping[tuple[str, int], Partition],
        codecs: Mapping[str, KindCodec],
        fenced: Callable[[Partition], None],
    ) -> None:
        self._journal = journal
        self._partitions = partitions
        self._codecs = codecs
        self._fenced = fenced
        self._looked = 0.0
        self._asked = asyncio.Event()

    def sure(self) -> bool:
        """Whether we have seen lately that the partitions are ours: else what is in memory may be old."""
        return asyncio.get_running_loop().time() < self._looked + SURE_SECONDS

    def taken(self) -> None:
        """Partitions have just been taken."""
        self._looked = asyncio.get_running_loop().time()
        self.request()

    def request(self, delay: float = 0.0) -> None:
        """Sweep soon, or after so many seconds."""
        if delay:
            asyncio.get_running_loop().call_later(delay, self._asked.set)
        else:
            self._asked.set()

    async def run(self) -> None:
        """Sweep when asked and every now and then, until cancelled."""
        while True:
            asked = await wait_within(self._asked, EVERY)
            self._asked.clear()
            await self._look_at_owners()
            await self.sweep(older_than=0.0 if asked else EVERY)

    async def sweep(self, older_than: float) -> None:
        """Bring every message of our partitions that is at least so many seconds old and that nobody has."""
        began = asyncio.get_running_loop().time()
        ours = {key: partition for key, partition in self._partitions.items() if partition.lane is not None}
        if not ours:
            return
        # What is being parked now may not be seen among the parked messages, and be parked when those are read.
        blocked = {key: set(partition.parking) for key, partition in ours.items()}
        for kind, no, source, id_ in await self._journal.blocked(list(ours)):
            blocked[kind, no].add((source, id_))
        for key, partition in ours.items():
            partition.begin_sweep(blocked[key])
        if any(partition.behind or partition.fresh for partition in ours.values()):
            older_than = 0.0
        failpoint("sweep.before")
        stuck = await self._bring(ours, began, older_than)
        failpoint("sweep.after")
        for key, partition in ours.items():
            partition.end_sweep(began, stuck.get(key, set()))

    async def _look_at_owners(self) -> None:
        """See now and then whether partitions of ours have another owner.

        A commit would be refused, but who has nothing to write would show old states and miss its timers for ever.
        """
        now = asyncio.get_running_loop().time()
        if now < self._looked + EVERY:
            return
        ours = [key for key, partition in self._partitions.items() if partition.lane is not None]
        for key, epoch in (await self._journal.epochs(ours)).items():
            lane = self._partitions[key].lane
            if lane is not None and epoch > lane.epoch:
                self._fenced(self._partitions[key])
        self._looked = now

    async def _bring(
        self, ours: Mapping[tuple[str, int], Partition], began: float, older_than: float
    ) -> dict[tuple[str, int], set[Pair]]:
        """Bring in order; gives the pairs of which something had to stay."""
        stuck: dict[tuple[str, int], set[Pair]] = {}
        after = 0
        while rows := await self._journal.pending(list(ours), after, older_than, BATCH):
            for row in rows:
                key = (row.kind, row.no)
                delivery = self._delivery(row)
                pair = (delivery.source, delivery.id)
                if pair in stuck.get(key, set()) or not ours[key].bring(delivery, began):
                    stuck.setdefault(key, set()).add(pair)
            after = rows[-1].n
            if len(rows) < BATCH:
                break
        return stuck

    def _delivery(self, row: Pending) -> Delivery:
        source, trace = row.source, row.message
        try:
            stored = decode_message(row.body)
            source, trace = stored.source, stored.trace
            command = self._codecs[row.kind].command(stored.body)
        except UNREADABLE as error:
            log.exception("unreadable message", message=row.message, kind=row.kind)
            command = Unreadable(str(error))
        return Delivery(
            row.kind,
            row.no,
            row.id,
            command,
            source,
            trace,
            row.message,
            message=row.message,
            source=source,
            swept=True,
        )
