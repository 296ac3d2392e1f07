"""Live updates: the memory of connections that rest, and how soon followers are told of what happens."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from scripts.benchmarks.http_client import Connection, connections
from scripts.benchmarks.live_client import Follower
from scripts.benchmarks.meter import Meter
from scripts.benchmarks.rounds import Round, client_share, figures, percentile
from scripts.benchmarks.rows import Row, Size
from scripts.benchmarks.shop import API, SKUS, Shop, fill, meter_of, running_shop

SETTINGS = {"ULTRAMARKET_CART__MAX_QUANTITY": "1000000"}
"""Each event is known by the quantity that it sets."""
RATE = 200
"""Events a second."""
AT_ONCE = 32
"""Connections that the events are asked for over."""
OPENED_AT_ONCE = 50
FEW = 10
"""Followers of each cart where there are many carts."""
SOON_SECONDS = 30.0
MEMORY_GOAL = "under 50 MB"
SPEED_GOAL = "p99 under 200 ms"


@dataclass(frozen=True, slots=True)
class Cart:
    """A cart with one line: each new quantity is one event."""

    id: str
    line: str


async def run(work: Path, size: Size, log_level: str) -> list[Row]:
    """The rows of memory, of many carts with a few followers each, and of one cart that all follow."""
    idle, followers, events = max(8, size.entities // 2), max(4, size.entities // 4), max(20, size.operations // 2)
    async with running_shop(work / "live", log_level, **SETTINGS) as shop, meter_of(shop) as meter:
        await fill(shop.port)
        carts = await _carts(shop.port, idle)
        rows = [await _memory(shop, meter, carts, log_level)]
        few = carts[: max(1, followers // FEW)]
        rows.append(await _speed(shop.port, meter, few, followers, range(2, 2 + events), log_level))
        again = range(2 + events, 2 + 2 * events)
        return [*rows, await _speed(shop.port, meter, carts[:1], followers, again, log_level)]


async def _memory(shop: Shop, meter: Meter, carts: list[Cart], log_level: str) -> Row:
    """What connections that rest take, each with a subscription to a cart of its own."""
    _close(await _follow(shop.port, carts[: OPENED_AT_ONCE * 2]))  # what only the first ones take
    before = meter.resident()
    followers = await _follow(shop.port, carts)
    after = meter.resident()
    _close(followers)
    grown = (after - before) * (1 << 20) / 1e6
    return Row(
        name=f"memory, {len(carts):,} idle live connections",
        value=grown,
        unit="MB",
        goal=MEMORY_GOAL,
        conditions=f"growth of resident memory, from {before:.0f} to {after:.0f} MiB; each follows a cart of its own; "
        f"{grown * 1e6 / len(carts) / 1000:.0f} kB each, log level {log_level}",
    )


async def _speed(
    port: int, meter: Meter, carts: list[Cart], followers: int, quantities: Sequence[int], log_level: str
) -> Row:
    """How long it takes from the moment a change is to be asked for until each follower has it."""
    opened = await _follow(port, [carts[number % len(carts)] for number in range(followers)])
    began, before = perf_counter(), await meter.read()
    sent = await _change(port, carts, quantities)
    latencies: list[float] = []
    async with asyncio.timeout(SOON_SECONDS):
        for number, follower in enumerate(opened):
            latencies += await _latencies(follower, sent[carts[number % len(carts)].id])
    took = Round(perf_counter() - began, latencies, await meter.read() - before)
    _close(opened)
    which = f"of {len(carts)} carts" if len(carts) > 1 else "of one cart"
    return Row(
        name=f"live updates, {RATE} events/s to {followers} followers {which}",
        value=percentile(latencies, 0.99) * 1000,
        unit="ms",
        goal=SPEED_GOAL,
        conditions="the 99th percentile from the planned moment of each request, its commit included, to the frame at "
        f"each follower; {len(quantities):,} events, {len(latencies):,} frames, "
        f"{len(latencies) / took.seconds:,.0f} frames/s; the figures of an operation are those of one frame, log level "
        f"{log_level}{client_share([took])}",
        operation=figures([took]),
    )


async def _latencies(follower: Follower, sent: dict[int, float]) -> list[float]:
    """Seconds until each version came.

    Raises:
        RuntimeError: versions are missing, or came out of order.
    """
    while len(follower.times) < len(sent):  # noqa: ASYNC110 - nothing waits for it but the end of the measurement
        await asyncio.sleep(0.01)
    first = follower.versions[0]
    if list(follower.versions) != list(range(first, first + len(sent))) or set(follower.quantities) != sent.keys():
        raise RuntimeError("a follower was told of other versions than those that were committed")
    return [at - sent[quantity] for quantity, at in zip(follower.quantities, follower.times, strict=True)]


async def _change(port: int, carts: list[Cart], quantities: Sequence[int]) -> dict[str, dict[int, float]]:
    """Set the quantities in the carts in turn, at the rate; gives when each was to be asked for, by cart."""
    sent: dict[str, dict[int, float]] = {cart.id: {} for cart in carts}
    numbers = iter(enumerate(quantities))
    began = perf_counter() + 0.1

    async def work(connection: Connection) -> None:
        for number, quantity in numbers:
            planned = began + number / RATE
            await asyncio.sleep(max(0.0, planned - perf_counter()))
            cart = carts[number % len(carts)]
            path = f"{API}/carts/{cart.id}/lines/{cart.line}"
            sent[cart.id][quantity] = planned
            (await connection.call("PATCH", path, {"quantity": quantity})).json()

    async with connections(port, AT_ONCE) as opened, asyncio.TaskGroup() as group:
        for connection in opened:
            group.create_task(work(connection))
    return sent


async def _carts(port: int, count: int) -> list[Cart]:
    carts: list[Cart] = []
    numbers = iter(range(count))

    async def work(connection: Connection) -> None:
        for _ in numbers:
            id = (await connection.call("POST", f"{API}/carts", {})).json()["id"]
            line = {"sku": SKUS[0], "quantity": 1}
            cart = (await connection.call("POST", f"{API}/carts/{id}/lines", line)).json()
            carts.append(Cart(id, cart["lines"][0]["id"]))

    async with connections(port, AT_ONCE) as opened, asyncio.TaskGroup() as group:
        for connection in opened:
            group.create_task(work(connection))
    return carts


async def _follow(port: int, carts: list[Cart]) -> list[Follower]:
    """A connection for each of the carts, which follows it."""
    followers: list[Follower] = []
    for begin in range(0, len(carts), OPENED_AT_ONCE):
        part = carts[begin : begin + OPENED_AT_ONCE]
        followers += await asyncio.gather(*(Follower.open(port, f"cart:{cart.id}") for cart in part))
    return followers


def _close(followers: list[Follower]) -> None:
    for follower in followers:
        follower.close()
