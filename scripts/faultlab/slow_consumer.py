"""Far more is offered than a consumer with a slow database can take: the excess is sent away at the door."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil  # type: ignore[import-untyped]  # it brings no types

from scripts.benchmarks.http_client import Connection, Reply, connections, request
from scripts.benchmarks.rounds import percentile
from scripts.faultlab.cluster import cluster
from scripts.faultlab.crowd import afterwards, few, shopping
from scripts.faultlab.findings import Finding, Size
from scripts.faultlab.load import API
from tests.services.rabbitmq import RabbitServer

DELAY_SECONDS = 0.5
CARTS = 200
CONNECTIONS = 500
TIMED, AT_ONCE = 300, 8
"""Writes that are timed before and afterwards, and how many of them at once."""
LATE = 40
"""The first writes after the database is quick again: some of them still wait for what it was asked before."""
WARM = 2_000
"""Requests offered before the memory is looked at: what grows then is what the slowness costs."""
MOST_MIB = 100
MIB = 1 << 20
TWICE = 2.0
SAMPLE_SECONDS = 0.1
AGAIN_SECONDS = 0.05
REFUSED = 503
SURE = {"overloaded", "mailbox_full"}
"""The codes of refusals before anything was done; what is refused otherwise may have taken effect all the same."""
_CODE = re.compile(rb'"code":"(\w+)"')
FAULT = "slow consumer"


@dataclass
class Cart:
    """A cart, as its writers were told.

    Attributes:
        version: when nobody had written yet.
        done: writes that were answered with a 2xx.
        shown: the newest version that an answer showed.
        unknown: refused writes that may have taken effect.
    """

    version: int
    done: int = 0
    shown: int = 0
    unknown: int = 0

    def fault(self, version: int) -> str | None:
        """What does not fit to the version that it has in the end: each write that takes effect is one more."""
        effects = version - self.version
        if self.shown <= version and self.done <= effects <= self.done + self.unknown:
            return None
        return f"{self.done} done and {self.unknown} unknown up to {self.shown}, from {self.version} to {version}"


@dataclass
class Offered:
    """What came of writes to carts that were offered as quickly as can be.

    Attributes:
        codes: how often each was answered: `2xx` or the code of a problem.
        statuses: how often each status.
        hasty: refusals without a Retry-After.
        accepted, refused: seconds of the answers with a 2xx and of those with 503.
        seconds: how long it took.
    """

    codes: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    hasty: int = 0
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def note(self, cart: Cart, reply: Reply, seconds: float) -> None:
        """An answer came."""
        self.statuses[reply.status] += 1
        if reply.status == 200:  # noqa: PLR2004 - HTTP
            self.codes["2xx"] += 1
            self.accepted.append(seconds)
            cart.done += 1
            cart.shown = max(cart.shown, reply.json()["version"])
            return
        found = _CODE.search(reply.body)
        code = found[1].decode() if found else "none"
        self.codes[code] += 1
        self.refused.append(seconds)
        self.hasty += reply.status == REFUSED and reply.retry_after is None
        cart.unknown += code not in SURE


async def run(place: Path, size: Size) -> list[Finding]:
    """Offer writes to a front end whose owner's way to the database is slow, then quick again; look at all of them."""
    async with RabbitServer(place / "broker") as broker, cluster(place, broker.url) as it:
        front = await it.start("web", "web")
        owner = await it.start_apart("owner", "serve")  # nobody asks it over HTTP
        await it.settled(owner.server.pid)
        port = int(front.url.rpartition(":")[2])
        async with shopping(front, seed=18) as crowd:
            carts = await _make(port)
            numbers = count()
            await _offer(port, carts, numbers, WARM, CONNECTIONS)
            before = await _offer(port, carts, numbers, TIMED, AT_ONCE)
            owner.database.delay = DELAY_SECONDS
            pids = {"web": front.pid, "owner": owner.server.pid, "broker": broker.pid}
            async with _memory(pids) as grown:
                offered = await _offer(port, carts, numbers, size.offered, CONNECTIONS)
            owner.database.delay = 0.0
            late = await _offer(port, carts, numbers, LATE, AT_ONCE)
            after = await _offer(port, carts, numbers, TIMED, AT_ONCE)
            findings = await afterwards(crowd, it.dsn, FAULT)
            wrong = await _wrong(port, carts)
    return [
        _refusals(offered, size),
        Finding(
            fault=FAULT,
            must=f"memory grows by {MOST_MIB} MiB at most, in each process",
            measured=", ".join(f"{name} {mib:.0f} MiB" for name, mib in grown.items()),
            held=max(grown.values()) <= MOST_MIB,
        ),
        Finding(
            fault=FAULT,
            must="no write is answered with a 2xx that is not there; what was refused for sure is not there",
            measured=f"{offered.codes['2xx']} writes to {len(carts)} carts: {few(wrong)}",
            held=not wrong and offered.codes["2xx"] > 0,
        ),
        _again(before, late, after, size),
        *findings,
    ]


