import secrets
from collections.abc import AsyncIterator

import fakeredis
import pytest
import structlog
from redis.asyncio import Redis

from tests.conformance.cache import CacheContract
from tests.services.given import url_of
from ultramarket.adapters.redis_cache import PAUSE_SECONDS, RedisCache
from ultramarket.ports.cache import Cache


class TestRedisCacheInProcess(CacheContract):
    @pytest.fixture
    async def cache(self) -> AsyncIterator[Cache]:
        cache = RedisCache(fakeredis.FakeAsyncRedis())
        yield cache
        await cache.close()


class TestRedisCacheOnAServer(CacheContract):
    @pytest.fixture
    async def cache(self) -> AsyncIterator[Cache]:
        client = Redis.from_url(url_of("ULTRAMARKET_TEST_REDIS_URL"))
        prefix = f"test-{secrets.token_hex(8)}:"
        cache = RedisCache(client, prefix)
        yield cache
        await cache.delete(*[key.decode().removeprefix(prefix) async for key in client.scan_iter(f"{prefix}*")])
        await cache.close()


async def test_a_server_is_reached_by_its_url() -> None:
    cache = RedisCache.at(url_of("ULTRAMARKET_TEST_REDIS_URL"))
    key = secrets.token_hex(8)
    await cache.set(key, b"1", 1)
    assert await cache.get(key) == b"1"
    await cache.close()


async def test_keys_stand_under_a_prefix_and_have_their_time() -> None:
    client = fakeredis.FakeAsyncRedis()
    await RedisCache(client).set("a", b"1", 2.5)
    assert await client.keys() == [b"ultramarket:a"]
    assert 2400 < await client.pttl("ultramarket:a") <= 2500


async def test_a_redis_that_is_not_there_is_an_empty_cache_and_is_left_alone_for_a_while() -> None:
    now = 100.0
    server = fakeredis.FakeServer()
    cache = RedisCache(fakeredis.FakeAsyncRedis(server=server), clock=lambda: now)
    await cache.set("a", b"1", 60)
    server.connected = False
    with structlog.testing.capture_logs() as logs:
        assert await cache.get("a") is None
        await cache.set("b", b"1", 60)
        await cache.delete("a")
    assert [line["event"] for line in logs] == ["the cache can't be reached"]
    assert cache.state.startswith("Redis can't be reached: ")
    server.connected = True
    assert await cache.get("a") is None
    now += PAUSE_SECONDS
    assert await cache.get("a") == b"1"
    assert cache.state == "ok"


async def test_nobody_listening_is_no_error() -> None:
    cache = RedisCache.at("redis://127.0.0.1:1/0")
    assert await cache.get("a") is None
    await cache.close()
