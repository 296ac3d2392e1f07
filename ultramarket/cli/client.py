"""A client of a running platform's API, as far as commands need it."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import aiohttp

from ultramarket.errors import UltraMarketError

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120)
_POLL_SECONDS = 0.25
_CHUNK = 256 * 1024
_PATIENCE_SECONDS = 60.0
"""How long a platform that is away while an import runs is waited for: it goes on when it is back."""


class Client:
    """Speaks to the platform at a URL as its staff; used in an `async with`."""

    def __init__(self, url: str, staff_key: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {staff_key}", "Accept": "application/json"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT, headers=self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def start_import(
        self, chunks: AsyncIterator[bytes], size: int, currency: str | None, *, dry_run: bool
    ) -> dict[str, Any]:
        """Send a product file and give the import as it then stands.

        Raises:
            UltraMarketError: the platform can't be reached or refuses it.
        """
        query = {"dry_run": "true" if dry_run else "false"}
        if currency is not None:
            query["currency"] = currency
        headers = {"Content-Type": "text/csv", "Content-Length": str(size)}
        try:
            return await self._call("POST", "/api/v1/imports", params=query, data=chunks, headers=headers)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._away(error) from error

    async def follow_import(self, id: str) -> AsyncIterator[dict[str, Any]]:
        """The import each time that it got further, until it has ended.

        Raises:
            UltraMarketError: the platform stayed away, or refuses.
        """
        seen = -1
        last_heard = asyncio.get_running_loop().time()
        while True:
            try:
                found = await self._call("GET", f"/api/v1/imports/{id}")
            except (aiohttp.ClientError, TimeoutError) as error:
                if asyncio.get_running_loop().time() - last_heard > _PATIENCE_SECONDS:
                    raise self._away(error) from error
            else:
                last_heard = asyncio.get_running_loop().time()
                if found["version"] > seen:
                    seen = found["version"]
                    yield found
                if found["status"] != "running":
                    return
            await asyncio.sleep(_POLL_SECONDS)

    async def exported_products(self, currency: str | None) -> AsyncIterator[bytes]:
        """The products as a CSV file, in pieces.

        Raises:
            UltraMarketError: the platform can't be reached, refuses, or broke off in the middle.
        """
        query = {} if currency is None else {"currency": currency}
        try:
            async with self._opened().get(f"{self._url}/api/v1/exports/products", params=query) as answer:
                if answer.status != 200:  # noqa: PLR2004 - the standard's own number
                    await self._judged(answer)
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    yield chunk
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._away(error) from error

    async def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        async with self._opened().request(method, self._url + path, **arguments) as answer:
            if answer.status in (502, 503, 504) and method == "GET":
                answer.raise_for_status()  # not now, perhaps later: as if it were away
            return await self._judged(answer)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("used outside of its `async with`")
        return self._session

    async def _judged(self, answer: aiohttp.ClientResponse) -> dict[str, Any]:
        """The JSON of an answer.

        Raises:
            UltraMarketError: it is a refusal, or no answer of ours.
        """
        if "json" not in answer.content_type:
            raise UltraMarketError(f"What answers at {self._url} is no UltraMarket ({answer.status}).")
        body: dict[str, Any] = await answer.json(content_type=None)
        if answer.status == 401:  # noqa: PLR2004 - the standard's own number
            raise UltraMarketError(
                f"{self._url} does not know this staff key: give its own with --staff-key or ULTRAMARKET_STAFF_KEY."
            )
        if answer.status >= 400:  # noqa: PLR2004 - all that are refusals
            raise UltraMarketError(f"{self._url} refused ({answer.status}): {body.get('detail', body)}")
        return body

    def _away(self, error: Exception) -> UltraMarketError:
        if isinstance(error, aiohttp.InvalidURL):
            return UltraMarketError(f"{self._url} is no URL; one looks like http://127.0.0.1:8080.")
        if isinstance(error, aiohttp.ClientConnectorError):
            return UltraMarketError(
                f"Nothing answers at {self._url}: start the platform with `ultramarket up`, "
                "or say where it is with --url."
            )
        return UltraMarketError(f"The connection to {self._url} broke: {error or type(error).__name__}.")
