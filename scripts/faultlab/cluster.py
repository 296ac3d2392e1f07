"""A shop of several processes over one database and one RabbitMQ, with ways between them that can be cut."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from scripts.faultlab.crowd import EXTERNAL, IMPATIENT, socket_of, through
from scripts.faultlab.proxy import Proxy
from tests.e2e.server import Server
from tests.services.management import Management
from tests.services.rabbitmq import RabbitServer
from ultramarket.adapters.embedded_postgres import EmbeddedPostgres

MASTER_KEY = "ULTRAMARKET_MASTER_KEY"
BROKER = "ULTRAMARKET_BROKER_URL"
GIVEN = ("ULTRAMARKET_TEST_RABBITMQ_URL", "ULTRAMARKET_TEST_RABBITMQ_MANAGEMENT_URL")
"""Variables that name a RabbitMQ that runs already, as `scripts/services` says them."""
SETTLE_SECONDS = 60.0
AGAIN_SECONDS = 0.02
_OWNERS = "select m.pid, p.kind, p.no from partition p join member m on m.name = p.owner"
_PARTITIONS = "select count(*) from partition"


@dataclass(frozen=True, slots=True)
class Member:
    """A process of the shop, and its own ways to the database and the broker."""

    server: Server
    database: Proxy
    broker: Proxy


class Cluster:
    """A database, a broker, and processes that come and go: `async with cluster(place) as it`, which ends them.

    Attributes:
        dsn: of the database, not by way of any proxy.
        broker_url: of the broker, likewise.
        database: the embedded PostgreSQL that it is.
    """

    def __init__(
        self, place: Path, database: EmbeddedPostgres, dsn: str, broker_url: str, stack: AsyncExitStack
    ) -> None:
        self.dsn = dsn
        self.broker_url = broker_url
        self.database = database
        self._place = place
        self._master_key = secrets.token_hex(32)
        self._stack = stack

    async def start(self, name: str, *command: str, settings: Mapping[str, str] = {}) -> Server:
        """Start a process, e.g. `start("web", "web")`; it ends with the cluster."""
        given = {**IMPATIENT, EXTERNAL: self.dsn, BROKER: self.broker_url, MASTER_KEY: self._master_key, **settings}
        server = Server(self._place / name, *command, settings=given)
        return await self._stack.enter_async_context(server)

    async def start_apart(self, name: str, *command: str, settings: Mapping[str, str] = {}) -> Member:
        """Start a process whose ways to the database and the broker can be cut."""
        parts = urlsplit(self.broker_url)
        database = await self._stack.enter_async_context(Proxy(socket_of(self.dsn)).listening())
        target = (parts.hostname or "", parts.port or 5672)
        broker = await self._stack.enter_async_context(Proxy(target).listening())
        netloc = f"{parts.username}:{parts.password}@127.0.0.1:{broker.port}"
        ways = {EXTERNAL: through(self.dsn, database.port), BROKER: parts._replace(netloc=netloc).geturl()}
        return Member(await self.start(name, *command, settings={**ways, **settings}), database, broker)

    async def owners(self) -> dict[tuple[str, int], int]:
        """The pid of the process that owns each partition; one that nobody owns is missing."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return {(row["kind"], row["no"]): row["pid"] for row in await connection.fetch(_OWNERS)}
        finally:
            await connection.close()

    async def settled(self, *pids: int) -> None:
        """Wait until these processes, and no others, own all partitions, each of them some.

        Raises:
            TimeoutError: they did not within `SETTLE_SECONDS`.
        """
        await self.settled_as(lambda: set(pids))

    async def settled_as(self, pids: Callable[[], set[int]]) -> None:
        """The same for processes that may change meanwhile; none while not all of them are there."""
        connection = await asyncpg.connect(self.dsn)
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                while True:
                    owners = [row["pid"] for row in await connection.fetch(_OWNERS)]
                    if owners and set(owners) == pids() and len(owners) == await connection.fetchval(_PARTITIONS):
                        return
                    await asyncio.sleep(AGAIN_SECONDS)
        finally:
            await connection.close()


@asynccontextmanager
async def broker_of(place: Path) -> AsyncIterator[str]:
    """The URL of a virtual host of the RabbitMQ that the environment names, or of a node of our own."""
    url, management = (os.environ.get(name) for name in GIVEN)
    if url and management:
        async with Management(management).virtual_host() as host:
            yield urlsplit(url)._replace(path=f"/{host}").geturl()
    else:
        async with RabbitServer(place) as server:
            yield server.url


@asynccontextmanager
async def cluster(place: Path, broker_url: str | None = None) -> AsyncIterator[Cluster]:
    """A database and a broker without any process yet; with a broker that the caller brings, or one of its own."""
    async with AsyncExitStack() as stack:
        url = broker_url or await stack.enter_async_context(broker_of(place / "broker"))
        database = EmbeddedPostgres(place / "database")
        dsn = database.start()
        stack.callback(database.stop)
        yield Cluster(place, database, dsn, url, stack)
