"""The schema of the database: numbered SQL files, each applied once, and what a server must be to run them."""

import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec

from ultramarket.errors import UltraMarketError

FOLDER = Path(__file__).parents[1] / "migrations"
"""The platform's own migrations."""

_OLDEST_SERVER = 14  # multirange types and the lock behaviour that the journal was tested with
_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_LOCK = 0x756C7472616D6B74  # "ultramkt": the advisory lock that one migration at a time holds
_LONGEST_SECONDS = 24 * 3600.0  # a migration of a large table takes its time; the driver's default must not cut it
_PROBE_SECONDS = 5.0
_TABLE = """
    create table if not exists migration (
        number     integer primary key,
        name       text not null,
        checksum   text not null,
        applied_at timestamptz not null default now()
    )"""

# What a driver meets when two of its round trips reach two different servers behind a pooler.
_SPLIT_SESSION = (
    TimeoutError,  # a pool of one server: the other connection's transaction holds it
    asyncpg.InvalidSQLStatementNameError,
    asyncpg.DuplicatePreparedStatementError,
)


class Migration(msgspec.Struct, frozen=True):
    """One file of the folder.

    Attributes:
        number: 1, 2, 3 ...
        name: the file's name, e.g. `0001_journal.sql`.
        sql: its statements.
        checksum: SHA-256 of its bytes, hexadecimal.
    """

    number: int
    name: str
    sql: str
    checksum: str


def read_folder(folder: Path) -> list[Migration]:
    """The migrations of a folder in order.

    Raises:
        UltraMarketError: a file is misnamed, or a number is missing or stands twice.
    """
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise UltraMarketError(f"{path} is no migration: name it with four digits, such as 0002_what_it_does.sql.")
        content = path.read_bytes()
        found.append(Migration(int(match[1]), path.name, content.decode(), hashlib.sha256(content).hexdigest()))
    for expected, migration in enumerate(found, start=1):
        if migration.number != expected:
            raise UltraMarketError(f"The migration {migration.name} has to have the number {expected:04}.")
    if not found:
        raise UltraMarketError(f"{folder} holds no migrations: the installation is not complete.")
    return found


async def migrate(connection: asyncpg.Connection, folder: Path = FOLDER) -> list[str]:
    """Applies what is not applied yet, each file in a transaction, and gives the names of the applied files.

    An advisory lock lets one process at a time do this; the others wait and then find nothing left to do.

    Raises:
        UltraMarketError: a file was changed after it was applied, a number misses, or the database is newer.
    """
    migrations = read_folder(folder)
    async with _alone(connection):
        await connection.execute(_TABLE)
        rows = await connection.fetch("select number, name, checksum from migration order by number")
        _check_applied(rows, migrations)
        waiting = migrations[len(rows) :]
        for migration in waiting:
            async with connection.transaction():
                await connection.execute(migration.sql, timeout=_LONGEST_SECONDS)
                await connection.execute(
                    "insert into migration (number, name, checksum) values ($1, $2, $3)",
                    migration.number,
                    migration.name,
                    migration.checksum,
                )
    return [migration.name for migration in waiting]


def _check_applied(rows: list[asyncpg.Record], migrations: list[Migration]) -> None:
    for expected, row in enumerate(rows, start=1):
        if row["number"] != expected:
            raise UltraMarketError(
                f"The database has the migration {row['name']} but not number {expected:04}: restore it from a backup."
            )
        if expected > len(migrations):
            raise UltraMarketError(
                f"The database was migrated by a newer version (it has {row['name']}): "
                "start that version or a later one."
            )
        ours = migrations[expected - 1]
        if (row["name"], row["checksum"]) != (ours.name, ours.checksum):
            raise UltraMarketError(
                f"The migration {ours.name} is not the one that the database was made with ({row['name']}): "
                "bring the old file back and put the change into a new one."
            )


@asynccontextmanager
async def _alone(connection: asyncpg.Connection) -> AsyncIterator[None]:
    # The pool's lock_timeout is for statements of a request, not for another process's long migration.
    before = await connection.fetchval("select current_setting('lock_timeout')")
    await connection.execute("set lock_timeout = 0")
    try:
        await connection.fetchval("select pg_advisory_lock($1)", _LOCK, timeout=_LONGEST_SECONDS)
    finally:
        await connection.execute("select set_config('lock_timeout', $1, false)", before)
    try:
        yield
    finally:
        await connection.fetchval("select pg_advisory_unlock($1)", _LOCK)


async def check_server(connection: asyncpg.Connection) -> None:
    """Refuses a server that the platform can't keep its promises on.

    Raises:
        UltraMarketError: PostgreSQL before 14, an encoding other than UTF8, or a read-only standby.
    """
    (row,) = await connection.fetch(
        "select current_setting('server_version_num')::int as version, current_setting('server_encoding') as encoding,"
        " pg_is_in_recovery() as standby, current_database() as database"
    )
    _check_facts(dict(row))


def _check_facts(facts: Mapping[str, object]) -> None:
    version = int(str(facts["version"]))
    if version < _OLDEST_SERVER * 10_000:
        raise UltraMarketError(
            f"The database server is PostgreSQL {version // 10_000}: the platform needs {_OLDEST_SERVER} or newer."
        )
    if facts["encoding"] != "UTF8":
        raise UltraMarketError(
            f"The database {facts['database']} is encoded in {facts['encoding']}: make one with "
            "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0."
        )
    if facts["standby"]:
        raise UltraMarketError("The database server is a read-only standby: give the address of its primary.")


async def refuse_transaction_pooler(dsn: str) -> None:
    """Refuses a connection pooler that gives each transaction another session.

    Advisory locks, which make a process the owner of its partitions, belong to a session: behind such a pooler two
    processes could own the same one. Two connections each set a value of their session; while the second is inside a
    transaction, the first must still read its own value from the same server process.

    Raises:
        UltraMarketError: there is such a pooler.
    """
    first = await asyncpg.connect(dsn, statement_cache_size=0)
    try:
        second = await asyncpg.connect(dsn, statement_cache_size=0)
        try:
            kept = await _keeps_its_session(first, second)
        except _SPLIT_SESSION:
            kept = False
        except asyncpg.ConnectionDoesNotExistError as error:
            if not isinstance(error.__cause__, asyncpg.ProtocolViolationError):  # a statement pooler refuses BEGIN so
                raise
            kept = False
        finally:
            second.terminate()
    finally:
        first.terminate()
    if not kept:
        raise UltraMarketError(
            "The database is behind a pooler in transaction mode, where sessions and their locks don't hold: "
            "connect to PostgreSQL itself, or set the pooler to pool_mode=session."
        )


async def _keeps_its_session(first: asyncpg.Connection, second: asyncpg.Connection) -> bool:
    # One text column of both: the session's own value and the number of the server process that answers.
    mark = "select set_config('ultramarket.session', $1, false) || ' ' || pg_backend_pid()"
    read = "select current_setting('ultramarket.session', true) || ' ' || pg_backend_pid()"
    before = await first.fetchval(mark, secrets.token_hex(16), timeout=_PROBE_SECONDS)
    await second.fetchval(mark, secrets.token_hex(16), timeout=_PROBE_SECONDS)
    await second.execute("begin", timeout=_PROBE_SECONDS)
    return bool(await first.fetchval(read, timeout=_PROBE_SECONDS) == before)
