"""A pool of PostgreSQL connections behind the port `Database`: what can't be reached becomes `Unavailable`."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

import asyncpg

from ultramarket.errors import Unavailable
from ultramarket.ports.database import Row

ACQUIRE_SECONDS = 5.0
"""How long a call waits for a free connection of the pool, and for a new one to be opened."""
COMMAND_SECONDS = 30.0
"""How long one statement may take before it is cancelled."""

_SERVER_SETTINGS = {
    "timezone": "UTC",
    "jit": "off",  # the statements are short; compiling them costs more than running them
    "lock_timeout": "10s",
}

_LOST = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.TransactionRollbackError,  # class 40: rolled back for another's sake
    asyncpg.InsufficientResourcesError,  # class 53: too many connections, disk full
    asyncpg.LockNotAvailableError,  # 55P03: lock_timeout
    asyncpg.OperatorInterventionError,  # class 57: shutting down, starting up, cancelled
    asyncpg.PostgresSystemError,  # class 58: what the server stands on failed, e.g. its disk
    asyncpg.InternalClientError,  # the server's farewell is being read when the next statement goes out
)


def _unavailable(error: BaseException) -> Unavailable:
    reason = str(error) or type(error).__name__
    return Unavailable("database_unavailable", f"The database did not answer ({reason}); try again in a moment.")


@contextmanager
def _translated(connection: "_Link | None" = None) -> Iterator[None]:
    """Turn losses and timeouts into `Unavailable`; errors of the statement itself pass as they are."""
    try:
        yield
    except _LOST as error:
        raise _unavailable(error) from error
    except asyncpg.InterfaceError as error:
        # The same class tells of a lost connection and of wrong arguments; only the former is a matter of trying again.
        if connection is not None and connection.is_lost():
            raise _unavailable(error) from error
        raise


class _Link:
    """One connection of the pool, its errors translated."""

    def __init__(self, connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> None:
        self._connection = connection

    def is_lost(self) -> bool:
        try:
            return self._connection.is_closed()
        except asyncpg.InterfaceError:  # the pool took the dead connection back already
            return True

    async def fetch(self, sql: str, *args: Any) -> Sequence[Row]:
        with _translated(self):
            return await self._connection.fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: Any) -> Row | None:
        with _translated(self):
            return await self._connection.fetchrow(sql, *args)

    async def execute(self, sql: str, *args: Any) -> str:
        with _translated(self):
            return await self._connection.execute(sql, *args)


async def _keep_session(_connection: object) -> None:
    """Give a connection back without a round trip for `RESET ALL`: the port has no way to change a session."""


class PostgresDatabase:
    """Implements `ports.database.Database` over an asyncpg pool; made by `connect`, ended by `close`.

    Timestamps come back aware and in UTC. Statements are prepared once a connection and kept.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", acquire_seconds: float = ACQUIRE_SECONDS) -> None:
        self._pool = pool
        self._acquire_seconds = acquire_seconds
        # The pool lets newcomers overtake those who wait: some then wait for seconds. This queue is a fair one.
        self._turn = asyncio.Semaphore(pool.get_max_size())

    @classmethod
    async def connect(
        cls,
        dsn: str,
        *,
        min_size: int = 1,
        max_size: int = 8,
        acquire_seconds: float = ACQUIRE_SECONDS,
        command_seconds: float = COMMAND_SECONDS,
        application_name: str = "ultramarket",
        waits_for_disk: bool = True,
    ) -> Self:
        """Open a pool.

        Args:
            dsn: address as libpq takes it.
            min_size: connections that are opened at once and kept.
            max_size: connections at most. A view's transaction reads entities beside itself: at least 4.
            acquire_seconds: how long a call waits for a connection.
            command_seconds: how long a statement may take.
            application_name: how the connections are listed in `pg_stat_activity`.
            waits_for_disk: whether a commit waits until it is on the disk. One that does not is there as soon as a
                later one that waits is: a crash of the server takes it only together with all that followed.

        Raises:
            Unavailable: the server can't be reached.
        """
        with _translated():
            pool = await asyncpg.create_pool(
                dsn,
                min_size=min_size,
                max_size=max_size,
                timeout=acquire_seconds,
                command_timeout=command_seconds,
                reset=_keep_session,
                server_settings={
                    "application_name": application_name,
                    **_SERVER_SETTINGS,
                    **({} if waits_for_disk else {"synchronous_commit": "off"}),
                },
            )
        return cls(pool, acquire_seconds)

    async def close(self) -> None:
        """Wait for the calls that run, then end all connections."""
        await self._pool.close()

    async def fetch(self, sql: str, *args: Any) -> Sequence[Row]:
        """All rows."""
        async with self._acquired() as link:
            return await link.fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: Any) -> Row | None:
        """The first row, or None."""
        async with self._acquired() as link:
            return await link.fetchrow(sql, *args)

    async def execute(self, sql: str, *args: Any) -> str:
        """Run a statement; gives the command tag, e.g. `UPDATE 3`."""
        async with self._acquired() as link:
            return await link.execute(sql, *args)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[_Link]:
        """A connection inside a transaction that commits when the block ends without an exception."""
        async with self._acquired() as link:
            transaction = link._connection.transaction()  # noqa: SLF001 - _Link is this module's own
            with _translated(link):
                await transaction.start()
            try:
                yield link
            except BaseException:
                # On a lost connection there is nothing to roll back, and the block's own exception says more.
                if not link.is_lost():
                    with _translated(link):
                        await transaction.rollback()
                raise
            with _translated(link):
                await transaction.commit()

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[_Link]:
        if self._pool.is_closing():
            raise _unavailable(asyncpg.InterfaceError("the pool is closed"))
        with _translated():
            await self._wait()
        try:
            with _translated():
                # A free connection is there at once; a timeout is for one that has to be opened.
                free = self._pool.get_idle_size() > 0
                try:
                    connection = await self._pool.acquire(timeout=None if free else self._acquire_seconds)
                except asyncpg.PostgresError as error:  # a server that lets nobody in, whatever its reason
                    raise _unavailable(error) from error
            try:
                yield _Link(connection)
            finally:
                with _translated():
                    await self._pool.release(connection)
        finally:
            self._turn.release()

    async def _wait(self) -> None:
        """Wait in the queue; a timeout costs as much as a statement, and mostly there is nothing to wait for."""
        if not self._turn.locked():
            await self._turn.acquire()
            return
        async with asyncio.timeout(self._acquire_seconds):
            await self._turn.acquire()
