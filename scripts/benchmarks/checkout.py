"""Whole checkouts: cart, line, address, order, paid with the sandbox gateway."""

import asyncio
from pathlib import Path
from time import perf_counter

from scripts.benchmarks.http_client import Connection, connections
from scripts.benchmarks.meter import Meter, Used
from scripts.benchmarks.rounds import Round, percentile, rate, timed
from scripts.benchmarks.rows import Row, Size
from scripts.benchmarks.shop import SKUS, Shop, fill, meter_of, running_shop

API = "/api/v1"
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
STATS_SECONDS = 1.2
"""PostgreSQL's processes hand in their counts once a second at most."""
COUNTERS = ("commits", "loads", "turns", "commands", "events")


async def run(work: Path, size: Size, log_level: str) -> list[Row]:
    """The rows at one and at 32 at a time."""
    async with running_shop(work / "checkout", log_level) as shop, meter_of(shop) as meter:
        await fill(shop.port)
        await _checkouts(shop, meter, 16, 16)  # the first ones fill caches and prepare statements
        return [await _measure(shop, meter, size, at_once, log_level) for at_once in (1, 32)]


async def _measure(shop: Shop, meter: Meter, size: Size, at_once: int, log_level: str) -> Row:
    orders = size.part(40 if at_once == 1 else 10)
    before, used = await _counters(shop), await _settled(meter)
    rounds = [await _checkouts(shop, meter, orders, at_once) for _ in range(size.rounds)]
    count = orders * size.rounds
    used = await _settled(meter) - used
    after = await _counters(shop)
    latencies = [seconds for each in rounds for seconds in each.latencies]
    own = ", ".join(f"{name} {(after[name] - before[name]) / count:.1f}" for name in COUNTERS)
    return Row(
        name=f"checkouts, {at_once} at a time",
        value=rate(rounds),
        unit="orders/s",
        goal="150" if at_once > 1 else "",
        conditions=f"4 requests an order, every one paid; {orders} orders a round, log level {log_level}; "
        f"POST /orders: p50 {percentile(latencies, 0.5) * 1000:.0f} ms, "
        f"p99 {percentile(latencies, 0.99) * 1000:.0f} ms; "
        f"an order: CPU {used.cpu(count)}; WAL {used.wal / count / 1024:.1f} KiB; "
        f"transactions in PostgreSQL {used.transactions / count:.1f}; of the runtime's own: {own}",
    )


async def _checkouts(shop: Shop, meter: Meter, orders: int, at_once: int) -> Round:
    async with connections(shop.port, at_once) as opened:
        return await timed(opened, range(orders), _buy, meter)


async def _buy(connection: Connection, number: int) -> float:
    """One order; the seconds of POST /orders."""
    cart = (await connection.call("POST", f"{API}/carts", {})).json()
    path = f"{API}/carts/{cart['id']}"
    line = {"sku": SKUS[number % len(SKUS)], "quantity": 1}
    (await connection.call("POST", f"{path}/lines", line)).json()
    cart = (await connection.call("PATCH", path, BUYER)).json()
    payment = {"gateway": "sandbox", "method": "ok"}
    order = {"cart_id": cart["id"], "cart_version": cart["version"], "payment": payment}
    began = perf_counter()
    placed = (await connection.call("POST", f"{API}/orders", order)).json()
    seconds = perf_counter() - began
    if placed["payment_status"] != "paid":
        raise RuntimeError(f"an order was not paid: {placed}")
    return seconds


async def _settled(meter: Meter) -> Used:
    """The figures with every process's counts in them."""
    await asyncio.sleep(STATS_SECONDS)
    return await meter.read()


async def _counters(shop: Shop) -> dict[str, float]:
    """The runtime's own counts, from /metrics."""
    async with connections(shop.port, 1) as (connection,):
        text = (await connection.call("GET", "/metrics", headers="accept: text/plain\r\n")).body.decode()
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        found[name.partition("{")[0]] = value
    return {name: float(found[f"ultramarket_{name}_total"]) for name in COUNTERS}
