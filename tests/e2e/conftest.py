"""One real server for the tests of a module, a client for it, and a look into its database."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from tests.e2e.server import Server
from tests.e2e.shopper import Shopper, shopper


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server with the default settings."""
    async with Server(tmp_path_factory.mktemp("shop") / "data") as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def shop(running: Server) -> AsyncIterator[Shopper]:
    """A client of the running server."""
    async with shopper(running.url) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def rows(running: Server) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection to the running server's database."""
    connection = await asyncpg.connect(running.dsn)
    yield connection
    await connection.close()
