"""The ways between a simulated process and its servers: they delay, lose, reset and end."""

import asyncio
from random import Random
from typing import Final

from ultramarket.ports.journal import CommitBusy, JournalFull, JournalLost

NOTICED_SECONDS: Final = 3.0
"""A way that is cut is noticed after at most so long: by a reset, or by the driver's timeout."""
LATE_SECONDS: Final = 2.0
"""A statement whose client has gone is at work for at most so long."""
BUSY: Final = 0.003
"""Share of the commits that meet a serialisation failure, while there are faults."""


class Weather:
    """How the networks of a world are.

    Attributes:
        calm: nothing unusual happens any more.
        latency: mean seconds one way.
        full: the store has no room: every commit fails.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.calm = True
        self.latency = random.choice((0.0005, 0.002, 0.01))
        self.full = False

    def delay(self) -> float:
        """Seconds of one way."""
        if not self.calm and self.random.random() < 0.01:
            return self.random.uniform(0.05, 0.5)
        return self.random.expovariate(1.0) * self.latency


class Link:
    """The way between one process and the store, as `tests.simulation.journal.Network` describes it.

    Attributes:
        cut: nothing arrives.
        resets: share of the trips that end with a reset connection.
        slow: factor on the delays.
    """

    def __init__(self, weather: Weather) -> None:
        self.cut = False
        self.resets = 0.0
        self.slow = 1.0
        self._weather = weather

    async def trip(self, what: str) -> None:
        """Arrive, or not.

        Raises:
            JournalLost: it was cut or reset.
            CommitBusy: the store says so.
        """
        weather, random = self._weather, self._weather.random
        await asyncio.sleep(weather.delay() * self.slow)
        if self.cut:
            await asyncio.sleep(random.uniform(0.0, NOTICED_SECONDS))
            raise JournalLost(f"{what}: the network is cut")
        if self.resets and random.random() < self.resets:
            raise JournalLost(f"{what}: connection reset")
        if what == "commit" and not weather.calm:
            if weather.full:
                raise JournalFull("53100 no space left on device")
            if random.random() < BUSY:
                raise CommitBusy("40001 could not serialize access")

    def late(self) -> float | None:
        """In how many seconds a statement whose connection broke on its way lands all the same."""
        weather = self._weather
        if weather.full or weather.random.random() < 0.5:
            return None
        return weather.random.uniform(0.0, LATE_SECONDS)
