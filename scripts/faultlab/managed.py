"""A RabbitMQ with its management interface: who is connected, and how long queues may grow."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from scripts.faultlab.cluster import GIVEN, broker_of
from tests.services.management import Management
from tests.services.rabbitmq import RabbitServer

LIST_SECONDS = 15.0
"""The management interface lists a connection some seconds after it was opened."""
AGAIN_SECONDS = 0.1
POLICY = "max-length"
"""What `Management.set_max_length` calls its policy."""


@dataclass(frozen=True, slots=True)
class Managed:
    """A broker.

    Attributes:
        url: where it speaks AMQP, with the virtual host.
        management: its management interface.
    """

    url: str
    management: Management

    @property
    def vhost(self) -> str:
        """The virtual host."""
        return unquote(urlsplit(self.url).path.removeprefix("/")) or "/"

    async def close_connections(self, name: str) -> int:
        """Close the connections of a client, as somebody at the management interface would; gives how many there were.

        Raises:
            TimeoutError: there is none of that name.
        """
        async with asyncio.timeout(LIST_SECONDS):
            while not (theirs := await self._connections(name)):  # noqa: ASYNC110 - the node counts
                await asyncio.sleep(AGAIN_SECONDS)
        for connection in theirs:
            await self.management.ask("DELETE", "connections", connection)  # it may have gone by itself
        return len(theirs)

    async def limit(self, queue: str, length: int) -> None:
        """Let a queue refuse what would make it longer."""
        await self.management.set_max_length(f"^{queue.replace('.', '[.]')}$", length, self.vhost)

    async def unlimit(self) -> None:
        """Take the limit back."""
        await self.management.do("DELETE", "policies", self.vhost, POLICY)

    async def _connections(self, name: str) -> list[str]:
        listed = await self.management.do("GET", "vhosts", self.vhost, "connections")
        return [each["name"] for each in listed if each.get("client_properties", {}).get("connection_name") == name]


@asynccontextmanager
async def managed(place: Path) -> AsyncIterator[Managed]:
    """A virtual host of the RabbitMQ that the environment names, or a node of our own."""
    management = os.environ.get(GIVEN[1])
    if os.environ.get(GIVEN[0]) and management:
        async with broker_of(place) as url:
            yield Managed(url, Management(management))
    else:
        async with RabbitServer(place) as server:
            yield Managed(server.url, server.management)
