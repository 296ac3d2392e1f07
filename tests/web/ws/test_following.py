"""Whatever comes between reading what was missed and hearing of what comes: no event is left out, none told twice."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest
import structlog

from tests.conformance.feed import MemoryFeed
from ultramarket.ports.feed import Logged, Place
from ultramarket.runtime.telling import Told
from ultramarket.views.tailer import Tailer
from web.ws import entities, feed
from web.ws.encoding import Encoding
from web.ws.entities import EntityFollower
from web.ws.feed import PLACES, OrdersFollower, read_position
from web.ws.following import Follower, Log
from web.ws.frames import framed

SOON = 20.0
"""Seconds until a test gives up on what should happen soon."""
ORDERS = [f"order-{number}" for number in range(6)]


class Reader:
    """In place of a connection: writes down what is sent over it."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.dropped: list[str] = []
        self.pause = 0.0

    def put(self, frame: bytes) -> None:
        payload = frame[2:] if frame[1] < 126 else frame[4:]
        assert framed(payload) == frame
        self.told.append(msgspec.json.decode(payload))

    async def send(self, payload: bytes) -> None:
        self.put(framed(payload))
        await asyncio.sleep(self.pause)

    def drop(self, topic: str, error: Any) -> None:
        assert error.topic == topic
        self.dropped.append(error.code)


class HesitantFeed(MemoryFeed):
    """A log whose answers take their time, before and after they are true."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    async def tails(self, places: Sequence[Place]) -> dict[Place, int]:
        await self._hesitate()
        found = await super().tails(places)
        await self._hesitate()
        return found

    async def after(self, positions: Mapping[Place, int], limit: int) -> list[Logged]:
        await self._hesitate()
        found = await super().after(positions, limit)
        await self._hesitate()
        return found

    async def history(self, kind: str, id: str, version: int, limit: int) -> list[Logged]:
        await self._hesitate()
        found = await super().history(kind, id, version, limit)
        await self._hesitate()
        return found

    async def _hesitate(self) -> None:
        for _ in range(self._chance.randrange(4)):
            await asyncio.sleep(0)
        if self._chance.random() < 0.2:
            await asyncio.sleep(self._chance.random() * 0.005)


class Bench:
    """A log that others write to, its tailer, and followers of it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - no secret
        self.feed = HesitantFeed(self.chance)
        self.tailer = Tailer(self.feed, lambda: (), poll_seconds=0.002)
        self.log = Log(self.feed, self.tailer, Encoding(lambda _kind, _data: Told("Happened", {})))
        self.versions = dict.fromkeys(ORDERS, 0)

    def commit(self, order: str) -> None:
        self.versions[order] += 1
        self.feed.append("order", order, self.versions[order], "Happened", "{}")

    async def write(self, count: int) -> None:
        for _ in range(count):
            for _ in range(self.chance.randrange(4)):
                self.commit(self.chance.choice(ORDERS))
            await asyncio.sleep(self.chance.random() * 0.002)

    async def follow_order(self, order: str, reader: Reader, after: int) -> Follower:
        known = self.versions[order]
        topic = f"order:{order}"
        follower = EntityFollower(self.log, reader, topic, "order", order, after=after, version=known)  # type: ignore[arg-type]
        await follower.listen()
        follower.begin()
        return follower

    async def follow_all(self, reader: Reader, at: Mapping[int, int]) -> Follower:
        follower = OrdersFollower(self.log, reader, at)  # type: ignore[arg-type]
        await follower.listen()
        follower.begin()
        return follower


@pytest.fixture(params=range(12))
async def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(entities, "PAGE", 3)
    monkeypatch.setattr(feed, "PAGE", 2)
    bench = Bench(request.param)
    await bench.tailer.start()
    yield bench
    await bench.log.stop()
    await bench.tailer.stop()


