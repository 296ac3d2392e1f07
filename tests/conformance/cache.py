"""What every cache must do; an adapter's test subclasses `CacheContract` and supplies the fixture `cache`."""

import asyncio

from ultramarket.ports.cache import Cache

LONG = 60.0


class CacheContract:
    async def test_what_was_kept_is_there_byte_for_byte(self, cache: Cache) -> None:
        value = bytes(range(256)) * 100
        await cache.set("a", value, LONG)
        assert await cache.get("a") == value
        assert await cache.get("b") is None

    async def test_it_says_that_it_is_well(self, cache: Cache) -> None:
        await cache.set("a", b"1", LONG)
        assert cache.state == "ok"

    async def test_the_empty_value_is_a_value(self, cache: Cache) -> None:
        await cache.set("a", b"", LONG)
        assert await cache.get("a") == b""

    async def test_keys_may_be_any_text(self, cache: Cache) -> None:
        keys = ["", " ", "a:b|c\n", "\N{SNOWMAN}", "k" * 3000]
        for number, key in enumerate(keys):
            await cache.set(key, b"%d" % number, LONG)
        assert [await cache.get(key) for key in keys] == [b"0", b"1", b"2", b"3", b"4"]

    async def test_a_later_value_takes_the_place_of_the_first(self, cache: Cache) -> None:
        await cache.set("a", b"1", LONG)
        await cache.set("a", b"2", LONG)
        assert await cache.get("a") == b"2"

    async def test_a_value_is_gone_when_its_time_is_over(self, cache: Cache) -> None:
        await cache.set("a", b"1", 0.02)
        await cache.set("b", b"1", LONG)
        async with asyncio.timeout(5):
            while await cache.get("a") is not None:  # noqa: ASYNC110 - a server's own clock has no event to wait for
                await asyncio.sleep(0.005)
        assert await cache.get("b") == b"1"

    async def test_a_later_value_has_its_own_time(self, cache: Cache) -> None:
        await cache.set("a", b"1", LONG)
        await cache.set("a", b"2", 0.01)
        async with asyncio.timeout(5):
            while await cache.get("a") is not None:  # noqa: ASYNC110 - a server's own clock has no event to wait for
                await asyncio.sleep(0.005)

    async def test_no_time_is_no_value(self, cache: Cache) -> None:
        await cache.set("a", b"1", LONG)
        await cache.set("a", b"2", 0)
        assert await cache.get("a") is None

    async def test_what_is_deleted_is_gone_and_the_rest_stays(self, cache: Cache) -> None:
        for key in "abc":
            await cache.set(key, key.encode(), LONG)
        await cache.delete("a", "c", "never")
        await cache.delete()
        assert [await cache.get(key) for key in "abc"] == [None, b"b", None]

    async def test_many_at_once_do_not_get_in_each_others_way(self, cache: Cache) -> None:
        async def one(number: int) -> bytes | None:
            await cache.set(f"k{number}", b"%d" % number, LONG)
            return await cache.get(f"k{number}")

        assert await asyncio.gather(*(one(number) for number in range(50))) == [b"%d" % number for number in range(50)]
