"""The lock of the owner, as `ultramarket.adapters.postgres_lock.OwnerLock` holds it, over a simulated session.

A session that ends is known to the server at once when its process dies, and after a while when the process is cut off
or its machine stands still. Its process learns of it with its next ping, and works on until then.
"""

import asyncio
from dataclasses import dataclass
from random import Random

from tests.simulation.loop import VirtualLoop
from tests.simulation.network import Link
from ultramarket.adapters.postgres_lock import ANSWER_SECONDS, GIVE_UP_SECONDS, PING_SECONDS, RETRY_SECONDS
from ultramarket.adapters.postgres_lock import OwnedElsewhere as OwnedElsewhere  # noqa: PLC0414 - exported
from ultramarket.ports.journal import JournalLost

KEEPALIVE_SECONDS = 20.0
"""Within this time a server finds out that a client has vanished."""


@dataclass(eq=False, slots=True)
class Session:
    """A session at the server that may hold the lock."""

    name: str


class LockServer:
    """Knows who holds the lock."""

    def __init__(self, loop: VirtualLoop, random: Random) -> None:
        self.holder: Session | None = None
        self._loop = loop
        self._random = random

    def lock(self, session: Session) -> None:
        """Take the lock.

        Raises:
            OwnedElsewhere: somebody has it.
        """
        if self.holder not in (None, session):
            raise OwnedElsewhere(self.holder.name if self.holder else "")
        self.holder = session

    def end(self, session: Session | None) -> None:
        """The session is gone."""
        if self.holder is session:
            self.holder = None

    def lose(self, session: Session | None) -> None:
        """The session's client is gone, or can't be heard: the server finds out within some seconds."""
        seconds = self._random.choice((0.0, self._random.uniform(0.0, KEEPALIVE_SECONDS)))
        self._loop.call_later(seconds, self.end, session, context=self._loop.world.context())


class SimLock:
    """One process's hold on the lock.

    Attributes:
        session: the one that has, or had, the lock.
    """

    def __init__(self, server: LockServer, link: Link, name: str) -> None:
        self._server = server
        self._link = link
        self._name = name
        self.session: Session | None = None

    async def acquire(self) -> None:
        """Take the lock.

        Raises:
            OwnedElsewhere: another process has it.
            JournalLost: the store can't be reached.
        """
        await self._link.trip("lock")
        session = Session(self._name)
        self._server.lock(session)
        self.session = session
        try:
            await self._link.trip("lock answer")
        except JournalLost:
            self._server.lose(session)
            raise

    async def keep(self) -> None:
        """Watch the lock for as long as the process lives.

        Raises:
            OwnedElsewhere: the lock was lost and could not be taken again.
        """
        while True:
            await asyncio.sleep(PING_SECONDS)
            if not await self._alive():
                await self._again()

    async def release(self) -> None:
        """Let go."""
        self._server.end(self.session)

    async def _alive(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._link.trip("ping")
                held = self._server.holder is self.session
                await self._link.trip("ping answer")
        except (JournalLost, TimeoutError):
            self._server.lose(self.session)
            return False
        return held

    async def _again(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + GIVE_UP_SECONDS
        while True:
            try:
                await self.acquire()
            except JournalLost:
                deadline = loop.time() + GIVE_UP_SECONDS
            except OwnedElsewhere as error:
                if error.holder != self._name or loop.time() > deadline:
                    raise
            else:
                return
            await asyncio.sleep(RETRY_SECONDS)
