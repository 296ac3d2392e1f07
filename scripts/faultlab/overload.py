"""Five times as many visitors as can be served: those who are let in are served as ever, the others sent away."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import psutil  # type: ignore[import-untyped]  # it brings no types

from scripts.benchmarks.http_client import Connection, connections
from scripts.benchmarks.rounds import percentile
from scripts.benchmarks.shop import SKUS, STOCK, Shop, fill, running_shop
from scripts.faultlab.crowd import few, verdict
from scripts.faultlab.findings import Finding, Size
from scripts.faultlab.load import API, KINDS, Seen, Visitors

TIMES = 5
"""How much more is offered than can be done."""
AT_ONCE = 64
"""Visitors at once while the capacity is measured: nearly as many as are let in, so that none of them is sent away."""
USUAL = 0.7
"""The share of the capacity that is offered before and after."""
TWICE = 2.0
MIB = 1 << 20
MOST_MIB = 100
MOST_SECONDS = 5.0
WARM_SECONDS = 2.0
STEP_SECONDS = 0.5
FEW = 0.01
"""The share of visitors who may be sent away at the usual load: chance brings many at once now and then."""
SAMPLE_SECONDS = 0.25
TICK_SECONDS = 0.01
LONGEST_NORMAL = 20.0
FAULT = "overload"
SETTINGS = {"ULTRAMARKET_MEMORY_BYTES": str(32 << 20)}
"""The memory for entities is full before: what grows is what the overload takes."""


@dataclass
class Watched:
    """What a process was like during a phase.

    Attributes:
        memory: the largest that it was, in MiB.
        waited: the share of the time for which it could have run, and had to wait for a core: work of others.
        stood: seconds for which this process itself stood still at most: the machine's doing, and in every figure.
        statuses: how health checks were answered.
        seconds: how long each took.
    """

    memory: float = 0.0
    waited: float = 0.0
    stood: float = 0.0
    statuses: set[int] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)


async def run(place: Path, size: Size) -> list[Finding]:
    """Measure the capacity, offer five times that, then the usual load; and look at everything again."""
    with _no_collections():
        return await _overload(place, size)


async def _overload(place: Path, size: Size) -> list[Finding]:
    async with running_shop(place / "data", "info", **SETTINGS) as shop:
        await fill(shop.port)
        visitors = Visitors(shop.port, await _handles(shop.port), list(SKUS))
        await visitors.closed(AT_ONCE, WARM_SECONDS)
        seconds = min(size.overload, LONGEST_NORMAL)
        async with _watched(shop) as calm:
            busy = await visitors.closed(AT_ONCE, seconds)
        capacity = busy.served / seconds
        usual = await visitors.open(capacity * USUAL, seconds)
        async with _watched(shop) as watched:
            crowded = await visitors.open(capacity * TIMES, size.overload)
        after = await visitors.open(capacity * USUAL, min(10.0, size.overload))
        visitors.leave()
        missing = await _missing(shop.port, visitors.orders)
        _, wrong = await verdict(shop.dsn, dict.fromkeys(SKUS, STOCK))
    fault = f"{FAULT}: {TIMES} x {capacity:.0f} visitors/s for {size.overload:.0f} s, one in five buys"
    phases = (busy, usual, crowded, after)
    return [
        Finding(fault=fault, held=None, must="for comparison", measured=_usual(busy, usual, calm.waited)),
        *_service(fault, busy, crowded, watched, size),
        _refusals(fault, busy, crowded, size),
        _memory(fault, calm, watched),
        _health(fault, watched),
        _recovery(fault, busy, after, size),
        Finding(
            fault=fault,
            must="no 5xx but 503, every request answered",
            measured=", ".join(f"{dict(sorted(seen.statuses.items()))}" for seen in phases)
            + f"; {sum(seen.broken for seen in phases)} without an answer",
            held=not any(seen.broken or seen.odd() for seen in phases),
        ),
        Finding(
            fault=fault,
            must="every 2xx is still there; stock, captures, log and views are right",
            measured=f"{len(visitors.orders)} orders looked at again: {few(missing)}; {few(wrong)}",
            held=not missing and not wrong,
        ),
    ]


def _usual(busy: Seen, usual: Seen, waited: float) -> str:
    return (
        f"at capacity, {AT_ONCE} at once: {_latencies(busy)}; at {USUAL:.0%} of it, coming at random: "
        f"{_latencies(usual)}, {usual.refusals()} sent away; at capacity the shop waited for "
        f"a core {waited:.0%} of the time"
    )


def _service(fault: str, busy: Seen, crowded: Seen, watched: Watched, size: Size) -> list[Finding]:
    """How those were served who were let in."""
    ratios = {kind: crowded.p99(kind) / busy.p99(kind) for kind in KINDS}
    told = ", ".join(f"{kind} {ratio:.2f} times" for kind, ratio in ratios.items())
    rate = crowded.served / busy.served * busy.seconds / crowded.seconds
    return [
        Finding(
            fault=fault,
            must=f"accepted: p99 within {TWICE:.0f} times of that at capacity",
            measured=f"{_latencies(crowded)}; {told}; served {rate:.0%} of the capacity; the shop waited for a core "
            f"{watched.waited:.0%} of the time, the load stood still for {watched.stood * 1000:.0f} ms at most",
            held=max(ratios.values()) <= TWICE if size.judged else None,
        ),
        Finding(
            fault=fault,
            must="who has a cart can buy it",
            measured=f"{crowded.begun} purchases begun, {crowded.bought} paid; "
            f"POST /orders sent away {len(crowded.refused['order'])} times",
            held=crowded.bought == crowded.begun > 0,
        ),
    ]


def _refusals(fault: str, busy: Seen, crowded: Seen, size: Size) -> Finding:
    waited = [seconds for kind in KINDS for _, seconds in crowded.refused[kind]]
    quick, slow = (percentile(waited, share) for share in (0.5, 0.99)) if waited else (0.0, 0.0)
    return Finding(
        fault=fault,
        must="the rest: 503 at once, sooner than an answer",
        measured=f"{len(waited)} sent away, {len(waited) / crowded.visits:.0%} of {crowded.visits} visitors, "
        f"after p50 {quick * 1000:.1f} ms, p99 {slow * 1000:.1f} ms",
        held=slow <= TWICE * busy.p99("page") if waited and size.judged else (None if waited else False),
    )


def _memory(fault: str, calm: Watched, watched: Watched) -> Finding:
    return Finding(
        fault=fault,
        must=f"memory within {MOST_MIB} MiB",
        measured=f"RSS at most {watched.memory:.0f} MiB, {calm.memory:.0f} MiB before",
        held=watched.memory - calm.memory <= MOST_MIB,
    )


def _health(fault: str, watched: Watched) -> Finding:
    return Finding(
        fault=fault,
        must="health and metrics are never sent away",
        measured=f"{len(watched.seconds)} asked meanwhile: {watched.statuses}, "
        f"at most {max(watched.seconds, default=0.0) * 1000:.0f} ms",
        held=watched.statuses == {200},
    )


def _recovery(fault: str, busy: Seen, after: Seen, size: Size) -> Finding:
    """From when on, and to the end of the phase, the usual load was served as usual."""
    normal = 0.0
    while normal < after.seconds and not _is_normal(after.between(normal, after.seconds), busy):
        normal += STEP_SECONDS
    return Finding(
        fault=fault,
        must=f"normal again within {MOST_SECONDS:.0f} s",
        measured=f"after {normal:.1f} s; at {USUAL:.0%} of the capacity then {_latencies(after)}, "
        f"{after.refusals()} of {after.visits} sent away",
        held=normal <= MOST_SECONDS if size.judged else None,
    )


def _is_normal(seen: Seen, busy: Seen) -> bool:
    slow = any(seen.accepted[kind] and seen.p99(kind) > TWICE * busy.p99(kind) for kind in KINDS)
    return not slow and seen.refusals() <= FEW * seen.visits


def _latencies(seen: Seen) -> str:
    return "p99 " + ", ".join(f"{kind} {seen.p99(kind) * 1000:.0f} ms" for kind in KINDS)


async def _handles(port: int) -> list[str]:
    """The handles of the products, once the list shows them."""
    async with connections(port, 1) as (connection,):
        while True:
            items = (await connection.call("GET", f"{API}/products?limit=12")).json()["items"]
            if len(items) * 4 == len(SKUS):
                return [item["handle"] for item in items]
            await asyncio.sleep(SAMPLE_SECONDS)


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep the load from standing still: a collection takes it a tenth of a second, and whoever comes waits longer."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@asynccontextmanager
async def _watched(shop: Shop) -> AsyncIterator[Watched]:
    """Watch a process until the block ends."""
    watched, process = Watched(), psutil.Process(shop.pid)

    async def watch() -> None:
        while True:
            watched.memory = max(watched.memory, process.memory_info().rss / MIB)
            for path in ("/health/live", "/metrics"):
                began = perf_counter()
                connection = await Connection.open(shop.port)
                watched.statuses.add((await connection.call("GET", path)).status)
                watched.seconds.append(perf_counter() - began)
                connection.close()
            await asyncio.sleep(SAMPLE_SECONDS)

    async def tick() -> None:
        while True:
            began = perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            watched.stood = max(watched.stood, perf_counter() - began - TICK_SECONDS)

    began, waited = perf_counter(), _waited(shop.pid)
    tasks = [asyncio.create_task(work()) for work in (watch, tick)]
    try:
        yield watched
    finally:
        watched.waited = (_waited(shop.pid) - waited) / (perf_counter() - began)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _waited(pid: int) -> float:
    """Seconds for which the first thread of a process has waited for a core; 0 where the system does not tell."""
    file = Path(f"/proc/{pid}/schedstat")
    return int(file.read_text("utf-8").split()[1]) / 1e9 if file.exists() else 0.0


async def _missing(port: int, orders: dict[str, str]) -> list[str]:
    """Orders that were answered with a 2xx and are not there, or not paid any more."""
    missing = []
    async with connections(port, 1) as (connection,):
        # Let in also where every connection is taken, until the shop has seen the others leave.
        await connection.call("GET", "/health/live")
        for id, status in orders.items():
            reply = await connection.call("GET", f"{API}/orders/{id}")
            if reply.status != 200 or (status == "paid" and reply.json()["payment_status"] != "paid"):  # noqa: PLR2004 - HTTP
                missing.append(f"order {id} was {status} and is {reply.status} {reply.body!r}")
    return missing
