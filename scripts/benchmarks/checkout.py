"""Whole checkouts: cart, line, address, order, paid with the sandbox gateway; against one plain transaction."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from scripts.benchmarks.http_client import Connection, Reply, connections
from scripts.benchmarks.meter import Meter
from scripts.benchmarks.plain_process import running_plain
from scripts.benchmarks.rounds import Round, compared, timed
from scripts.benchmarks.rows import Row, Size
from scripts.benchmarks.shop import API, SKUS, Shop, fill, meter_of, running_shop
from scripts.benchmarks.statements import HOW, counted

AT_ONCE = (1, 8, 32, 128)
CROWD = 64
"""More than that at a time is more than the platform takes with its defaults: a part would be answered 503."""
CROWD_SETTINGS = {"ULTRAMARKET_REQUEST_LIMIT": "256"}
"""New carts get 60 % of the limit: that is 153, more than the 128 that come."""
GOALS = {32: "150/s, p99 under 500 ms"}
BUYER = {
    "email": "ada@example.com",
    "shipping_method": "standard",
    "shipping_address": {
        "name": "Ada L.",
        "line1": "12 Mill Lane",
        "city": "Albany",
        "region": "NY",
        "postal_code": "12207",
        "country": "US",
    },
}
COUNTERS = ("commits", "loads", "turns", "commands", "events")


@dataclass(slots=True)
class Buyers:
    """Buyers of one shop.

    Attributes:
        busy: answers 503 that they got; they asked again after the time that the answer named.
    """

    port: int
    prefix: str
    meter: Meter
    skus: tuple[str, ...] = SKUS
    busy: int = field(default=0)

    async def checkouts(self, orders: int, at_once: int) -> Round:
        """That many orders, each connection one at a time; the time of each is that of POST /orders."""
        async with connections(self.port, at_once) as opened:
            return await timed(opened, range(orders), self.buy, self.meter)

    async def buy(self, connection: Connection, number: int) -> float:
        """One order; the seconds of POST /orders."""
        cart = (await self._call(connection, "POST", "/carts", {})).json()
        path = f"/carts/{cart['id']}"
        line = {"sku": self.skus[number % len(self.skus)], "quantity": 1}
        (await self._call(connection, "POST", f"{path}/lines", line)).json()
        cart = (await self._call(connection, "PATCH", path, BUYER)).json()
        payment = {"gateway": "sandbox", "method": "ok"}
        order = {"cart_id": cart["id"], "cart_version": cart["version"], "payment": payment}
        began = perf_counter()
        placed = (await self._call(connection, "POST", "/orders", order)).json()
        seconds = perf_counter() - began
        if placed["payment_status"] != "paid":
            raise RuntimeError(f"an order was not paid: {placed}")
        return seconds

    async def _call(self, connection: Connection, method: str, path: str, body: Any) -> Reply:
        while True:
            reply = await connection.call(method, self.prefix + path, body)
            if reply.retry_after is None:
                return reply
            self.busy += 1
            await asyncio.sleep(reply.retry_after)


async def run(work: Path, size: Size, log_level: str) -> list[Row]:
    """The rows by how many check out at a time; a crowd has a platform that takes it."""
    usual = [at_once for at_once in AT_ONCE if at_once <= CROWD]
    crowd = [at_once for at_once in AT_ONCE if at_once > CROWD]
    rows = await _measure(work / "checkout", usual, {}, size, log_level)
    return rows + (await _measure(work / "crowd", crowd, CROWD_SETTINGS, size, log_level) if crowd else [])


async def _measure(
    place: Path, counts: Sequence[int], settings: Mapping[str, str], size: Size, log_level: str
) -> list[Row]:
    async with running_shop(place, log_level, **settings) as shop, meter_of(shop) as meter:
        await fill(shop.port)
        async with running_plain(shop, place) as plain:
            ours, theirs = Buyers(shop.port, API, meter), Buyers(plain.port, "", plain.meter)
            for each in (ours, theirs):
                await each.checkouts(16, 16)  # the first ones fill caches and prepare statements
            about = "".join(f", {name}={value}" for name, value in settings.items())
            about = f"log level {log_level}{about}"
            return [await _compare(shop, ours, theirs, size, at_once, about) for at_once in counts]


async def _compare(shop: Shop, ours: Buyers, theirs: Buyers, size: Size, at_once: int, about: str) -> Row:
    orders = max(size.part(40 if at_once == 1 else 10), at_once)
    busy, before = ours.busy, await counters(shop)
    pairs = [
        (await ours.checkouts(orders, at_once), await theirs.checkouts(orders, at_once)) for _ in range(size.rounds)
    ]
    busy, after, count = ours.busy - busy, await counters(shop), orders * size.rounds
    own = ", ".join(f"{name} {(after[name] - before[name]) / count:.1f}" for name in COUNTERS)
    told = f"; {busy} requests were answered 503 and asked again after the time that it named" if busy else ""
    return compared(
        f"checkouts, {at_once} at a time",
        "orders/s",
        [pair[0] for pair in pairs],
        [pair[1] for pair in pairs],
        statements=(await _statements(shop, ours, at_once, orders), await _statements(shop, theirs, at_once, orders)),
        goal=GOALS.get(at_once, ""),
        conditions=f"4 requests an order, every one paid; times are those of POST /orders, the rest is of a whole "
        f"order; {orders} orders a round, {about}{told}; of the runtime's own an order: {own}. "
        f"Baseline: one transaction with row locks that also writes the payment, no gateway, no undoing; {HOW}",
    )


async def _statements(shop: Shop, buyers: Buyers, at_once: int, orders: int) -> float:
    few = max(at_once, orders // 2)
    async with counted(shop.dsn, shop.log) as found:
        await buyers.checkouts(few, at_once)
    return found.count / few


async def counters(shop: Shop) -> dict[str, float]:
    """The runtime's own counts, from /metrics."""
    async with connections(shop.port, 1) as (connection,):
        text = (await connection.call("GET", "/metrics", headers="accept: text/plain\r\n")).body.decode()
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        found[name.partition("{")[0]] = value
    return {name: float(found[f"ultramarket_{name}_total"]) for name in COUNTERS}
