"""Reaching the shop's database from a command, whether the platform runs or not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import asyncpg

from ultramarket.adapters import logs
from ultramarket.adapters.embedded_postgres import EmbeddedPostgres, running_dsn
from ultramarket.errors import UltraMarketError
from ultramarket.settings import Settings

Result = TypeVar("Result")

_CONNECT_SECONDS = 10.0


def load_settings(data_dir: Path | None = None) -> Settings:
    """The settings of a command that is soon over: only what goes wrong is logged.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    settings = Settings.load(data_dir=data_dir)
    logs.configure(settings.log_format, "warning")
    return settings


@contextmanager
def database_of(settings: Settings, *, create: bool = False) -> Iterator[str]:
    """The DSN of the shop's database: the configured one, the running embedded one, or that one started for a while.

    Args:
        settings: where it is.
        create: make an embedded database where there is none yet.

    Raises:
        UltraMarketError: there is no shop, or its database does not start.
    """
    if settings.database_url:
        yield settings.database_url
    elif (dsn := running_dsn(settings.data_dir)) is not None:
        yield dsn
    elif create or (settings.data_dir / "postgres").is_dir():
        with EmbeddedPostgres(settings.data_dir) as dsn:
            yield dsn
    else:
        raise UltraMarketError(
            f"There is no shop in {settings.data_dir.absolute()} yet: make one with `ultramarket up`, "
            "or say where it is with --data-dir or ULTRAMARKET_DATABASE_URL."
        )


def with_database(
    settings: Settings, work: Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[Result]]
) -> Result:
    """Do work over a connection to the shop's database.

    Raises:
        UltraMarketError: there is none, it can't be reached, or it was never migrated.
    """

    async def run(dsn: str) -> Result:
        async with connected(dsn) as connection:
            return await work(connection)

    with database_of(settings) as dsn:
        return asyncio.run(run(dsn))


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection of its own.

    Raises:
        UltraMarketError: the database can't be reached, the connection breaks, or the tables are missing.
    """
    try:
        connection = await asyncpg.connect(
            dsn, timeout=_CONNECT_SECONDS, server_settings={"application_name": "ultramarket cli", "timezone": "UTC"}
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise UltraMarketError(
            f"The database can't be reached: {str(error) or type(error).__name__}. Is ULTRAMARKET_DATABASE_URL right, "
            "and does the server run? (Without that setting: does the shop run, and did its own PostgreSQL end?)"
        ) from error
    try:
        yield connection
    except asyncpg.UndefinedTableError as error:
        raise UltraMarketError("The database is not up to date: run `ultramarket migrate`.") from error
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError) as error:
        raise UltraMarketError(f"The connection to the database broke: {error}.") from error
    finally:
        connection.terminate()
