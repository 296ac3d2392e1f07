import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.adapters.uploads import CHUNK_BYTES, PostgresUploads
from ultramarket.errors import UltraMarketError


@pytest.fixture
def uploads(database: PostgresDatabase) -> PostgresUploads:
    return PostgresUploads(database)


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def read(uploads: PostgresUploads, id: str) -> bytes:
    return b"".join([chunk async for chunk in uploads.read(id)])


async def chunks_kept(database: PostgresDatabase) -> int:
    return int((await database.fetch("select count(*) as n from upload_chunk"))[0]["n"])


async def test_a_stream_comes_back_as_it_went_in_with_its_size(uploads: PostgresUploads) -> None:
    content = bytes(range(256)) * 10_000
    pieces = [content[at : at + 7_777] for at in range(0, len(content), 7_777)]
    assert await uploads.write("a", stream(*pieces)) == 2_560_000
    assert await uploads.size("a") == 2_560_000
    assert await read(uploads, "a") == content
    assert [len(chunk) async for chunk in uploads.read("a")] == [CHUNK_BYTES, CHUNK_BYTES, 2_560_000 - 2 * CHUNK_BYTES]


async def test_a_chunk_of_exactly_the_size_and_an_empty_stream(uploads: PostgresUploads) -> None:
    assert await uploads.write("full", stream(bytes(CHUNK_BYTES))) == CHUNK_BYTES
    assert await read(uploads, "full") == bytes(CHUNK_BYTES)
    assert await uploads.write("empty", stream()) == 0
    assert await read(uploads, "empty") == b""
    assert await uploads.size("empty") == 0


async def test_a_second_write_replaces_the_first_and_leaves_nothing_of_it(
    uploads: PostgresUploads, database: PostgresDatabase
) -> None:
    await uploads.write("a", stream(bytes(3 * CHUNK_BYTES)))
    await uploads.write("a", stream(b"new"))
    assert await read(uploads, "a") == b"new"
    assert await chunks_kept(database) == 1


async def test_a_write_that_breaks_off_leaves_what_was_there(
    uploads: PostgresUploads, database: PostgresDatabase
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(CHUNK_BYTES)
        raise ConnectionResetError

    await uploads.write("a", stream(b"old"))
    with pytest.raises(ConnectionResetError):
        await uploads.write("a", broken())
    assert await read(uploads, "a") == b"old"
    assert await chunks_kept(database) == 1


async def test_a_cancelled_write_leaves_nothing(uploads: PostgresUploads, database: PostgresDatabase) -> None:
    sent = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield bytes(CHUNK_BYTES)
        sent.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(uploads.write("a", endless()))
    await sent.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await chunks_kept(database) == 0
    assert await uploads.size("a") is None


async def test_a_reader_of_a_replaced_stream_is_told_and_never_gets_a_mixture(uploads: PostgresUploads) -> None:
    await uploads.write("a", stream(b"1" * CHUNK_BYTES, b"1"))
    reading = uploads.read("a")
    assert await anext(reading) == b"1" * CHUNK_BYTES
    await uploads.write("a", stream(b"2" * CHUNK_BYTES, b"2"))
    with pytest.raises(UltraMarketError, match="replaced or dropped"):
        await anext(reading)


async def test_writes_at_the_same_time_leave_one_whole_stream(
    uploads: PostgresUploads, database: PostgresDatabase
) -> None:
    await asyncio.gather(*(uploads.write("a", stream(bytes([n]) * (CHUNK_BYTES + n))) for n in range(5)))
    content = await read(uploads, "a")
    assert content == content[:1] * (CHUNK_BYTES + content[0])
    assert await chunks_kept(database) == (2 if content[0] else 1)


async def test_what_a_dead_process_left_is_removed_by_a_later_write(
    uploads: PostgresUploads, database: PostgresDatabase
) -> None:
    await database.execute(
        "with u as (insert into upload (id, generation, started_at) values"
        " ('dead', gen_random_uuid(), now() - interval '25 hours'), ('alive', gen_random_uuid(), now()) returning *)"
        " select * from u"
    )
    await database.execute("insert into upload_chunk select id, generation, 0, 'x' from upload")
    await uploads.write("a", stream(b"new"))
    rows = await database.fetch("select id from upload_chunk order by id")
    assert [row["id"] for row in rows] == ["a", "alive"]


async def test_a_dropped_or_unknown_upload_is_an_error_to_read_and_none_to_drop(
    uploads: PostgresUploads, database: PostgresDatabase
) -> None:
    await uploads.write("a", stream(b"x"))
    await uploads.drop("a")
    await uploads.drop("a")
    with pytest.raises(UltraMarketError, match="There is no upload 'a'"):
        await read(uploads, "a")
    assert await chunks_kept(database) == 0


async def test_memory_stays_flat_however_long_the_stream(uploads: PostgresUploads) -> None:
    async def long() -> AsyncIterator[bytes]:
        for n in range(1024):
            yield bytes([n % 251]) * 65_536

    tracemalloc.start()
    try:
        assert await uploads.write("a", long()) == 64 * CHUNK_BYTES
        digest = hashlib.sha256()
        async for chunk in uploads.read("a"):
            digest.update(chunk)
        assert tracemalloc.get_traced_memory()[1] < 16 * CHUNK_BYTES
    finally:
        tracemalloc.stop()
    assert digest.hexdigest() == hashlib.sha256(b"".join([chunk async for chunk in long()])).hexdigest()
