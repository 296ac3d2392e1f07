"""Members of a shop in PostgreSQL: a row with a lease, and a session with an advisory lock for as long as it lives.

The lock tells at once that a process died, as its connection ends with it; the lease tells it of one that stands still
or can't be reached.
"""

import contextlib
import os
import resource
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from ultramarket import __version__
from ultramarket.adapters.postgres_lock import KEEPALIVES, KEY, owned_elsewhere
from ultramarket.ports.membership import MembershipLost, Standing

LEASE_SECONDS = 10.0
ANSWER_SECONDS = 3.0
CONNECT_SECONDS = 10.0
"""What a process that starts waits for the database; one that runs has to know soon that its lease is over."""
FORGET_SECONDS = 60
"""After this time the rows of the dead are removed."""

_LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_LIVE = "select pg_try_advisory_lock(hashtextextended('member:' || $1, 0)) as lives"
_SHARE = "select pg_try_advisory_lock_shared($1) as shares"
_BEAT = """
insert into member (name, role, host, pid, build, lease_until, state, figures)
values ($1, $2, $3, $4, $5, clock_timestamp() + make_interval(secs => $6), $7, $8)
on conflict (name) do update
set lease_until = excluded.lease_until, state = excluded.state, figures = excluded.figures
"""
_FORGET = "delete from member where lease_until < now() - make_interval(secs => $1)"
LIVES = """m.lease_until > now() and exists (
    select from pg_locks l
    where l.locktype = 'advisory' and l.granted and l.objsubid = 1
    and l.database = (select oid from pg_database where datname = current_database())
    and (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('member:' || m.name, 0))
"""
"""Whether a row `m` of the table `member` is of one that lives: its lease runs, and its session holds its lock."""
_MEMBERS = f"select m.name, m.state = 'owns' as owns from member m where {LIVES}"  # noqa: S608 - only text of this module
_OWNERS = "select kind, no, owner from partition"
_CHANNEL = "ultramarket_members"
_TELL = f"select pg_notify('{_CHANNEL}', $1)"


class PostgresMembership:
    """One member; see `ultramarket.ports.membership.Membership`.

    Args:
        dsn: of the shop's database.
        role: what the process does, for people: `all`, `worker` or `web`.
    """

    lease_seconds = LEASE_SECONDS

    def __init__(self, dsn: str, role: str) -> None:
        self._dsn = dsn
        self._role = role
        self._name = ""
        self._connection: asyncpg.Connection[Any] | None = None
        self._beats = 0
        self.heard: Callable[[], None] = lambda: None

    async def join(self, name: str) -> None:
        """Open the session that shows that we live.

        Raises:
            OwnedElsewhere: a process that shares with nobody runs on this database.
            MembershipLost: the database can't be reached.
        """
        self._name = name
        await self._join(CONNECT_SECONDS)

    async def beat(self, *, owns: bool, figures: Mapping[str, Any]) -> Standing:
        """Renew the lease, and see how things stand."""
        if self._connection is None or self._connection.is_closed():
            await self._join(ANSWER_SECONDS)
        connection = self._connection
        assert connection is not None  # noqa: S101 - we have joined
        told = msgspec.json.encode({**figures, "memory": _memory()}).decode()
        row = (self._name, self._role, socket.gethostname(), os.getpid(), __version__, LEASE_SECONDS)
        try:
            await connection.execute(_BEAT, *row, "owns" if owns else "stands by", told, timeout=ANSWER_SECONDS)
            self._beats += 1
            if self._beats % FORGET_SECONDS == 1:
                await connection.execute(_FORGET, FORGET_SECONDS, timeout=ANSWER_SECONDS)
            members = await connection.fetch(_MEMBERS, timeout=ANSWER_SECONDS)
            owners = await connection.fetch(_OWNERS, timeout=ANSWER_SECONDS)
        except _LOST as error:
            connection.terminate()
            raise MembershipLost(f"The database does not answer: {error}") from error
        return Standing(
            {row["name"]: row["owns"] for row in members},
            {(row["kind"], row["no"]): row["owner"] for row in owners},
        )

    async def tell(self) -> None:
        """Tell the other members that partitions are free."""
        if self._connection is not None:
            # The next beat finds out what became of the session, and the others see with theirs what is free.
            with contextlib.suppress(*_LOST):
                await self._connection.execute(_TELL, self._name, timeout=ANSWER_SECONDS)

    async def leave(self) -> None:
        """Take the row away and end the session."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await connection.execute("delete from member where name = $1", self._name, timeout=ANSWER_SECONDS)
        except _LOST:
            pass  # the lease runs out by itself
        finally:
            connection.terminate()

    async def _join(self, seconds: float) -> None:
        try:
            connection = await asyncpg.connect(
                self._dsn,
                server_settings={"application_name": f"ultramarket member {self._name}"[:63], **KEEPALIVES},
                timeout=seconds,
                command_timeout=seconds,
            )
        except _LOST as error:
            raise MembershipLost(f"The database can't be reached: {error}") from error
        try:
            await _enter(connection, self._name)
            await connection.add_listener(_CHANNEL, self._hear)
        except _LOST as error:
            connection.terminate()
            raise MembershipLost(f"The database broke the connection: {error}") from error
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection

    def _hear(self, _connection: object, _pid: int, _channel: str, sender: object) -> None:
        if sender != self._name:
            self.heard()


async def _enter(connection: "asyncpg.Connection[Any]", name: str) -> None:
    """Take the locks that show that we live, and share with others.

    Raises:
        OwnedElsewhere: a process that shares with nobody runs on this database.
        MembershipLost: the server still has an old session of ours.
    """
    if not await connection.fetchval(_SHARE, KEY):
        raise await owned_elsewhere(connection)
    if not await connection.fetchval(_LIVE, name):
        raise MembershipLost("Our old session still stands; the server has not noticed yet that it broke.")


def _memory() -> int | None:
    """Bytes that this process has in memory; None where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text("ascii").split()[1]) * resource.getpagesize() if statm.exists() else None
