"""Building a view anew from the beginning of the log while the one that is there serves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from ultramarket.errors import UltraMarketError, Unavailable
from ultramarket.ports.database import Connection, Database
from ultramarket.views.projection import OvertakenError, Projection, View
from ultramarket.views.twin import Twin

SWAP_SECONDS = 60.0
"""So long it is tried to put the new tables in their place; a list that is read for longer than that is in the way."""
SWAP_LOCK = "2s"
"""For so long a try may wait for the tables: whoever wants to read them waits behind it."""
SUFFIX = ":rebuild"
"""Follows the view's name where the offsets of a rebuild stand."""

_GUARD = "select pg_try_advisory_xact_lock(hashtextextended('rebuild:' || $1, 0)) as mine"
_STILL = "select pg_advisory_xact_lock(hashtextextended('view:' || $1, 0))"
_FORGET = "with gone as (delete from view_parked where view = $1) delete from view_offset where view = $1"
_RENAME = """
with parked as (update view_parked set view = $2 where view = $1)
update view_offset set view = $2 where view = $1
"""
_PARKED = "select count(*) as parked from view_parked where view = $1"


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebuild came to: events read, and events that could not be taken (they are parked with their reasons)."""

    view: str
    events: int
    parked: int


Advance = Callable[[int, int], None]
"""Told how many events have been read and how many there are by now."""


class Rebuild:
    """Builds one view anew: beside the one that is there, until it has caught up, and then in its place.

    A rebuild that is cancelled or fails changes nothing; what one that was killed left is dropped by the next.

    Args:
        database: where log and view are; it holds up to three connections. Building an index must fit into its time
            for a statement.
        view: the view.
    """

    def __init__(self, database: Database, view: View) -> None:
        self._database = database
        self._view = view
        self._name = view.name + SUFFIX
        self._twin = Twin(database, view.tables, f"rebuild_{view.name.replace('.', '_')}")
        self._projection = Projection(_TwinDatabase(database, self._twin), view, self._name)

    async def run(self, advance: Advance) -> Rebuilt:
        """Build it.

        Raises:
            UltraMarketError: somebody else rebuilds the view, the database is away for longer, or the tables are in
                use all the time.
        """
        # The lock stays with its transaction, which does nothing else and holds back nothing.
        async with self._database.transaction() as guard:
            row = await guard.fetchrow(_GUARD, self._view.name)
            if row is None or not row["mine"]:
                raise UltraMarketError(f"The view {self._view.name} is being rebuilt already.")
            try:
                return await self._build(advance)
            except BaseException:
                await self._clear()
                raise

    async def _build(self, advance: Advance) -> Rebuilt:
        await self._database.execute(_FORGET, self._name)
        await self._twin.make()
        await self._projection.enter()
        await self._catch_up(advance)
        await self._twin.index()
        await self._catch_up(advance)
        try:
            async with asyncio.timeout(SWAP_SECONDS):
                while not await self._swap():
                    await self._catch_up(advance)
        except TimeoutError as error:
            raise UltraMarketError(
                f"The view's tables were in use for {SWAP_SECONDS:.0f} s without a pause: nothing was changed. "
                "Look for long queries (pg_stat_activity) and try again."
            ) from error
        standing = await Projection(self._database, self._view).look()
        parked = await self._database.fetchrow(_PARKED, self._view.name)
        return Rebuilt(
            view=self._view.name, events=sum(standing.places.values()), parked=0 if parked is None else parked["parked"]
        )

    async def _catch_up(self, advance: Advance) -> None:
        """Take what is in the log, until nothing waits."""
        standing = await self._projection.look()
        done, total = sum(standing.places.values()), sum(standing.places.values()) + standing.behind
        advance(done, total)
        places = standing.places
        while moved := (await self._projection.turn(far=True)).places:
            done += sum(seq - places[place] for place, seq in moved.items())
            places |= moved
            advance(done, max(total, done))

    async def _swap(self) -> bool:
        """Put the new tables in the place of the old; False when they can't be had just now."""
        try:
            async with self._database.transaction() as connection:
                await connection.execute(f"set local lock_timeout = '{SWAP_LOCK}'")
                await connection.execute(_STILL, self._view.name)  # nobody moves the old one meanwhile
                await self._twin.enter(connection)
                await self._finish(connection)
                await connection.execute("set local search_path to default")
                await self._twin.take_over(connection)
                await connection.execute(_FORGET, self._view.name)
                await connection.execute(_RENAME, self._name, self._view.name)
        except (Unavailable, OvertakenError):
            return False
        return True

    async def _finish(self, connection: Connection) -> None:
        try:
            await self._projection.finish(connection)
        except Unavailable:
            raise
        except Exception as error:  # one of the last events can't be taken: it is parked on the way to the next try
            raise OvertakenError from error

    async def _clear(self) -> None:
        """Leave nothing behind; shielded, because a cancelled task can't wait for itself."""
        await asyncio.shield(self._drop())

    async def _drop(self) -> None:
        async with self._database.transaction() as connection:
            await self._twin.drop(connection)
            await connection.execute(_FORGET, self._name)


class _TwinDatabase:
    """The database in whose transactions the view's tables are the new ones."""

    def __init__(self, database: Database, twin: Twin) -> None:
        self._twin = twin
        self.fetch = database.fetch
        self.fetchrow = database.fetchrow
        self.execute = database.execute

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A transaction within the new tables."""
        async with self._twin.transaction() as connection:
            yield connection
