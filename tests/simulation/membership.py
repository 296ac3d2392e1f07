"""Members of a simulated shop, as `ultramarket.adapters.postgres_membership` keeps them in PostgreSQL.

A member has a row with a lease by the store's clock, and a session that stands until the server learns that its client
is gone: at once or within some seconds, as with the lock of an owner. Each beat is three statements, and things may
change between them.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, TypeVar

from tests.simulation.lock import KEEPALIVE_SECONDS, Session
from tests.simulation.loop import VirtualLoop
from tests.simulation.network import Link
from tests.simulation.store import Store
from ultramarket.adapters.postgres_membership import ANSWER_SECONDS, LEASE_SECONDS
from ultramarket.ports.journal import JournalLost
from ultramarket.ports.membership import MembershipLost, Standing

Result = TypeVar("Result")


@dataclass(slots=True)
class MemberRow:
    """A row of `member`."""

    lease_until: datetime
    owns: bool


class MemberServer:
    """The table of members, and their sessions at the server."""

    def __init__(self, loop: VirtualLoop, random: Random, store: Store) -> None:
        self.rows: dict[str, MemberRow] = {}
        self._sessions: dict[str, Session] = {}
        self._loop = loop
        self._random = random
        self._store = store

    def enter(self, session: Session) -> None:
        """Take the lock on a member's name.

        Raises:
            MembershipLost: an old session still has it.
        """
        if session.name in self._sessions:
            raise MembershipLost("Our old session still stands; the server has not noticed yet that it broke.")
        self._sessions[session.name] = session

    def beat(self, session: Session, *, owns: bool) -> None:
        """Renew a lease."""
        until = self._store.now() + timedelta(seconds=LEASE_SECONDS)
        row = self.rows.setdefault(session.name, MemberRow(until, owns))
        row.lease_until, row.owns = until, owns

    def members(self) -> dict[str, bool]:
        """Who lives, and whether they can own."""
        now = self._store.now()
        return {name: row.owns for name, row in self.rows.items() if row.lease_until > now and name in self._sessions}

    def owners(self) -> dict[tuple[str, int], str | None]:
        """Whose name stands at each partition."""
        return {key: row.owner for key, row in self._store.partitions.items()}

    def stands(self, session: Session) -> bool:
        """Whether the server still knows the session."""
        return self._sessions.get(session.name) is session

    def end(self, session: Session | None) -> None:
        """The session is gone."""
        if session is not None and self.stands(session):
            del self._sessions[session.name]

    def lose(self, session: Session | None) -> None:
        """The session's client is gone, or can't be heard: the server finds out within some seconds."""
        seconds = self._random.choice((0.0, self._random.uniform(0.0, KEEPALIVE_SECONDS)))
        self._loop.call_later(seconds, self.end, session, context=self._loop.world.context())


class SimMembership:
    """One member; see `ultramarket.ports.membership.Membership`.

    Attributes:
        session: the one that shows that we live; None where it is known to be broken.
    """

    lease_seconds = LEASE_SECONDS

    def __init__(self, server: MemberServer, link: Link) -> None:
        self._server = server
        self._link = link
        self._name = ""
        self.session: Session | None = None
        self.heard: Callable[[], None] = lambda: None

    async def join(self, name: str) -> None:
        """Open the session that shows that we live.

        Raises:
            MembershipLost: the store can't be reached, or an old session still stands.
        """
        self._name = name
        session = Session(name)
        await self._statement("join", session, lambda: self._server.enter(session))
        self.session = session

    async def beat(self, *, owns: bool, figures: Mapping[str, Any]) -> Standing:  # noqa: ARG002 - nobody looks
        """Renew the lease, and see how things stand.

        Raises:
            MembershipLost: the store can't be reached, or the session is gone.
        """
        if self.session is None:
            await self.join(self._name)
        session = self.session
        assert session is not None
        await self._asked("beat", session, lambda: self._server.beat(session, owns=owns))
        members = await self._asked("members", session, self._server.members)
        owners = await self._asked("owners", session, self._server.owners)
        return Standing(members, owners)

    async def tell(self) -> None:
        """Tell the others, who never hear it: they look twice a second all the same."""

    async def leave(self) -> None:
        """Take the row away and end the session."""
        session, self.session = self.session, None
        if session is None:
            return
        try:
            await self._asked("leave", session, lambda: self._server.rows.pop(session.name, None))
        except MembershipLost:
            pass  # the lease runs out by itself
        else:
            self._server.end(session)

    async def _asked(self, what: str, session: Session, statement: Callable[[], Result]) -> Result:
        """Carry out a statement over a session that stands."""

        def carried_out() -> Result:
            if not self._server.stands(session):
                raise MembershipLost(f"{what}: the session is gone")
            return statement()

        try:
            return await self._statement(what, session, carried_out)
        except MembershipLost:
            self.session = None
            raise

    async def _statement(self, what: str, session: Session, statement: Callable[[], Result]) -> Result:
        """Carry out a statement; a session whose client heard no answer is given up."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._link.trip(what)
                result = statement()
                await self._link.trip(f"{what} answer")
        except (JournalLost, TimeoutError) as error:
            self._server.lose(session)
            raise MembershipLost(f"{what}: {error!r}") from error
        return result
