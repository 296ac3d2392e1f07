import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import pytest
import pytest_asyncio

from ultramarket.adapters import migrations
from ultramarket.adapters.embedded_postgres_cluster import Owner
from ultramarket.adapters.migrations import check_server, migrate, read_folder, refuse_transaction_pooler
from ultramarket.errors import UltraMarketError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "migrations"
    place.mkdir()
    (place / "0001_goods.sql").write_text("create table goods (id int); insert into goods values (1);")
    (place / "0002_more.sql").write_text("insert into goods values (2);")
    return place


@pytest_asyncio.fixture
async def empty(server: str) -> AsyncIterator[str]:
    """DSN of a database without any table."""
    name = f"um_migrations_{os.getpid()}"
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(f"create database {name}")
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
        await connection.execute(f"drop database {name} with (force)")
    finally:
        await connection.close()


@pytest_asyncio.fixture
async def connection(empty: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(empty)
    yield opened
    await opened.close()


async def test_each_file_is_applied_once_in_order(connection: asyncpg.Connection, folder: Path) -> None:
    assert await migrate(connection, folder) == ["0001_goods.sql", "0002_more.sql"]
    assert await migrate(connection, folder) == []
    (folder / "0003_most.sql").write_text("insert into goods values (3);")
    assert await migrate(connection, folder) == ["0003_most.sql"]
    assert [row["id"] for row in await connection.fetch("select id from goods order by id")] == [1, 2, 3]


async def test_a_file_that_fails_leaves_nothing_and_the_ones_before_stay(
    connection: asyncpg.Connection, folder: Path
) -> None:
    (folder / "0003_wrong.sql").write_text("insert into goods values (3); select 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(connection, folder)
    assert await connection.fetchval("select count(*) from goods") == 2
    assert await connection.fetchval("select max(number) from migration") == 2
    (folder / "0003_wrong.sql").write_text("insert into goods values (3);")
    assert await migrate(connection, folder) == ["0003_wrong.sql"]


async def test_a_file_changed_after_it_was_applied_is_named(connection: asyncpg.Connection, folder: Path) -> None:
    await migrate(connection, folder)
    (folder / "0001_goods.sql").write_text("create table goods (id bigint);")
    with pytest.raises(UltraMarketError, match=r"0001_goods\.sql is not the one that the database was made with"):
        await migrate(connection, folder)


async def test_a_database_of_a_newer_version_is_refused(connection: asyncpg.Connection, folder: Path) -> None:
    await migrate(connection, folder)
    (folder / "0002_more.sql").unlink()
    with pytest.raises(UltraMarketError, match=r"migrated by a newer version \(it has 0002_more\.sql\)"):
        await migrate(connection, folder)


async def test_a_number_that_the_database_misses_is_refused(connection: asyncpg.Connection, folder: Path) -> None:
    await migrate(connection, folder)
    await connection.execute("delete from migration where number = 1")
    with pytest.raises(UltraMarketError, match="but not number 0001"):
        await migrate(connection, folder)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("0004_gap.sql", r"0004_gap\.sql has to have the number 0003"),
        ("0002_twin.sql", r"0002_twin\.sql has to have the number 0003"),
        ("3_short.sql", "name it with four digits"),
    ],
)
def test_misnumbered_files_are_refused(folder: Path, name: str, sentence: str) -> None:
    (folder / name).write_text("select 1;")
    with pytest.raises(UltraMarketError, match=sentence):
        read_folder(folder)


def test_a_folder_without_migrations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UltraMarketError, match="holds no migrations"):
        read_folder(tmp_path)


def test_the_platforms_own_folder_is_in_order() -> None:
    assert read_folder(migrations.FOLDER)[0].name == "0001_journal.sql"


async def test_of_processes_that_migrate_at_once_one_does_it(empty: str, folder: Path) -> None:
    opened = [await asyncpg.connect(empty) for _ in range(4)]
    done = await asyncio.gather(*(migrate(each, folder) for each in opened))
    assert sorted(map(len, done)) == [0, 0, 0, 2]
    for each in opened:
        await each.close()