async def _make(port: int) -> dict[str, Cart]:
    """New carts."""
    async with connections(port, 1) as (connection,):
        made = [await _insist(connection, "POST", f"{API}/carts") for _ in range(CARTS)]
    return {cart["id"]: Cart(cart["version"]) for cart in made}


async def _offer(port: int, carts: Mapping[str, Cart], numbers: Iterator[int], most: int, at_once: int) -> Offered:
    """Offer so many writes over so many connections, each as soon as the one before is answered."""
    offered, ids, turns = Offered(), list(carts), islice(numbers, most)

    async def offer(connection: Connection) -> None:
        for number in turns:
            id = ids[number % len(ids)]
            raw = request("PATCH", f"{API}/carts/{id}", {"email": f"offered-{number}@example.com"})
            began = perf_counter()
            offered.note(carts[id], await connection.send(raw), perf_counter() - began)

    began = perf_counter()
    async with connections(port, at_once) as opened, asyncio.TaskGroup() as group:
        for connection in opened:
            group.create_task(offer(connection))
    offered.seconds = perf_counter() - began
    return offered


async def _wrong(port: int, carts: Mapping[str, Cart]) -> list[str]:
    """Carts that are not what their writers were told."""
    async with connections(port, 1) as (connection,):
        found = {id: (await _insist(connection, "GET", f"{API}/carts/{id}"))["version"] for id in carts}
    return [f"cart {id}: {fault}" for id, cart in carts.items() if (fault := cart.fault(found[id]))]


async def _insist(connection: Connection, method: str, path: str) -> Any:
    """Ask until there is room."""
    body: object = {} if method == "POST" else None
    while (reply := await connection.call(method, path, body)).status == REFUSED:  # noqa: ASYNC110 - the server makes it
        await asyncio.sleep(AGAIN_SECONDS)
    return reply.json()


@asynccontextmanager
async def _memory(pids: Mapping[str, int]) -> AsyncIterator[dict[str, float]]:
    """How much each of these processes grows until the block ends, at most, in MiB."""
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    first = {name: process.memory_info().rss for name, process in processes.items()}
    grown = dict.fromkeys(pids, 0.0)

    def look() -> None:
        for name, process in processes.items():
            grown[name] = max(grown[name], (process.memory_info().rss - first[name]) / MIB)

    async def watch() -> None:
        while True:
            look()
            await asyncio.sleep(SAMPLE_SECONDS)

    watching = asyncio.create_task(watch())
    try:
        yield grown
        look()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def _refusals(offered: Offered, size: Size) -> Finding:
    total = offered.statuses.total()
    refused = percentile(offered.refused, 0.99) if offered.refused else 0.0
    return Finding(
        fault=f"{FAULT}: {size.offered:,} writes, its database takes 0 to {DELAY_SECONDS * 1000:.0f} ms an answer",
        must="the excess gets 503 with Retry-After at the door, sooner than an answer",
        measured=f"{total} offered in {offered.seconds:.1f} s: {dict(offered.codes)}, {offered.hasty} times no "
        f"Retry-After; sent away after p99 {refused * 1000:.0f} ms, done after p50 "
        f"{percentile(offered.accepted, 0.5) * 1000:.0f} ms, p99 {percentile(offered.accepted, 0.99) * 1000:.0f} ms",
        held=set(offered.statuses) <= {200, REFUSED}
        and total == size.offered
        and offered.codes["overloaded"] > 0
        and not offered.hasty,
    )


def _again(before: Offered, late: Offered, after: Offered, size: Size) -> Finding:
    slower = percentile(after.accepted, 0.99) / percentile(before.accepted, 0.99)
    return Finding(
        fault=f"{FAULT}: quick again",
        must=f"it goes on by itself: p99 within {TWICE:.0f} times of what it was",
        measured=f"the first {LATE} in {late.seconds:.2f} s, then {_pace(after)}; {_pace(before)} before",
        held=set(late.codes) == set(after.codes) == {"2xx"} and slower <= TWICE if size.judged else None,
    )


def _pace(offered: Offered) -> str:
    return (
        f"{dict(offered.codes)}, {len(offered.accepted) / offered.seconds:.0f}/s at {AT_ONCE} at once, "
        f"p50 {percentile(offered.accepted, 0.5) * 1000:.0f} ms, p99 {percentile(offered.accepted, 0.99) * 1000:.0f} ms"
    )
