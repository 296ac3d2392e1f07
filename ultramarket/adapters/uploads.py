"""Uploads on PostgreSQL: a file as rows of 1 MiB, so that any replica can read what another one received."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

from ultramarket.errors import UltraMarketError
from ultramarket.ports.database import Database

CHUNK_BYTES = 1 << 20
ABANDONED_HOURS = 24
"""After this time an upload that was never completed (its process died) is removed by the next one."""


class PostgresUploads:
    """Implements `ports.uploads.Uploads` over the tables `upload` and `upload_chunk`.

    A write goes under a generation of its own, a chunk a transaction, and replaces what was there in one statement at
    its end: readers see the old stream or the new one, and no connection is held while a slow client sends.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, id: str, chunks: AsyncIterator[bytes]) -> int:
        """Keep the stream under the id, replacing what was there; gives its size in bytes once all of it is durable.

        Raises:
            Unavailable: the database can't be reached; what was there before stays.
        """
        generation = uuid4()
        await self._database.execute(
            "delete from upload where not complete and started_at < now() - make_interval(hours => $1)", ABANDONED_HOURS
        )
        await self._database.execute("insert into upload (id, generation) values ($1, $2)", id, generation)
        try:
            size = await self._store(id, generation, chunks)
            await self._complete(id, generation, size)
        except BaseException:
            await self._database.execute("delete from upload where id = $1 and generation = $2", id, generation)
            raise
        return size

    async def read(self, id: str) -> AsyncIterator[bytes]:
        """The stream in chunks, from its beginning.

        Raises:
            UltraMarketError: there is no such upload, or it was replaced or dropped while it was read.
            Unavailable: the database can't be reached.
        """
        upload = await self._database.fetchrow("select generation, size from upload where id = $1 and complete", id)
        if upload is None:
            raise UltraMarketError(f"There is no upload {id!r}: it was dropped, or never came in whole.")
        for n in range(-(-upload["size"] // CHUNK_BYTES)):
            chunk = await self._database.fetchrow(
                "select bytes from upload_chunk where id = $1 and generation = $2 and n = $3",
                id,
                upload["generation"],
                n,
            )
            if chunk is None:
                raise UltraMarketError(f"The upload {id!r} was replaced or dropped while it was read; read it again.")
            yield chunk["bytes"]

    async def drop(self, id: str) -> None:
        """Forget the stream; unknown ids are no error."""
        await self._database.execute("delete from upload where id = $1 and complete", id)

    async def size(self, id: str) -> int | None:
        """Bytes of the stream, None when there is no such upload."""
        row = await self._database.fetchrow("select size from upload where id = $1 and complete", id)
        return None if row is None else row["size"]

    async def _store(self, id: str, generation: UUID, chunks: AsyncIterator[bytes]) -> int:
        size = 0
        async for n, chunk in _numbered(_even(chunks)):
            await self._database.execute("insert into upload_chunk values ($1, $2, $3, $4)", id, generation, n, chunk)
            size += len(chunk)
        return size

    async def _complete(self, id: str, generation: UUID, size: int) -> None:
        async with self._database.transaction() as connection:
            # Two writes that end at once follow each other here; the later one stays.
            await connection.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", f"upload:{id}")
            await connection.execute("delete from upload where id = $1 and complete", id)
            await connection.execute(
                "update upload set complete = true, size = $3 where id = $1 and generation = $2", id, generation, size
            )


async def _numbered(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    n = 0
    async for chunk in chunks:
        yield n, chunk
        n += 1


async def _even(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in chunks of exactly CHUNK_BYTES, the last one as long as it is."""
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        while len(buffer) >= CHUNK_BYTES:
            yield bytes(buffer[:CHUNK_BYTES])
            del buffer[:CHUNK_BYTES]
    if buffer:
        yield bytes(buffer)
