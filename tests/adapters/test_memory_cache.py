import pytest

from tests.conformance.cache import CacheContract
from ultramarket.adapters.memory_cache import BESIDE, MemoryCache
from ultramarket.ports.cache import Cache


class TestMemoryCache(CacheContract):
    @pytest.fixture
    def cache(self) -> Cache:
        return MemoryCache()


async def test_the_least_recently_used_leave_first() -> None:
    cache = MemoryCache(limit=3 * (101 + BESIDE))
    for key in "abc":
        await cache.set(key, b"x" * 100, 60)
    await cache.get("a")
    await cache.set("d", b"x" * 100, 60)
    assert [key for key in "abcd" if await cache.get(key)] == ["a", "c", "d"]


async def test_values_that_nobody_asks_for_again_do_not_stay() -> None:
    cache = MemoryCache(limit=10 * (104 + BESIDE))
    for number in range(1000):
        await cache.set(f"{number:04}", b"x" * 100, 0.001)
    assert len(cache._entries) == 10


async def test_a_value_beyond_the_bound_is_left_out_and_drives_nobody_out() -> None:
    cache = MemoryCache(limit=1000)
    await cache.set("a", b"1", 60)
    await cache.set("b", b"x" * 1000, 60)
    assert (await cache.get("a"), await cache.get("b")) == (b"1", None)


async def test_a_value_lasts_to_the_moment() -> None:
    now = 100.0
    cache = MemoryCache(clock=lambda: now)
    await cache.set("a", b"1", 5)
    now = 104.9
    assert await cache.get("a") == b"1"
    now = 105.0
    assert await cache.get("a") is None
