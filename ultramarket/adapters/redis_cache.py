"""The cache in a Redis that several processes share."""

import time
from collections.abc import Awaitable, Callable
from typing import Self, TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

T = TypeVar("T")

TIMEOUT_SECONDS = 0.25
"""Longer than this no answer of Redis is waited for: what is cached can be made anew."""
PAUSE_SECONDS = 5.0
"""After a failure Redis is not asked for so long, so that one that is down costs next to nothing."""
PREFIX = "ultramarket:"

_log = structlog.get_logger()


class RedisCache:
    """Bytes by key in Redis; while it can't be reached nothing is there, and nothing is kept.

    Args:
        client: connected lazily; it is closed with the cache.
        prefix: stands before each key, so that others may use the same Redis.
        clock: seconds, never going back.
    """

    def __init__(self, client: "Redis", prefix: str = PREFIX, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._prefix = prefix
        self._clock = clock
        self._again_at = 0.0
        self._trouble = ""

    @classmethod
    def at(cls, url: str) -> Self:
        """The cache in the Redis at this URL, which need not be there yet.

        Raises:
            ValueError: this is no URL of a Redis.
        """
        return cls(Redis.from_url(url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS))

    @property
    def state(self) -> str:
        """`ok`, or what Redis said when it was asked last."""
        return f"Redis can't be reached: {self._trouble}" if self._trouble else "ok"

    async def get(self, key: str) -> bytes | None:
        """The value; None where it is not there, too old, or Redis can't be reached."""
        found = await self._try(lambda: self._client.get(self._prefix + key))
        return found if isinstance(found, bytes) else None

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        """Keep the value for so many seconds at most, unless Redis can't be reached."""
        milliseconds = round(seconds * 1000)
        if milliseconds > 0:
            await self._try(lambda: self._client.set(self._prefix + key, value, px=milliseconds))
        else:
            await self.delete(key)

    async def delete(self, *keys: str) -> None:
        """Forget these, unless Redis can't be reached."""
        if keys:
            await self._try(lambda: self._client.delete(*(self._prefix + key for key in keys)))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _try(self, call: Callable[[], Awaitable[T]]) -> T | None:
        if self._clock() < self._again_at:
            return None
        try:
            answer = await call()
        except (RedisError, OSError, TimeoutError) as error:
            self._trouble = str(error) or type(error).__name__
            self._again_at = self._clock() + PAUSE_SECONDS
            _log.warning("the cache can't be reached", error=str(error), again_in=PAUSE_SECONDS)
            return None
        self._trouble = ""
        return answer
