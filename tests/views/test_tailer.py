"""The tailer over a log in memory: who listens is told of all that is committed, in order, once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from tests.conformance.feed import MemoryFeed
from ultramarket.errors import Unavailable
from ultramarket.ports.feed import Logged
from ultramarket.views.tailer import Tailer

SOON = 5.0
"""Seconds until a test gives up on what should happen at once."""
PLACE = ("cart", 3)


class Ear:
    """A sink that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []
        self._more = asyncio.Event()

    def __call__(self, event: Logged) -> None:
        self.heard.append((event.id, event.version))
        self._more.set()

    async def until(self, count: int) -> list[tuple[str, int]]:
        async with asyncio.timeout(SOON):
            while len(self.heard) < count:
                self._more.clear()
                await self._more.wait()
        return self.heard


@pytest.fixture
def feed() -> MemoryFeed:
    return MemoryFeed()


def write(feed: MemoryFeed, id: str, *versions: int, no: int = 3) -> None:
    for version in versions:
        feed.append("cart", id, version, "Happened", "{}", no=no)


@pytest.fixture
async def tailer(feed: MemoryFeed) -> AsyncIterator[Tailer]:
    """All partitions are this process's own: only a wake-up tells of news at once."""
    tailer = Tailer(feed, lambda: {("cart", no) for no in range(16)})
    feed.on_commit = tailer.wake
    await tailer.start()
    yield tailer
    await tailer.stop()


async def test_who_listens_to_an_entity_is_told_of_it_alone(feed: MemoryFeed, tailer: Tailer) -> None:
    write(feed, "a", 1)
    one, all_ = Ear(), Ear()
    assert await tailer.listen([PLACE], "a", one) == {PLACE: 1}
    await tailer.listen([PLACE], None, all_)
    write(feed, "a", 2)
    write(feed, "b", 1)
    write(feed, "a", 3)
    assert await all_.until(3) == [("a", 2), ("b", 1), ("a", 3)]
    assert one.heard == [("a", 2), ("a", 3)]


async def test_who_has_left_is_told_no_more_and_nobody_is_followed_for_nobody(feed: MemoryFeed, tailer: Tailer) -> None:
    gone, kept = Ear(), Ear()
    await tailer.listen([PLACE], "a", gone)
    await tailer.listen([PLACE], "a", kept)
    tailer.leave([PLACE], "a", gone)
    write(feed, "a", 1)
    await kept.until(1)
    assert gone.heard == []
    tailer.leave([PLACE], "a", kept)
    reads = feed.reads
    write(feed, "a", 2)
    again = Ear()
    assert await tailer.listen([PLACE], "a", again) == {PLACE: 2}
    assert feed.reads == reads + 1  # the tail, and no look for news between
    write(feed, "a", 3)
    assert await again.until(1) == [("a", 3)]


async def test_one_select_reads_all_partitions_that_are_listened_to(feed: MemoryFeed, tailer: Tailer) -> None:
    ear = Ear()
    places = [("cart", no) for no in range(16)]
    await tailer.listen(places, None, ear)
    for no in range(16):
        write(feed, f"cart-{no}", 1, no=no)
    assert sorted(await ear.until(16)) == sorted((f"cart-{no}", 1) for no in range(16))
    assert tailer.measures.events == 16
    assert tailer.measures.turns < 16


async def test_what_another_process_commits_is_found_by_looking(feed: MemoryFeed) -> None:
    tailer = Tailer(feed, lambda: (), poll_seconds=0.01)
    await tailer.start()
    ear = Ear()
    await tailer.listen([PLACE], None, ear)
    write(feed, "a", 1, 2)  # nobody wakes it
    assert await ear.until(2) == [("a", 1), ("a", 2)]
    await tailer.stop()


async def test_a_log_that_is_away_is_followed_from_where_it_was(feed: MemoryFeed, tailer: Tailer) -> None:
    ear = Ear()
    await tailer.listen([PLACE], None, ear)
    with structlog.testing.capture_logs() as logs:
        feed.away = True
        write(feed, "a", 1, 2)
        with pytest.raises(Unavailable):
            await tailer.listen([("cart", 4)], None, ear)
        async with asyncio.timeout(SOON):
            while not logs:  # noqa: ASYNC110 - the log has no event to wait for
                await asyncio.sleep(0.01)
        feed.away = False
        assert await ear.until(2) == [("a", 1), ("a", 2)]
    assert logs[0]["event"] == "the log can't be followed"
    assert ("cart", 4) not in tailer._listened


async def test_a_listener_that_fails_is_logged_and_harms_nobody(feed: MemoryFeed, tailer: Tailer) -> None:
    def fail(_: Logged) -> None:
        raise RuntimeError("no ears")

    ear = Ear()
    await tailer.listen([PLACE], None, fail)
    await tailer.listen([PLACE], None, ear)
    with structlog.testing.capture_logs() as logs:
        write(feed, "a", 1)
        await ear.until(1)
    assert [(line["event"], line["seq"]) for line in logs] == [("an event could not be told", 1)]


async def test_who_leaves_and_comes_back_while_the_log_is_read_hears_nothing_twice(
    feed: MemoryFeed, tailer: Tailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, reading, go = feed.after, asyncio.Event(), asyncio.Event()

    async def slowly(positions: Any, limit: int) -> Any:
        found = await read(positions, limit)
        reading.set()
        await go.wait()
        return found

    first, again = Ear(), Ear()
    await tailer.listen([PLACE], None, first)
    monkeypatch.setattr(feed, "after", slowly)
    write(feed, "a", 1, 2)
    await reading.wait()
    tailer.leave([PLACE], None, first)
    assert await tailer.listen([PLACE], None, again) == {PLACE: 2}
    go.set()
    write(feed, "a", 3)
    assert await again.until(1) == [("a", 3)]
    assert first.heard == []
