"""What the runtime does beside the turns: sweeping, parking, reading timers, over a connection of its own."""

import asyncio
import random
from collections.abc import Callable

import structlog

from ultramarket.ports.journal import Journal, JournalError
from ultramarket.runtime.clock import Clock
from ultramarket.runtime.owner import CHANCE, Backoff
from ultramarket.runtime.poison import Poison
from ultramarket.runtime.sweeper import Sweeper
from ultramarket.runtime.timers import Timers

log = structlog.get_logger()


class Upkeep:
    """Runs the sweeper, the poison box and the timers' reading; the connection is opened anew whenever it breaks."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        sweeper: Sweeper,
        poison: Poison,
        timers: Timers,
        lanes: Callable[[], list[tuple[str, int]]],
        chance: random.Random = CHANCE,
    ) -> None:
        self._chance = chance
        self._journal = journal
        self._clock = clock
        self._sweeper = sweeper
        self._poison = poison
        self._timers = timers
        self._lanes = lanes

    async def start(self) -> None:
        """The partitions are taken: bring what waits in the outbox, and the timers that are due.

        Raises:
            JournalError: the store can't be reached.
        """
        await self._sweeper.sweep(older_than=0.0)
        await self._timers.load(self._journal, self._lanes())

    async def run(self) -> None:
        """Keep up until cancelled."""
        backoff = Backoff(self._chance)
        while True:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._sweeper.run())
                    group.create_task(self._poison.run())
                    group.create_task(self._timers.follow(self._journal, self._lanes))
            except* JournalError as errors:
                log.warning("the sweeper lost its connection", errors=[str(e) for e in errors.exceptions])
            await asyncio.sleep(backoff.next())
            try:
                await self._clock.ask(self._journal.open)
            except JournalError as error:
                log.warning("the database can't be reached", error=str(error))
            else:
                backoff.reset()
                self._sweeper.request()
                self._timers.request()