async def test_an_order_is_told_version_by_version_over_many_comings_and_goings(bench: Bench) -> None:
    for order in ORDERS:
        bench.commit(order)
    order, after, told = ORDERS[0], 0, []
    writing = asyncio.create_task(bench.write(150))
    async with asyncio.timeout(SOON):
        while not writing.done() or after < bench.versions[order]:
            reader = Reader()
            reader.pause = bench.chance.choice([0.0, 0.001])
            follower = await bench.follow_order(order, reader, after)
            await asyncio.sleep(bench.chance.random() * 0.05)
            follower.leave()
            assert reader.dropped == []
            told += [frame["version"] for frame in reader.told]
            after = told[-1] if told else 0
    assert told == list(range(1, bench.versions[order] + 1))


async def test_all_orders_are_told_event_by_event_over_many_comings_and_goings(bench: Bench) -> None:
    at: Mapping[int, int] = dict.fromkeys(range(16), 0)
    told: list[tuple[str, int]] = []
    writing = asyncio.create_task(bench.write(150))
    async with asyncio.timeout(SOON):
        while not writing.done() or len(told) < sum(bench.versions.values()):
            reader = Reader()
            reader.pause = bench.chance.choice([0.0, 0.001])
            follower = await bench.follow_all(reader, at)
            await asyncio.sleep(bench.chance.random() * 0.05)
            follower.leave()
            assert reader.dropped == []
            told += [(frame["order"], frame["version"]) for frame in reader.told]
            at = read_position(reader.told[-1]["position"]) if reader.told else at
    for order in ORDERS:
        versions = [version for of, version in told if of == order]
        assert versions == list(range(1, bench.versions[order] + 1))
    tails = await bench.feed.tails(PLACES)
    assert at == {no: tails["order", no] for no in range(16)}


async def test_who_stays_hears_it_all_while_the_log_never_rests(bench: Bench) -> None:
    reader, all_ = Reader(), Reader()
    await bench.write(20)
    await bench.follow_order(ORDERS[1], reader, 0)
    await bench.follow_all(all_, dict.fromkeys(range(16), 0))
    await bench.write(100)
    async with asyncio.timeout(SOON):
        wanted = bench.versions[ORDERS[1]], sum(bench.versions.values())
        while (len(reader.told), len(all_.told)) != wanted:  # noqa: ASYNC110 - the readers have no event to wait for
            await asyncio.sleep(0.005)
    assert [frame["version"] for frame in reader.told] == list(range(1, bench.versions[ORDERS[1]] + 1))
    assert reader.dropped == all_.dropped == []


async def test_a_gap_in_the_log_ends_the_feed_with_a_reason() -> None:
    bench, reader = Bench(0), Reader()
    await bench.tailer.start()
    for _ in range(3):
        bench.commit(ORDERS[0])
    bench.feed.archive("order")
    bench.commit(ORDERS[0])
    follower = await bench.follow_all(reader, dict.fromkeys(range(16), 0))
    async with asyncio.timeout(SOON):
        while not reader.dropped:  # noqa: ASYNC110 - the reader has no event to wait for
            await asyncio.sleep(0.005)
    assert (reader.dropped, reader.told) == (["history_gone"], [])
    follower.leave()
    await bench.tailer.stop()


async def test_an_event_that_can_not_be_encoded_ends_the_subscription_and_is_logged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench, reader = Bench(0), Reader()
    await bench.tailer.start()
    bench.commit(ORDERS[0])

    def fail(*_: object) -> bytes:
        raise RuntimeError("no words")

    monkeypatch.setattr(bench.log.encoding, "payload", fail)
    with structlog.testing.capture_logs() as logs:
        follower = await bench.follow_order(ORDERS[0], reader, 0)
        async with asyncio.timeout(SOON):
            while not reader.dropped:  # noqa: ASYNC110 - the reader has no event to wait for
                await asyncio.sleep(0.005)
    assert reader.dropped == ["internal"]
    assert [(line["event"], line["topic"]) for line in logs] == [("an event could not be told", f"order:{ORDERS[0]}")]
    follower.leave()
    await bench.tailer.stop()
