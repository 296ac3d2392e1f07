"""What tests ask of a RabbitMQ's management interface: a virtual host of their own, policies, alarms."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL


class Management:
    """The HTTP interface of the plugin rabbitmq_management.

    Attributes:
        user: the name that the tests log in with.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.user = parts.username or "guest"
        self._login = aiohttp.encode_basic_auth(self.user, parts.password or "guest")
        self._base = f"{parts.scheme}://{parts.hostname}:{parts.port}/api"

    async def ask(self, method: str, *path: str, body: Any = None) -> tuple[int, Any]:
        """Send a request; gives the status and what the answer's JSON says, None without any."""
        url = "/".join((self._base, *(quote(part, safe="") for part in path)))
        async with (
            aiohttp.ClientSession(headers={"Authorization": self._login}) as session,
            session.request(method, URL(url, encoded=True), json=body) as answer,
        ):
            return answer.status, await answer.json() if answer.content_type == "application/json" else None

    async def do(self, method: str, *path: str, body: Any = None) -> Any:
        """As `ask`; an answer that is no success is an error."""
        status, said = await self.ask(method, *path, body=body)
        assert status < HTTPStatus.BAD_REQUEST, f"{method} {'/'.join(path)}: {status} {said}"
        return said

    async def set_max_length(self, pattern: str, length: int, vhost: str = "/") -> None:
        """Let the queues whose name the pattern matches refuse what would make them longer."""
        limits = {"max-length": length, "overflow": "reject-publish"}
        body = {"pattern": pattern, "definition": limits, "apply-to": "queues", "priority": 1}
        await self.do("PUT", "policies", vhost, "max-length", body=body)

    async def alarmed(self) -> bool:
        """True while the node lacks memory or disk and takes no messages."""
        status, _ = await self.ask("GET", "health", "checks", "local-alarms")
        return status == HTTPStatus.SERVICE_UNAVAILABLE

    @asynccontextmanager
    async def virtual_host(self) -> AsyncIterator[str]:
        """A fresh virtual host, deleted afterwards with all that is in it; gives its name."""
        name = f"test-{secrets.token_hex(6)}"
        await self.do("PUT", "vhosts", name)
        try:
            all_of = {"configure": ".*", "write": ".*", "read": ".*"}
            await self.do("PUT", "permissions", name, self.user, body=all_of)
            yield name
        finally:
            await self.do("DELETE", "vhosts", name)
