"""What every reader of the log's end must hold; a test module subclasses it and says how to write events."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

from ultramarket.errors import Unavailable
from ultramarket.ports.feed import Feed, Logged, Place
from ultramarket.runtime.partitioning import partition_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
Append = Callable[..., Awaitable[int]]
"""Writes an event: kind, id, version, and `no=`; gives its seq."""


class MemoryFeed:
    """The log in memory.

    Attributes:
        on_commit: told of each event.
        away: set while it can't be reached.
        reads: how often it was read.
    """

    def __init__(self) -> None:
        self._events: dict[Place, list[Logged]] = defaultdict(list)
        self._archived: dict[Place, int] = {}
        self.on_commit: Callable[[], None] = lambda: None
        self.away = False
        self.reads = 0

    def append(
        self, kind: str, id: str, version: int, type: str, data: str, at: datetime = NOON, no: int | None = None
    ) -> int:
        no = partition_of(kind, id) if no is None else no
        log = self._events[kind, no]
        seq = log[-1].seq + 1 if log else 1
        log.append(Logged(kind=kind, no=no, seq=seq, id=id, version=version, type=type, at=at, data=data))
        self.on_commit()
        return seq

    def archive(self, kind: str) -> None:
        """Detach what there is of a kind; the tails stay."""
        for place, log in self._events.items():
            if place[0] == kind and log:
                self._archived[place] = log[-1].seq

    async def tails(self, places: Sequence[Place]) -> dict[Place, int]:
        self._reach()
        return {place: self._events[place][-1].seq if self._events[place] else 0 for place in places}

    async def after(self, positions: Mapping[Place, int], limit: int) -> list[Logged]:
        self._reach()
        found: list[Logged] = []
        for place, seq in sorted(positions.items()):
            found += [event for event in self._there(place) if event.seq > seq][:limit]
        return found

    async def history(self, kind: str, id: str, version: int, limit: int) -> list[Logged]:
        self._reach()
        log = self._there((kind, partition_of(kind, id)))
        return [event for event in log if event.id == id and event.version > version][:limit]

    def _there(self, place: Place) -> list[Logged]:
        return [event for event in self._events[place] if event.seq > self._archived.get(place, 0)]

    def _reach(self) -> None:
        if self.away:
            raise Unavailable("database_unavailable", "The database is away.")
        self.reads += 1


class FeedContract:
    """The port `Feed`. A subclass gives the fixtures `feed` and `append`."""

    async def test_a_partition_without_events_has_the_tail_0(self, feed: Feed) -> None:
        assert await feed.tails([("cart", 3), ("cart", 4)]) == {("cart", 3): 0, ("cart", 4): 0}

    async def test_tails_are_the_last_events_of_their_partitions(self, feed: Feed, append: Append) -> None:
        await append("cart", "a", 1, no=3)
        await append("cart", "a", 2, no=3)
        await append("order", "a", 1, no=3)
        assert await feed.tails([("cart", 3), ("order", 3), ("cart", 4)]) == {
            ("cart", 3): 2,
            ("order", 3): 1,
            ("cart", 4): 0,
        }

    async def test_what_comes_after_a_place_is_read_in_order_partition_by_partition(
        self, feed: Feed, append: Append
    ) -> None:
        for version in (1, 2, 3):
            await append("cart", "a", version, no=3)
        await append("cart", "b", 1, no=5)
        await append("cart", "c", 1, no=6)
        found = await feed.after({("cart", 5): 0, ("cart", 3): 1, ("cart", 7): 0}, 10)
        assert [(event.no, event.seq, event.id, event.version) for event in found] == [
            (3, 2, "a", 2),
            (3, 3, "a", 3),
            (5, 1, "b", 1),
        ]

    async def test_the_limit_holds_for_each_partition(self, feed: Feed, append: Append) -> None:
        for version in (1, 2, 3):
            await append("cart", "a", version, no=3)
            await append("cart", "b", version, no=5)
        found = await feed.after({("cart", 3): 0, ("cart", 5): 1}, 2)
        assert [(event.no, event.seq) for event in found] == [(3, 1), (3, 2), (5, 2), (5, 3)]

    async def test_at_the_end_there_is_nothing(self, feed: Feed, append: Append) -> None:
        await append("cart", "a", 1, no=3)
        assert await feed.after({("cart", 3): 1}, 10) == []
        assert await feed.after({("cart", 3): 7}, 10) == []
        assert await feed.after({}, 10) == []

    async def test_a_history_is_one_entitys_after_a_version_in_pages(self, feed: Feed, append: Append) -> None:
        no = partition_of("cart", "a")
        for version in (1, 2, 3, 4):
            await append("cart", "a", version, no=no)
            await append("cart", "b", version, no=no)
            await append("order", "a", version, no=no)
        first = await feed.history("cart", "a", 1, 2)
        assert [(event.kind, event.id, event.version) for event in first] == [("cart", "a", 2), ("cart", "a", 3)]
        assert [event.version for event in await feed.history("cart", "a", 3, 2)] == [4]
        assert await feed.history("cart", "a", 4, 2) == []
        assert await feed.history("cart", "nobody", 0, 2) == []

    async def test_an_event_comes_with_all_that_is_told_of_it(self, feed: Feed, append: Append) -> None:
        no = partition_of("cart", "a")
        await append("cart", "a", 1, no=no, type="LineRemoved", data='{"line":"x"}')
        (event,) = await feed.history("cart", "a", 0, 1)
        assert (event.type, event.data) == ("LineRemoved", '{"line":"x"}')
        assert event.at.tzinfo is not None
        assert [event] == await feed.after({("cart", no): 0}, 1)