async def test_a_lock_timeout_of_the_session_neither_cuts_the_waiting_nor_is_lost(
    empty: str, connection: asyncpg.Connection, folder: Path
) -> None:
    holder = await asyncpg.connect(empty)
    await holder.execute(f"select pg_advisory_lock({migrations._LOCK})")
    await connection.execute("set lock_timeout = '1ms'")
    waiting = asyncio.create_task(migrate(connection, folder))
    # A statement of the server's own waits until the migration waits, and then longer than that session's lock_timeout.
    await holder.execute(
        "do $$ begin while not exists (select from pg_locks where locktype = 'advisory' and not granted)"
        " loop perform pg_sleep(0.01); end loop; perform pg_sleep(0.05); end $$"
    )
    await holder.close()
    assert len(await waiting) == 2
    assert await connection.fetchval("show lock_timeout") == "1ms"


async def test_a_sound_server_passes(connection: asyncpg.Connection) -> None:
    await check_server(connection)


@pytest.mark.parametrize(
    ("fact", "sentence"),
    [
        ({"version": 130_014}, "is PostgreSQL 13: the platform needs 14 or newer"),
        ({"encoding": "SQL_ASCII"}, "The database shop is encoded in SQL_ASCII"),
        ({"standby": True}, "read-only standby"),
    ],
)
def test_an_unfit_server_is_refused_with_what_to_do(fact: dict[str, object], sentence: str) -> None:
    facts = {"version": 140_000, "encoding": "UTF8", "standby": False, "database": "shop"}
    migrations._check_facts(facts)
    with pytest.raises(UltraMarketError, match=sentence):
        migrations._check_facts(facts | fact)


async def test_a_server_without_a_pooler_passes(server: str) -> None:
    await refuse_transaction_pooler(server)


@pytest.fixture
def pgbouncer(server: str, tmp_path: Path) -> Iterator[str]:
    """Address of a real pgbouncer that pools by transaction (path /transaction) and by session (/session)."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed: the refusal was not tried against the real one")
    parts = urlsplit(server)
    host = parts.hostname or parse_qs(parts.query)["host"][0]
    port = parts.port or 5432
    password = unquote(parts.password or "")
    target = f"host={host} port={port} dbname={parts.path[1:]} user={parts.username} password={password}"
    (tmp_path / "users.txt").write_text(f'"{parts.username}" "{password}"\n')
    (tmp_path / "pgbouncer.ini").write_text(
        "[databases]\n"
        + "".join(
            f"{name} = {target} pool_mode={name.split('_')[0]} pool_size={size}\n"
            for name, size in (("transaction", 5), ("transaction_one", 1), ("statement", 5), ("session", 5))
        )
        + f"[pgbouncer]\nlisten_addr =\nunix_socket_dir = {tmp_path}\nlisten_port = 6432\nauth_type = trust\n"
        f"auth_file = {tmp_path}/users.txt\nlogfile = {tmp_path}/pgbouncer.log\nmax_client_conn = 20\n"
    )
    owner = Owner(tmp_path / "none")  # pgbouncer refuses root too
    owner.give(tmp_path)
    process = subprocess.Popen(
        [*owner.prefix, program, str(tmp_path / "pgbouncer.ini")], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if b"process up" in line:
                break
        yield f"postgresql://{parts.username}@/{{}}?host={tmp_path}&port=6432"
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


@pytest.mark.parametrize("pool", ["transaction", "transaction_one", "statement"])
async def test_a_pooler_in_transaction_mode_is_refused(
    pgbouncer: str, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "_PROBE_SECONDS", 0.5)
    with pytest.raises(UltraMarketError, match="behind a pooler in transaction mode"):
        await refuse_transaction_pooler(pgbouncer.format(pool))


async def test_a_pooler_in_session_mode_passes(pgbouncer: str) -> None:
    await refuse_transaction_pooler(pgbouncer.format("session"))


async def test_messages_of_before_there_were_sources_get_theirs_from_their_bodies(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    for file in sorted(migrations.FOLDER.glob("000[1-3]_*.sql")):
        shutil.copy(file, tmp_path)
    await migrate(connection, tmp_path)
    bodies = {
        "m1": '{"source":"order:o1","trace":"t","body":{"$type":"Hear","n":1}}',
        "m2": '{"body":1}',
        "m3": '"text"',
    }
    for name, body in bodies.items():
        await connection.execute(
            "insert into outbox (message, kind, no, id, body) values ($1, 'toy', 0, 'a', $2)", name, body
        )
    await migrate(connection)
    rows = await connection.fetch("select message, source, body from outbox order by n")
    assert {row["message"]: row["source"] for row in rows} == {"m1": "order:o1", "m2": "", "m3": ""}
    assert {row["message"]: row["body"] for row in rows} == bodies
