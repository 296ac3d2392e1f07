"""Calls to the payment gateway hang for some buyers; the others must not notice."""

import asyncio
from pathlib import Path
from time import perf_counter

from scripts.benchmarks.rounds import percentile
from scripts.faultlab.crowd import IMPATIENT, Crowd, afterwards, shopping
from scripts.faultlab.findings import Finding, Size
from tests.e2e.server import Server

A_SECOND = 2.0
"""Orders a second whose payment hangs."""
CALM_SECONDS = 3.0
PROBES = 0.1
"""Seconds between two purchases that are timed."""
TWICE = 2.0
FAULT = "stuck gateway"


async def run(place: Path, size: Size) -> list[Finding]:
    """Buy with a method that hangs and with one that works, and look at both."""
    server = Server(place / "data", settings={**IMPATIENT, "ULTRAMARKET_GATEWAY_SECONDS": str(size.gateway)})
    async with server, shopping(server, seed=12) as crowd:
        before = await _timed(crowd, CALM_SECONDS)
        hanging = asyncio.create_task(_hang(crowd, size.hang))
        during = await _timed(crowd, size.hang)
        hung = await hanging
        findings = await afterwards(crowd, server.dsn, FAULT)
    outcomes = [crowd.buyers.memory.orders[id][1:] for id in hung]
    counts = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
    calm, stuck = percentile(before, 0.99), percentile(during, 0.99)
    fault = f"{FAULT}: {len(hung)} calls hang in {size.hang:.0f} s"
    return [
        Finding(
            fault=fault,
            must="other payments go on",
            measured=f"{len(during)} timed ones, each paid: POST /orders p99 {stuck * 1000:.0f} ms, "
            f"{calm * 1000:.0f} ms before ({stuck / calm:.1f} times)",
            held=False if not during else stuck <= TWICE * calm if size.judged else None,
        ),
        Finding(
            fault=fault,
            must="each order that hung ends, paid or given back",
            measured=", ".join(f"{count} {status} {payment}" for (status, payment), count in counts.items()),
            held=bool(hung) and all(status in ("open", "rejected") for status, _ in outcomes),
        ),
        *findings,
    ]


async def _timed(crowd: Crowd, seconds: float) -> list[float]:
    """Seconds of each POST /orders, of purchases one after the other, all of them paid."""
    found = []
    end = perf_counter() + seconds
    while perf_counter() < end:
        cart = await crowd.client.filled_cart("LAB-C")
        crowd.buyers.memory.cart(cart)
        began = perf_counter()
        order = (await crowd.client.order(cart, headers={"Prefer": "wait=10"})).json
        found.append(perf_counter() - began)
        if order["payment_status"] != "paid":
            raise RuntimeError(f"an order with a method that works was not paid: {order}")
        crowd.buyers.memory.order(order)
        await asyncio.sleep(PROBES)
    return found


async def _hang(crowd: Crowd, seconds: float) -> list[str]:
    """Place orders whose payment hangs, without waiting for them; gives their ids."""
    placed = []
    end = perf_counter() + seconds
    while perf_counter() < end:
        cart = await crowd.client.filled_cart("LAB-C")
        order = (await crowd.client.order(cart, "hang", headers={"Prefer": "wait=0"})).json
        crowd.buyers.memory.order(order)
        placed.append(order["id"])
        await asyncio.sleep(1 / A_SECOND)
    return placed
