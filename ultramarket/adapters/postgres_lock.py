"""One process owns a database's partitions at a time: a lock of a session of its own, held for as long as it lives."""

import asyncio
import os
import socket
from typing import Any

import asyncpg
import structlog

from ultramarket.errors import UltraMarketError
from ultramarket.runtime.clock import wait_within

log = structlog.get_logger()

KEY = 0x756D6F776E6572  # "umowner"
RETRY_SECONDS = 1.0
GIVE_UP_SECONDS = 30.0
"""After a broken connection the server may hold the old session's lock for a while."""

PING_SECONDS = 5.0
"""How often the server is asked whether the session, and with it the lock, is still there."""
ANSWER_SECONDS = 5.0
KEEPALIVES = {"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
"""A client that vanished is found, and its lock freed, within 20 s: before the next one gives up."""

_UNKNOWN = "another process"


class OwnedElsewhere(UltraMarketError):
    """Somebody has the lock.

    Attributes:
        holder: the name of its session; the same as ours where the server has not noticed yet that ours broke.
    """

    def __init__(self, holder: str, since: str = "") -> None:
        super().__init__(
            f"This database is in use by {holder}{since}. Stop it first: one process owns a shop's partitions. Several "
            "share them only where each is given the same ULTRAMARKET_BROKER_URL."
        )
        self.holder = holder


class OwnerLock:
    """Holds the advisory lock; takes it again when its connection breaks."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: asyncpg.Connection[Any] | None = None
        self._lost = asyncio.Event()
        self._name = f"ultramarket owner {socket.gethostname()} pid {os.getpid()}"[:63]

    async def acquire(self) -> None:
        """Take the lock.

        Raises:
            OwnedElsewhere: another process has it; the text says which.
        """
        connection = await asyncpg.connect(
            self._dsn, server_settings={"application_name": self._name, **KEEPALIVES}, timeout=10
        )
        try:
            await _lock(connection)
        except BaseException:
            connection.terminate()
            raise
        self._lost.clear()
        self._connection = connection
        connection.add_termination_listener(self._ended)

    async def keep(self) -> None:
        """Watch the lock for as long as the process lives.

        Raises:
            UltraMarketError: the lock was lost and could not be taken again.
        """
        while True:
            if not await wait_within(self._lost, PING_SECONDS) and await self._alive():
                continue
            log.warning("the connection that holds the owner's lock broke; taking it again")
            await self._again()

    async def _alive(self) -> bool:
        """Whether the lock's session answers: a network that is cut tells nobody."""
        connection = self._connection
        if connection is None:  # let go
            return True
        try:
            await connection.fetchval("select 1", timeout=ANSWER_SECONDS)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            connection.terminate()
            return False
        return True

    async def _again(self) -> None:
        deadline = asyncio.get_running_loop().time() + GIVE_UP_SECONDS
        while True:
            try:
                await self.acquire()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                # The database is away: nobody else can own it either, so there is no hurry to give up.
                log.warning("the database can't be reached", error=str(error))
                deadline = asyncio.get_running_loop().time() + GIVE_UP_SECONDS
            except OwnedElsewhere as error:
                # Our own broken session goes in a moment; another process that has taken over must not be fought.
                ours = error.holder in (self._name, _UNKNOWN)
                if not ours or asyncio.get_running_loop().time() > deadline:
                    raise
            else:
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def release(self) -> None:
        """Let go."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    def _ended(self, connection: Any) -> None:
        """A connection ended; it matters unless it was let go."""
        if connection is self._connection:
            self._lost.set()


async def _lock(connection: "asyncpg.Connection[Any]") -> None:
    if await connection.fetchval("select pg_try_advisory_lock($1)", KEY):
        return
    raise await owned_elsewhere(connection)


async def owned_elsewhere(connection: "asyncpg.Connection[Any]") -> OwnedElsewhere:
    """The refusal that says who has the lock."""
    row = await connection.fetchrow(
        "select a.application_name, a.backend_start from pg_locks l join pg_stat_activity a using (pid) "
        "where l.locktype = 'advisory' and l.granted and (l.classid::bigint << 32 | l.objid::bigint) = $1 "
        "and l.database = (select oid from pg_database where datname = current_database())",
        KEY,
    )
    if row is None:
        return OwnedElsewhere(_UNKNOWN)
    return OwnedElsewhere(row["application_name"], f" (since {row['backend_start']:%F %T} UTC)")
