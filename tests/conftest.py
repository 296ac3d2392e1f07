"""What all tests share: servers of the test run's own, and a fresh, migrated database or broker for each test."""

import os
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import pytest_asyncio

import ultramarket
from tests.services.given import url_of
from tests.services.management import Management
from ultramarket.adapters.embedded_postgres import EmbeddedPostgres
from ultramarket.adapters.migrations import migrate
from ultramarket.adapters.postgres import PostgresDatabase

MIGRATIONS = Path(ultramarket.__file__).parent / "migrations"
_numbers = count(1)


def _with_database(dsn: str, name: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


async def _drop(connection: "asyncpg.Connection[asyncpg.Record]", name: str) -> None:
    """Drop a database, whoever of ours is still connected; `with (force)` would stumble over an autovacuum worker."""
    await connection.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1 and usename = current_user",
        name,
    )
    await connection.execute(f"drop database {name}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """DSN of a server where databases may be made; each xdist worker has its own unless one is given from outside."""
    given = os.environ.get("ULTRAMARKET_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as dsn:
        yield dsn


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template(server: str) -> AsyncIterator[str]:
    """Name of a migrated database that nobody is connected to, to be copied."""
    name = f"um_test_{os.getpid()}_template"
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(f"create database {name}")
        inside = await asyncpg.connect(_with_database(server, name))
        try:
            await migrate(inside, MIGRATIONS)
        finally:
            await inside.close()
        yield name
        await _drop(connection, name)
    finally:
        await connection.close()


@pytest_asyncio.fixture
async def dsn(server: str, template: str) -> AsyncIterator[str]:
    """A fresh, migrated database of this test's own; dropped afterwards, whoever is still connected."""
    name = template.replace("template", str(next(_numbers)))
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(f"create database {name} template {template}")
        yield _with_database(server, name)
        await _drop(connection, name)
    finally:
        await connection.close()


@pytest_asyncio.fixture
async def database(dsn: str) -> AsyncIterator[PostgresDatabase]:
    """The port `Database` on the test's own database."""
    pool = await PostgresDatabase.connect(dsn, max_size=6, application_name="ultramarket tests")
    yield pool
    await pool.close()


@pytest.fixture(scope="session")
def rabbitmq_url() -> str:
    """URL of the RabbitMQ that all tests share."""
    return url_of("ULTRAMARKET_TEST_RABBITMQ_URL")


@pytest_asyncio.fixture
async def broker_url(rabbitmq_url: str) -> AsyncIterator[str]:
    """URL of a virtual host of this test's own on the shared RabbitMQ; deleted afterwards with all that is in it."""
    management = Management(url_of("ULTRAMARKET_TEST_RABBITMQ_MANAGEMENT_URL"))
    async with management.virtual_host() as name:
        yield urlsplit(rabbitmq_url)._replace(path=f"/{name}").geturl()
