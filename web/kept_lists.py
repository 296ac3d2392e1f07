"""Answers to lists that many ask for: each is made once, and given to all who ask while nothing in it has changed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from ultramarket.ports.cache import Cache
from web import codings

Make = Callable[[], Awaitable[web.Response]]


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """An answer of status 200, as it is kept."""

    headers: dict[str, str]
    body: bytes


class KeptLists:
    """Gives answers from the cache, and makes those that are not there, each once however many ask at the same time.

    Args:
        cache: where they are kept; None: each is made anew.
        seconds: how long at most.
    """

    def __init__(self, cache: Cache | None, seconds: float) -> None:
        self._cache = cache
        self._seconds = seconds
        self._made: dict[str, asyncio.Task[_Kept]] = {}

    async def answer(self, key: str, coding: str, make: Make) -> web.Response:
        """The answer in this coding.

        Args:
            key: names all that it depends on: what was asked, for whom, and where the view stood.
            coding: `br`, `gzip` or empty.
            make: makes it; what it raises, all who wait for it are told.
        """
        cache = self._cache
        if cache is None:
            return await make()
        key = f"list {coding} {key}"
        found = await cache.get(key)
        kept = msgspec.msgpack.decode(found, type=_Kept) if found is not None else await self._make(key, coding, make)
        return web.Response(body=kept.body, headers=kept.headers)

    async def _make(self, key: str, coding: str, make: Make) -> _Kept:
        """Wait for whoever makes it already, or have it made; one who goes away does not take it from the others."""
        task = self._made.get(key)
        if task is None:
            task = self._made[key] = asyncio.create_task(self._kept(key, coding, make))
            task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(task)

    async def _kept(self, key: str, coding: str, make: Make) -> _Kept:
        answer = await make()
        await codings.pack(answer, coding)
        body: Any = answer.body
        kept = _Kept(dict(answer.headers), body)
        if self._cache is not None:
            await self._cache.set(key, msgspec.msgpack.encode(kept), self._seconds)
        return kept

    def _done(self, key: str, task: "asyncio.Task[_Kept]") -> None:
        del self._made[key]
        if not task.cancelled():
            task.exception()  # those who waited were told; where all have gone, nobody misses it


LISTS = web.AppKey("lists", KeptLists)
